"""Guards the door: how large a request may be, how long it may take to arrive, and under which name it may ask."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})


class TooLargeError(Exception):
    """The body has more bytes than it may."""


class TooSlowError(Exception):
    """The body did not arrive in time."""


class Limits:
    """ASGI middleware: refuses bodies that are too large (413) or too slow (408), and foreign host names (421).

    A page elsewhere whose name is made to point to this machine (DNS rebinding) comes with its own name in ``Host``:
    where the server listens on loopback alone, only loopback's names are answered.

    Args:
        app: What is guarded.
        most_bytes: Of a body.
        seconds: For a body to arrive.
        hosts: Names that are answered, without ports; None for all.
    """

    def __init__(
        self, app: ASGIApp, *, most_bytes: int, seconds: float = 60.0, hosts: Collection[str] | None = None
    ) -> None:
        self._app = app
        self._most = most_bytes
        self._seconds = seconds
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, its body counted and timed as it is read."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if self._hosts is not None and _without_port(headers.get(b"host", "")) not in self._hosts:
            await refuse(send, 421, "This server answers to its own name alone.", "Open it as http://127.0.0.1.")
            return
        told = headers.get(b"content-length", "")
        if told.isdecimal() and int(told) > self._most:
            await refuse(send, 413, f"The request is larger than {self._most >> 20} MiB.", "Send less at a time.")
            return
        await self._guarded(scope, receive, send)

    async def _guarded(self, scope: Scope, receive: Receive, send: Send) -> None:
        answered = False
        seen = 0
        clock = asyncio.get_running_loop()
        deadline = clock.time() + self._seconds
        whole = False

        async def counted() -> Message:
            nonlocal seen, whole
            if whole:  # what comes after the body is the news that the client has left: that may take for ever
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), deadline - clock.time())
            except TimeoutError:
                raise TooSlowError from None
            seen += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if seen > self._most:
                raise TooLargeError
            return message

        async def noted(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            await self._app(scope, counted, noted)
        except TooLargeError:
            if not answered:
                await refuse(send, 413, f"The request is larger than {self._most >> 20} MiB.", "Send less at a time.")
        except TooSlowError:
            if not answered:
                await refuse(send, 408, f"The request took longer than {self._seconds:.0f} s to arrive.", "Try again.")


async def refuse(send: Send, status: int, message: str, hint: str) -> None:
    """Answers with an error, in the form of all our errors, and closes the connection."""
    body = json.dumps({"error": {"message": message, "hint": hint}}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdecimal() else host
