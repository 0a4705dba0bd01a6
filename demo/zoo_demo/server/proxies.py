"""Reverse proxies in front of the server: the path below which they serve it, and what they report about clients."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

from starlette.responses import RedirectResponse
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from zoo.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.types import ASGIApp, Receive, Scope, Send

_ROOT_PATH = re.compile(r"(/[\w.~-]+)+", re.ASCII)
_OWN_PATHS = ("/api", "/api/v1", "/assets", "/gradio_api", "/static")  # that others of the server's paths start with
_REPORTS = (b"forwarded", b"x-forwarded-", b"x-gradio-server", b"x-real-ip")


class ReverseProxies:
    """ASGI middleware that makes requests look as they did to the proxy that received them.

    A proxy that serves the page below a path may cut that path off or pass it on. The host, the scheme, the path and
    the address of the client are taken from the ``X-Forwarded-`` headers of trusted proxies. Anyone else can write
    whatever they like into those headers, so they are removed, before gradio believes them.

    Args:
        app: The application behind it.
        root_path: Path below which proxies serve the page, such as ``/app``.
        trusted: Addresses and networks of proxies.
    """

    def __init__(self, app: ASGIApp, *, root_path: str = "", trusted: Collection[str] = ()) -> None:
        self._app = app
        self._client_of = ProxyHeadersMiddleware(self._pass_on, trusted_hosts=list(trusted))  # type: ignore[arg-type]
        self._root_path = root_path
        self._trusted = [ipaddress.ip_network(each) for each in trusted]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on as the client sent it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        await self._client_of(self._locate(scope), receive, send)  # type: ignore[arg-type]

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["headers"] = [(name, value) for name, value in scope["headers"] if not name.startswith(_REPORTS)]
        if scope["root_path"] and scope["path"] == scope["root_path"]:  # the page's links are relative to a folder
            query = scope["query_string"].decode("latin-1")
            await RedirectResponse(f"{scope['path']}/{query and '?'}{query}")(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _locate(self, scope: Scope) -> Scope:
        """Returns a request with the host and the path that the client used."""
        reported = dict(scope["headers"]) if self._trusts(scope["client"]) else {}
        prefix = reported.get(b"x-forwarded-prefix", b"").decode("latin-1").rstrip("/")
        root, path = self._root_path, scope["path"]
        if _ROOT_PATH.fullmatch(prefix):
            root, path = prefix, prefix + path
        elif root and path != root and not path.startswith(f"{root}/"):
            path = root + path
        headers = scope["headers"]
        if host := reported.get(b"x-forwarded-host", b"").rpartition(b",")[2].strip():  # the nearest proxy's
            headers = [(b"host", host), *(each for each in headers if each[0] != b"host")]
        return {**scope, "root_path": root, "path": path, "raw_path": path.encode(), "headers": headers}

    def _trusts(self, client: tuple[str, int] | None) -> bool:
        try:
            address = ipaddress.ip_address(client[0] if client else "")
        except ValueError:
            return False
        return any(address in network for network in self._trusted)


def route_path(scope: Scope) -> str:
    """Returns the path of a request below the root path."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def check_root_path(path: str) -> str:
    """Returns a root path without a slash at its end.

    Raises:
        ConfigError: It is no path, or one that cannot be distinguished from the server's own.
    """
    root = path.rstrip("/")
    if root and not _ROOT_PATH.fullmatch(root):
        hint = "Pass the path below which a proxy serves the page, such as /app."
        raise ConfigError(f"--root-path '{path}' is not a path.", hint=hint)
    if root in _OWN_PATHS:
        raise ConfigError(f"--root-path '{path}' is a path of the server itself.", hint="Use another, such as /app.")
    return root


def check_proxy(address: str) -> str:
    """Returns the address or network of a proxy; raises `ConfigError` if it is neither."""
    try:
        ipaddress.ip_network(address)
    except ValueError as error:
        hint = "Pass an address or a network, such as 127.0.0.1 or 10.0.0.0/8."
        raise ConfigError(f"--trusted-proxy: {error}.", hint=hint) from error
    return address


def check_host(name: str) -> str:
    """Returns a host name as browsers send it; raises `ConfigError` if it is none."""
    try:
        ascii_name = name.encode("idna").decode("ascii").lower()
    except UnicodeError:
        ascii_name = ""
    if not re.fullmatch(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*", ascii_name):
        hint = "Pass the name alone, without scheme, port and path, such as photos.example.org."
        raise ConfigError(f"--allow-host '{name}' is not a host name.", hint=hint)
    return ascii_name
