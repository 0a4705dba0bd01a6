"""Who may use the server: programs and its own page, under its own host names, with the password if one is set."""

from __future__ import annotations

import asyncio
import base64
import binascii
import secrets
from typing import TYPE_CHECKING

from starlette.authentication import AuthCredentials, AuthenticationBackend, AuthenticationError, SimpleUser

from zoo_demo.server.error_response import CLOSE, error_response

if TYPE_CHECKING:
    from collections.abc import Collection

    from fastapi.responses import JSONResponse
    from starlette.requests import HTTPConnection
    from starlette.types import ASGIApp, Receive, Scope, Send

LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})
_PUBLIC_PATH = "/healthz"  # load balancers have no password
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_SECONDS_AFTER_WRONG_PASSWORD = 1.0


class OriginGuard:
    """ASGI middleware that rejects foreign host names (421) and requests sent by pages of other sites (403).

    An attacker can point a domain of their own to 127.0.0.1 (DNS rebinding) and reach a local server from their page.
    Such requests carry that domain in ``Host``. Starlette's `TrustedHostMiddleware` rejects them as well, but with 400
    and plain text instead of 421 and our JSON.

    A page of another site cannot read responses, but it can send requests. Browsers mark those with ``Sec-Fetch-Site``
    (https://www.w3.org/TR/fetch-metadata/); programs do not send the header.

    Args:
        app: The application behind it.
        hosts: Host names to accept, without ports; None accepts all.
    """

    def __init__(self, app: ASGIApp, *, hosts: Collection[str] | None) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, or rejects it."""
        response = self._rejection(scope) if scope["type"] == "http" else None
        await (response or self._app)(scope, receive, send)

    def _rejection(self, scope: Scope) -> JSONResponse | None:
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if self._hosts is not None and _without_port(headers.get(b"host", "")) not in self._hosts:
            message = "This server does not answer to that host name."
            return error_response(421, message, "Use http://127.0.0.1 or http://localhost.", headers=CLOSE)
        site = headers.get(b"sec-fetch-site", "none")
        if site not in ("same-origin", "none") and scope["method"] not in _SAFE_METHODS:
            hint = "Use this server's own page, or call the API from a program."
            return error_response(403, "Requests from pages of other sites are blocked.", hint, headers=CLOSE)
        return None


class BasicAuth(AuthenticationBackend):
    """Checks the user and the password of HTTP Basic authentication (RFC 7617), for pages, API and files alike.

    For Starlette's `AuthenticationMiddleware`. FastAPI's `HTTPBasic` guards single routes, not mounted applications
    such as the page, and accepts passwords in ASCII only.

    Args:
        user: The only account.
        password: Its password.
    """

    def __init__(self, *, user: str, password: str) -> None:
        self._credentials = f"{user}:{password}".encode()

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, SimpleUser] | None:
        """Returns the authenticated user; None for the path that is open to all.

        Raises:
            AuthenticationError: The credentials are missing or wrong.
        """
        if conn.scope["path"] == _PUBLIC_PATH:  # not conn.url: a forged Host header changes its path
            return None
        credentials = _decode_credentials(conn.headers.get("authorization", ""))
        if credentials is None:
            raise AuthenticationError("Authentication required.")
        # compare_digest takes the same time wherever the difference is, and so reveals nothing about it.
        if not secrets.compare_digest(credentials, self._credentials):
            await asyncio.sleep(_SECONDS_AFTER_WRONG_PASSWORD)  # slows down guessing
            raise AuthenticationError("Wrong user or password.")
        return AuthCredentials(["authenticated"]), SimpleUser(credentials.decode().partition(":")[0])


def reject_unauthenticated(conn: HTTPConnection, error: Exception) -> JSONResponse:
    """Returns the 401 that makes browsers ask for the password; the `on_error` of `AuthenticationMiddleware`."""
    headers = {**CLOSE, "WWW-Authenticate": 'Basic realm="Zoo", charset="UTF-8"'}
    return error_response(401, str(error), "The server's --auth file holds user and password.", headers=headers)


def _decode_credentials(header: str) -> bytes | None:
    """Returns ``user:password`` of an ``Authorization`` header; None without one that is valid."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):  # ValueError: not ASCII
        return None


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdecimal() else host
