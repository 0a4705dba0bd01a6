"""Asks for a user and a password before everything else: pages, programs and files alike (RFC 7617, HTTP Basic)."""

from __future__ import annotations

import asyncio
import base64
import binascii
import secrets
from typing import TYPE_CHECKING

from zoo_demo.limits import refuse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

OPEN = "/healthz"  # load balancers know no password
_SECONDS_AFTER_A_WRONG_ONE = 1.0


class Password:
    """ASGI middleware: answers 401 to whoever does not know user and password.

    Args:
        app: What is guarded.
        user: Of the only account.
        password: Of it.
    """

    def __init__(self, app: ASGIApp, *, user: str, password: str) -> None:
        self._app = app
        self._wanted = f"{user}:{password}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, or refuses it."""
        if scope["type"] == "lifespan" or scope["path"] == OPEN:
            await self._app(scope, receive, send)
            return
        given = _given(dict(scope["headers"]).get(b"authorization", b""))
        # Compared in constant time: how long it takes tells nothing about how much is right.
        if given is not None and secrets.compare_digest(given, self._wanted):
            await self._app(scope, receive, send)
            return
        if given is not None:
            await asyncio.sleep(_SECONDS_AFTER_A_WRONG_ONE)  # guessing takes long
        await refuse(
            send,
            401,
            "Wrong user or password." if given is not None else "User and password, please.",
            "They are in the file that the server was given with --auth.",
            (b"www-authenticate", b'Basic realm="Zoo", charset="UTF-8"'),
        )


def _given(header: bytes) -> bytes | None:
    """Returns ``user:password``; None where the header holds none."""
    scheme, _, encoded = header.partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        return base64.b64decode(encoded.strip(), validate=True)
    except binascii.Error:
        return None
