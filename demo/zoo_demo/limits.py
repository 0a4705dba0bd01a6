"""Guards the door: how large a request may be, how long it may take, how many there may be, and under which name."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HARMLESS = ("GET", "HEAD", "OPTIONS")
LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
_SMALL = 1 << 20  # bytes of a body that is let in however much is held
_BODIES = 8  # of the largest size that may be held at a time
# What is read on and forgotten of a body that was refused. A connection that is closed while the client still sends is
# a broken one to it, and the reason is never read.
_READ_ON, _READ_ON_SECONDS = 4, 10.0


class TooLargeError(Exception):
    """The body has more bytes than it may."""


class TooSlowError(Exception):
    """The body did not arrive in time."""


class TooManyError(Exception):
    """All bodies that are held have more bytes together than they may."""


class Limits:
    """ASGI middleware: refuses bodies: too large (413), slow (408), many (503); foreign names (421) or pages (403).

    Bodies that are being read or answered may have as many bytes together as `_BODIES` of the largest; small ones are
    let in beyond that.

    A page elsewhere whose name is made to point to this machine (DNS rebinding) comes with its own name in ``Host``:
    where the server listens on loopback alone, only loopback's names are answered. A page elsewhere that sends
    something here, though it cannot read the answer, is told by ``Sec-Fetch-Site``, which browsers alone send.

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
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, its body counted and timed as it is read."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if self._hosts is not None and _without_port(headers.get(b"host", "")) not in self._hosts:
            await refuse(send, 421, "This server answers to its own name alone.", "Open it as http://127.0.0.1.")
            return
        site = headers.get(b"sec-fetch-site", "none")
        if site not in ("same-origin", "none") and scope["method"] not in _HARMLESS:
            await refuse(send, 403, "Another page sent this request.", "Use the page of this server, or a program.")
            return
        told = headers.get(b"content-length", "")
        if told.isdecimal() and int(told) > self._most:
            await self._refuse_as_too_large(receive, send)
            return
        await self._guarded(scope, receive, send)

    async def _refuse_as_too_large(self, receive: Receive, send: Send) -> None:
        await _read_on(receive, most=_READ_ON * self._most)
        await refuse(send, 413, f"The request is larger than {self._most >> 20} MiB.", "Send less at a time.")

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
            length = len(message.get("body", b""))
            seen, self._held = seen + length, self._held + length
            whole = not message.get("more_body", False)
            if seen > self._most:
                raise TooLargeError
            if seen > _SMALL and self._held > _BODIES * self._most:
                raise TooManyError
            return message

        async def noted(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            await self._app(scope, counted, noted)
        except TooLargeError:
            if not answered:
                await self._refuse_as_too_large(receive, send)
        except TooSlowError:
            if not answered:
                await refuse(send, 408, f"The request took longer than {self._seconds:.0f} s to arrive.", "Try again.")
        except TooManyError:
            if not answered:
                await _read_on(receive, most=self._most)
                await refuse(
                    send, 503, "Too many large requests wait.", "Try again in a second.", (b"retry-after", b"1")
                )
        finally:
            self._held -= seen


async def _read_on(receive: Receive, *, most: int) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_READ_ON_SECONDS):
            while most > 0:
                message = await receive()
                most -= len(message.get("body", b""))
                if not message.get("more_body", False):
                    return


async def refuse(send: Send, status: int, message: str, hint: str, *headers: tuple[bytes, bytes]) -> None:
    """Answers with an error, in the form of all our errors, and closes the connection."""
    body = json.dumps({"error": {"message": message, "hint": hint}}).encode()
    always = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": [*always, *headers]})
    await send({"type": "http.response.body", "body": body})


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdecimal() else host
