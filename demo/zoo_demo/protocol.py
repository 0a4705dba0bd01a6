"""HTTP as uvicorn speaks it, to clients that say in time what they want."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import asyncio

SECONDS = 20.0  # for the head of a request to arrive


class PromptProtocol(H11Protocol):
    """Closes connections on which the head of a request does not arrive within `SECONDS`.

    uvicorn waits for ever, even if a byte comes only now and then: whoever opens many such connections and never says
    what is wanted (https://en.wikipedia.org/wiki/Slowloris_(cyber_attack)) would take every place there is.
    """

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """A client has come; its request is waited for."""
        super().connection_made(transport)
        self._await_request()

    def data_received(self, data: bytes) -> None:
        """Bytes have come: those of a head are waited for until the deadline, the application waits for all others."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()
        elif self._deadline is None:
            self._await_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has left."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _await_request(self) -> None:
        self._deadline = self.loop.call_later(SECONDS, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
