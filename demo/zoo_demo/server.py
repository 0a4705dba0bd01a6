"""Listens on a port, and tells its address once it answers."""

from __future__ import annotations

import contextlib
import errno
import logging
import signal
import socket
import sys
from typing import TYPE_CHECKING

import uvicorn

from zoo.errors import ConfigError
from zoo_demo.protocol import PromptProtocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import FastAPI

_GRACE = 2  # seconds in which requests may end once the server is stopped
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def is_loopback(host: str) -> bool:
    """Returns whether an address can be reached from this machine alone."""
    return host in _LOOPBACK


def bind(host: str, port: int) -> socket.socket:
    """Returns a socket that listens; port 0 is any free one.

    Raises:
        ConfigError: The port is taken, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named, as asyncio sends small answers at once (TCP_NODELAY) only where it is: 40 ms sooner.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(2048)
    except (OSError, OverflowError) as error:
        sock.close()
        elsewhere = isinstance(error, socket.gaierror) or getattr(error, "errno", None) == errno.EADDRNOTAVAIL
        raise ConfigError(
            f"Cannot listen on {host} port {port}: {getattr(error, 'strerror', None) or error}.",
            hint="Say --host 127.0.0.1 for this machine alone, or --host 0.0.0.0 for the network."
            if elsewhere
            else "Choose another with --port, or --port 0 for any free one.",
        ) from error
    return sock


def address(sock: socket.socket) -> str:
    """Returns where a browser finds the server."""
    host, port = sock.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(app: FastAPI, sock: socket.socket, *, ready: Callable[[], None]) -> None:
    """Serves until it is interrupted; calls `ready` once requests are answered."""
    # What is wrong with a form is told to its sender; whoever sends many would fill the log.
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)
    config = uvicorn.Config(
        app,
        http=PromptProtocol,
        ws="none",  # the page uses none
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=_GRACE,
    )
    server = _Server(config, ready)
    # uvicorn raises the signal again once it has ended. By itself it would end the process there and then; so, what was
    # uploaded is deleted, and trainings are saved.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[sock])


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Pages that are open hold a connection for as long as they are: that those are cut is no error to be told.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        await super().shutdown(sockets)
