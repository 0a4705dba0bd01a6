"""Limits on request bodies: how large one may be, how long it may take, and how much all may hold together."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from zoo_demo.server.error_response import CLOSE, error_response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SMALL_BODY = 1 << 20  # bytes; a body of this size is accepted however much is held
_MAX_HELD_BODIES = 8  # bodies of the largest size that may be held at a time
# A client that is still sending when the connection closes sees a broken connection and never reads the reason. So
# some more of a rejected body is read and dropped: this many times the limit, for this long.
_DRAIN_FACTOR, _DRAIN_SECONDS = 4, 10.0


class _TooLargeError(Exception):
    """The body exceeds the limit."""


class _TooSlowError(Exception):
    """The body did not arrive in time."""


class _TooManyError(Exception):
    """The bodies held at the moment exceed the limit together."""


class RequestLimits:
    """ASGI middleware that rejects bodies that are too large (413), too slow (408) or too many (503).

    Bodies that are being read or processed may hold `_MAX_HELD_BODIES` times `max_bytes` together; small bodies are
    accepted beyond that.

    Args:
        app: The application behind it.
        max_bytes: Largest body.
        seconds: Time for a body to arrive.
    """

    def __init__(self, app: ASGIApp, *, max_bytes: int, seconds: float = 60.0) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._seconds = seconds
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, and counts and times its body as it is read."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length = dict(scope["headers"]).get(b"content-length", b"")
        if length.isdigit() and int(length) > self._max_bytes:
            await self._reject_as_too_large(scope, receive, send)
            return
        await self._pass_on(scope, receive, send)

    async def _reject_as_too_large(self, scope: Scope, receive: Receive, send: Send) -> None:
        await _drain(receive, max_bytes=_DRAIN_FACTOR * self._max_bytes)
        message = f"The request is larger than {self._max_bytes >> 20} MiB."
        await error_response(413, message, "Send fewer or smaller photos.", headers=CLOSE)(scope, receive, send)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        responding = False
        received = 0
        complete = False
        clock = asyncio.get_running_loop()
        deadline = clock.time() + self._seconds

        async def limited_receive() -> Message:
            nonlocal received, complete
            if complete:  # the next message says that the client disconnected, whenever that may be
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), deadline - clock.time())
            except TimeoutError:
                raise _TooSlowError from None
            length = len(message.get("body", b""))
            received, self._held = received + length, self._held + length
            complete = not message.get("more_body", False)
            if received > self._max_bytes:
                raise _TooLargeError
            if received > _SMALL_BODY and self._held > _MAX_HELD_BODIES * self._max_bytes:
                raise _TooManyError
            return message

        async def watched_send(message: Message) -> None:
            nonlocal responding
            responding = True
            await send(message)

        try:
            await self._app(scope, limited_receive, watched_send)
        except _TooLargeError:
            if not responding:
                await self._reject_as_too_large(scope, receive, send)
        except _TooSlowError:
            if not responding:
                message = f"The request took longer than {self._seconds:.0f} s to arrive."
                await error_response(408, message, "Try again.", headers=CLOSE)(scope, receive, send)
        except _TooManyError:
            if not responding:
                await _drain(receive, max_bytes=self._max_bytes)
                response = error_response(
                    503,
                    "The server is busy with other large requests.",
                    "Try again in a second.",
                    headers={**CLOSE, "Retry-After": "1"},
                )
                await response(scope, receive, send)
        finally:
            self._held -= received


async def _drain(receive: Receive, *, max_bytes: int) -> None:
    """Reads and drops the rest of a body, up to a size and for `_DRAIN_SECONDS`."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            while max_bytes > 0:
                message = await receive()
                max_bytes -= len(message.get("body", b""))
                if not message.get("more_body", False):
                    return
