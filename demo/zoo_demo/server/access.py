"""Who may use the server: programs and its own page, under its own host names, with the password if one is set."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import math
import re
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.authentication import AuthCredentials, AuthenticationBackend, AuthenticationError, SimpleUser

from zoo_demo.server.error_response import CLOSE, error_response
from zoo_demo.server.proxies import route_path

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from fastapi.responses import JSONResponse
    from starlette.requests import HTTPConnection
    from starlette.types import ASGIApp, Receive, Scope, Send

LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})
_PUBLIC_PATH = "/healthz"  # load balancers have no password
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_COMPONENT_SERVER = "/gradio_api/component_server"
_USED_PATH = re.compile(
    r"/(config/?|theme\.css|favicon\.ico|robots\.txt|manifest\.json|(assets|static|svelte)/.*"
    r"|api/v1/.*|healthz|metrics|openapi\.json"
    r"|gradio_api/(info/?|openapi\.json|app_id/?|user/?|login_check/?|startup-events|theme\.css|upload|upload_progress"
    r"|queue/(join|data|status)|(run|api|call|heartbeat)/.*|cancel|reset/?|file=(?!https?:).*))?",
    re.DOTALL | re.IGNORECASE,
)
_NAME = re.compile(r"[\w.-]{1,253}", re.ASCII)
_IPV6_NETWORK = 64  # bits: what a provider assigns to one customer


class OriginGuard:
    """ASGI middleware that rejects foreign host names (421) and requests sent by pages of other sites (403).

    An attacker can point a domain of their own to 127.0.0.1 (DNS rebinding) and reach a local server from their page.
    Such requests carry that domain in ``Host``. Starlette's `TrustedHostMiddleware` rejects them as well, but with 400
    and plain text instead of 421 and our JSON.

    A page of another site cannot read responses, but it can send requests. Browsers mark those with ``Sec-Fetch-Site``
    (https://www.w3.org/TR/fetch-metadata/); programs do not send the header.

    Args:
        app: The application behind it.
        hosts: Host names to accept, in lower case and without ports; None accepts all.
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
        host = _without_port(headers.get(b"host", "")).lower().removesuffix(".")
        if self._hosts is not None and host not in self._hosts:
            option = f", or start the server with --allow-host {host}" if _NAME.fullmatch(host) else ""
            message = "This server does not answer to that host name."
            return error_response(421, message, f"Use http://127.0.0.1 or http://localhost{option}.", headers=CLOSE)
        site = headers.get(b"sec-fetch-site", "none")
        if site not in ("same-origin", "none") and scope["method"] not in _SAFE_METHODS:
            hint = "Use this server's own page, or call the API from a program."
            return error_response(403, "Requests from pages of other sites are blocked.", hint, headers=CLOSE)
        return None


class PageGuard:
    """ASGI middleware that answers 404 for the routes of gradio that neither the page nor `gradio_client` uses.

    Among them are routes that run ffmpeg on an upload, that fetch URLs, and that leave files behind.

    Args:
        app: The application behind it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, or rejects it."""
        used = scope["type"] != "http" or _is_used(scope)
        response = self._app if used else error_response(404, "There is nothing at this address.", headers=CLOSE)
        await response(scope, receive, send)


def _is_used(scope: Scope) -> bool:
    path = route_path(scope)
    if path.startswith(_COMPONENT_SERVER):  # it would store the files of a form, and keep those of unfinished ones
        return not dict(scope["headers"]).get(b"content-type", b"").startswith(b"multipart/")
    return _USED_PATH.fullmatch(path) is not None


@dataclass(slots=True)
class _Allowance:
    """A number of attempts that is used up, and grows again with time (a token bucket).

    Attributes:
        limit: Most attempts at once.
        seconds: Time for one more.
        left: Attempts left at the time `since`.
        since: Seconds on the clock.
    """

    limit: int
    seconds: float
    left: float
    since: float

    def refill(self, now: float) -> float:
        """Returns the attempts that are left now."""
        self.left = min(self.limit, self.left + (now - self.since) / self.seconds)
        self.since = now
        return self.left


class GuessLimit:
    """Limits how many wrong passwords are accepted from one address and from all together, over all connections.

    An address may be wrong ten times, then every ten seconds; all together a hundred times, then every second. Once
    the allowance of an address is used up, no password from there is compared, not even the right one: an answer would
    tell. The same holds for the allowance of all, except for addresses that have sent the right password before: others
    cannot lock them out.

    Args:
        clock: Returns the time in seconds.
    """

    _MAX_ADDRESSES = 10_000  # remembered

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._all = _Allowance(limit=100, seconds=1.0, left=100, since=clock())
        self._by_address: OrderedDict[str, _Allowance] = OrderedDict()
        self._known: OrderedDict[str, None] = OrderedDict()

    def seconds_to_wait(self, address: str) -> int:
        """Returns the seconds until a password from an address is compared; 0: now."""
        now = self._clock()
        own = self._by_address.get(address)
        waits = [0.0] if own is None else [(1 - own.refill(now)) * own.seconds]
        if address not in self._known:
            waits.append((1 - self._all.refill(now)) * self._all.seconds)
        return max(0, math.ceil(max(waits)))

    def count_wrong(self, address: str) -> None:
        """Counts a wrong password."""
        now = self._clock()
        if address not in self._by_address:
            self._by_address[address] = _Allowance(limit=10, seconds=10.0, left=10, since=now)
        for allowance in (self._by_address[address], self._all):
            allowance.left = max(0.0, allowance.refill(now) - 1)
        self._remember(self._by_address, address)

    def count_right(self, address: str) -> None:
        """Notes that an address knows the password."""
        self._known[address] = None
        self._remember(self._known, address)

    def _remember(self, addresses: OrderedDict[str, _Allowance] | OrderedDict[str, None], address: str) -> None:
        addresses.move_to_end(address)
        if len(addresses) > self._MAX_ADDRESSES:
            addresses.popitem(last=False)


class TooManyGuessesError(AuthenticationError):
    """Too many wrong passwords have been sent.

    Args:
        seconds: Time to wait.
    """

    def __init__(self, seconds: int) -> None:
        super().__init__("Too many wrong passwords.")
        self.seconds = seconds


class BasicAuth(AuthenticationBackend):
    """Checks the user and the password of HTTP Basic authentication (RFC 7617), for pages, API and files alike.

    For Starlette's `AuthenticationMiddleware`. FastAPI's `HTTPBasic` guards single routes, not mounted applications
    such as the page, and accepts passwords in ASCII only.

    Args:
        user: The only account.
        password: Its password.
        limit: Limits wrong passwords.
    """

    def __init__(self, *, user: str, password: str, limit: GuessLimit | None = None) -> None:
        self._credentials = f"{user}:{password}".encode()
        self._limit = limit or GuessLimit()

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, SimpleUser] | None:
        """Returns the authenticated user; None for the path that is open to all.

        Raises:
            AuthenticationError: The credentials are missing or wrong, or too many wrong ones have been sent.
        """
        if route_path(conn.scope) == _PUBLIC_PATH:  # not conn.url: a forged Host header changes its path
            return None
        credentials = _decode_credentials(conn.headers.get("authorization", ""))
        if credentials is None:
            raise AuthenticationError("Authentication required.")
        address = _network_of(conn.client.host if conn.client else "")
        if seconds := self._limit.seconds_to_wait(address):
            raise TooManyGuessesError(seconds)
        # compare_digest takes the same time wherever the difference is, and so reveals nothing about it.
        if not secrets.compare_digest(credentials, self._credentials):
            self._limit.count_wrong(address)
            raise AuthenticationError("Wrong user or password.")
        self._limit.count_right(address)
        return AuthCredentials(["authenticated"]), SimpleUser(credentials.decode().partition(":")[0])


def reject_unauthenticated(conn: HTTPConnection, error: Exception) -> JSONResponse:
    """Returns the 401 that makes browsers ask for the password; the `on_error` of `AuthenticationMiddleware`."""
    if isinstance(error, TooManyGuessesError):
        headers = {**CLOSE, "Retry-After": str(error.seconds)}
        return error_response(429, str(error), f"Try again in {error.seconds} s.", headers=headers)
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


def _network_of(address: str) -> str:
    """Returns what identifies a client: its IPv4 address, or the network of its IPv6 address."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 6 and parsed.ipv4_mapped is None:
        return str(ipaddress.ip_network((parsed, _IPV6_NETWORK), strict=False))
    return address


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdecimal() else host
