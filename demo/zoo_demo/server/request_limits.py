"""Limits on request bodies: how large one may be, how long it may take, and how much all may hold together."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from zoo_demo.server.error_response import CLOSE, error_response
from zoo_demo.server.proxies import route_path

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SMALL_BODY = 1 << 20  # bytes
_MAX_SMALL_BODIES = 256  # of this size that may be held at a time, beside the larger ones
_MAX_HELD_BODIES = 8  # bodies of the largest size that may be held at a time
_STALLED_SECONDS = 2.0  # without a byte, after which a body makes room for others
# Other bodies are JSON, which is parsed in the event loop: 4 MiB describe 10,000 uploads. A value of two bytes becomes
# an object of 60, so the characters that separate values are limited too.
_MAX_JSON, _MAX_JSON_VALUES = 4 << 20, 100_000
_SEPARATORS = (b",", b"[", b"{")
# A client that is still sending when the connection closes sees a broken connection and never reads the reason. So
# some more of a rejected body is read and dropped: this many times the limit, for this long.
_DRAIN_FACTOR, _DRAIN_SECONDS = 4, 10.0


class _RejectedError(Exception):
    """The body is rejected."""


class _TooLargeError(_RejectedError):
    """The body exceeds the limit."""


class _TooSlowError(_RejectedError):
    """The body did not arrive in time."""


class _TooManyError(_RejectedError):
    """The bodies held at the moment leave no room for this one."""


@dataclass(eq=False, slots=True)
class _Body:
    """A body that is being read or processed.

    Attributes:
        pool: Where its bytes are counted.
        max_bytes: Largest size.
        json: Whether it is JSON.
        size: Bytes received.
        values: Values of JSON received, roughly.
        complete: Whether all has arrived.
        wait: The timeout of the wait for the next bytes.
        waiting_since: When that wait began.
    """

    pool: _Pool
    max_bytes: int
    json: bool
    size: int = 0
    values: int = 0
    complete: bool = False
    wait: asyncio.Timeout | None = None
    waiting_since: float = 0.0


@dataclass(eq=False, slots=True)
class _Pool:
    """Bytes that some bodies may hold together.

    Attributes:
        limit: Bytes.
        held: Bytes held.
        bodies: The bodies that hold them.
    """

    limit: int
    held: int = 0
    bodies: set[_Body] = field(default_factory=set)

    def hold(self, body: _Body, size: int) -> None:
        """Counts bytes of a body; raises `_TooManyError` if there is no room, even without those that are stalled."""
        while self.held + size > self.limit:
            stalled = self._stalled()
            if stalled is None:
                raise _TooManyError
            self.release(stalled)
            assert stalled.wait is not None
            stalled.wait.reschedule(0)
        self.held += size
        self.bodies.add(body)

    def release(self, body: _Body) -> None:
        """Frees what a body holds."""
        if body in self.bodies:
            self.bodies.remove(body)
            self.held -= body.size

    def _stalled(self) -> _Body | None:
        """Returns the body that has waited longest for its next bytes, if it is longer than `_STALLED_SECONDS`."""
        now = asyncio.get_running_loop().time()
        waiting = [each for each in self.bodies if each.wait is not None]
        longest = min(waiting, key=lambda each: each.waiting_since, default=None)
        return longest if longest is not None and now - longest.waiting_since > _STALLED_SECONDS else None


class RequestLimits:
    """ASGI middleware that rejects bodies that are too large (413), too slow (408) or too many (503).

    Bodies that are being read or processed may hold `_MAX_HELD_BODIES` times `max_bytes` together; small bodies have
    room of their own. A body for which there is no room is rejected and frees what it holds at once, so the others are
    served. A body that has stalled makes room for the others.

    Args:
        app: The application behind it.
        max_bytes: Largest body.
        photo_paths: Paths that accept photos. Bodies sent to other paths are JSON, which is limited further.
        seconds: Time for a body to arrive.
    """

    def __init__(
        self, app: ASGIApp, *, max_bytes: int, photo_paths: Collection[str] = (), seconds: float = 60.0
    ) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._photo_paths = frozenset(photo_paths)
        self._seconds = seconds
        self._small = _Pool(_MAX_SMALL_BODIES * _SMALL_BODY)
        self._large = _Pool(_MAX_HELD_BODIES * max_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, and counts and times its body as it is read."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = self._make_body(scope)
        length = dict(scope["headers"]).get(b"content-length", b"")
        if length.isdigit() and int(length) > body.max_bytes:
            await self._reject_as_too_large(body, scope, receive, send)
            return
        await self._pass_on(body, scope, receive, send)

    def _make_body(self, scope: Scope) -> _Body:
        if route_path(scope) in self._photo_paths:
            return _Body(self._small, self._max_bytes, json=False)
        return _Body(self._small, min(self._max_bytes, _MAX_JSON), json=True)

    async def _reject_as_too_large(self, body: _Body, scope: Scope, receive: Receive, send: Send) -> None:
        await _drain(body, receive, max_bytes=_DRAIN_FACTOR * self._max_bytes)
        limit = f"{body.max_bytes >> 20} MiB"
        if body.json:
            limit += f", or contains more than {_MAX_JSON_VALUES:,} values"
        message = f"The request is larger than {limit}."
        await error_response(413, message, "Send fewer or smaller photos.", headers=CLOSE)(scope, receive, send)

    async def _pass_on(self, body: _Body, scope: Scope, receive: Receive, send: Send) -> None:
        responding = False
        rejection: _RejectedError | None = None
        deadline = asyncio.get_running_loop().time() + self._seconds

        async def limited_receive() -> Message:
            nonlocal rejection
            if body.complete:  # the next message says that the client disconnected, whenever that may be
                return await receive()
            try:
                message = await _receive_before(deadline, body, receive)
                self._count(body, message)
            except _RejectedError as error:
                rejection = error
                raise
            return message

        async def watched_send(message: Message) -> None:
            nonlocal responding
            if rejection is None or responding:  # otherwise the application reports our own exception, as a 500
                responding = True
                await send(message)

        try:
            await self._app(scope, limited_receive, watched_send)
        except _RejectedError:
            pass
        finally:
            body.pool.release(body)  # before what is left of it is drained: others need the room
        if rejection is not None and not responding:
            await self._reject(rejection, body, scope, receive, send)

    def _count(self, body: _Body, message: Message) -> None:
        """Counts a piece of a body; raises what is wrong with the body."""
        piece = message.get("body", b"")
        body.complete = not message.get("more_body", False)
        if body.json:
            body.values += sum(map(piece.count, _SEPARATORS))
        if body.size + len(piece) > body.max_bytes or body.values > _MAX_JSON_VALUES:
            raise _TooLargeError
        if body.pool is self._small and body.size + len(piece) > _SMALL_BODY:
            self._small.release(body)
            body.pool = self._large
            body.pool.hold(body, body.size)
        body.pool.hold(body, len(piece))
        body.size += len(piece)

    async def _reject(self, error: _RejectedError, body: _Body, scope: Scope, receive: Receive, send: Send) -> None:
        match error:
            case _TooLargeError():
                await self._reject_as_too_large(body, scope, receive, send)
                return
            case _TooSlowError():
                message = f"The request took longer than {self._seconds:.0f} s to arrive, or made no progress."
                response = error_response(408, message, "Try again.", headers=CLOSE)
            case _:
                await _drain(body, receive, max_bytes=self._max_bytes)
                message, hint = "The server is busy with other large requests.", "Try again in a second."
                response = error_response(503, message, hint, headers={**CLOSE, "Retry-After": "1"})
        await response(scope, receive, send)


async def _receive_before(deadline: float, body: _Body, receive: Receive) -> Message:
    """Returns the next piece of a body; raises `_TooSlowError` after the deadline, or if the body must make room."""
    try:
        async with asyncio.timeout_at(deadline) as body.wait:
            body.waiting_since = asyncio.get_running_loop().time()
            return await receive()
    except TimeoutError:
        raise _TooSlowError from None
    finally:
        body.wait = None


async def _drain(body: _Body, receive: Receive, *, max_bytes: int) -> None:
    """Reads and drops the rest of a body, up to a size and for `_DRAIN_SECONDS`."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            while max_bytes > 0 and not body.complete:
                message = await receive()
                max_bytes -= len(message.get("body", b""))
                body.complete = not message.get("more_body", False)
