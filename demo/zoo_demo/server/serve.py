"""Listens on a port and runs the application there with uvicorn."""

from __future__ import annotations

import contextlib
import errno
import logging
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from zoo.errors import ConfigError
from zoo.utils.interrupts import HANGUP, SIGNALS

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator

    from fastapi import FastAPI

HEADER_SECONDS = 20.0  # for the headers of a request to arrive
_SHUTDOWN_SECONDS = 2  # for open requests to finish once the server stops
_MAX_CONNECTIONS = 8192  # if the system allows as many open files; often its default is 1024
_MAX_SMALL_PIECES, _SMALL_PIECE = 4096, 64  # pieces of a body that may be smaller than this on average, in bytes
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def is_loopback(host: str) -> bool:
    """Returns whether an address can be reached from this machine only."""
    return host in _LOOPBACK


def bind(host: str, port: int) -> socket.socket:
    """Returns a listening socket; port 0 picks a free port.

    Raises:
        ConfigError: The port is taken, or this machine does not have the address.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sets TCP_NODELAY only on sockets that name their protocol; without it small responses take 40 ms longer.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(2048)
    except (OSError, OverflowError, TypeError, ValueError) as error:  # the last two: a host that is no text, or empty
        sock.close()
        no_host = isinstance(error, socket.gaierror | TypeError | ValueError)
        bad_host = no_host or getattr(error, "errno", None) == errno.EADDRNOTAVAIL
        raise ConfigError(
            f"Cannot listen on {host} port {port}: {getattr(error, 'strerror', None) or error}.",
            hint="Pass --host 127.0.0.1 for this machine only, or --host 0.0.0.0 for the network."
            if bad_host
            else "Pass another port with --port, or --port 0 for any free one.",
        ) from error
    return sock


def url_of(sock: socket.socket) -> str:
    """Returns the URL under which a browser on this machine reaches the server."""
    host, port = sock.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(app: FastAPI, sock: socket.socket, *, on_ready: Callable[[], None]) -> None:
    """Serves until interrupted; calls `on_ready` once the server accepts requests."""
    # It logs every malformed form. The client gets the error; the log would fill up.
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)
    config = uvicorn.Config(
        app,
        http=PromptProtocol,
        ws="none",  # the page uses none
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,  # see `zoo_demo.server.proxies`
        timeout_keep_alive=30,
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
    )
    server = _Server(config, on_ready)
    _allow_connections()
    # uvicorn shuts down and then raises the signal again, which would end the process on the spot. SystemExit lets
    # exit handlers run: they delete uploads and let trainings save.
    for each in SIGNALS:
        if each != signal.SIGINT and signal.getsignal(each) != signal.SIG_IGN:
            signal.signal(each, lambda number, frame: sys.exit(128 + number))
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[sock])


class PromptProtocol(H11Protocol):
    """uvicorn's HTTP protocol with a deadline: the headers of a request must arrive within `HEADER_SECONDS`.

    uvicorn waits forever, even if a byte arrives only now and then: a client that opens many such connections takes
    every one there is (https://en.wikipedia.org/wiki/Slowloris_(cyber_attack)). Bodies of many tiny pieces are
    rejected; see `_Connection`.
    """

    _deadline: asyncio.TimerHandle | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conn = _Connection(h11.SERVER)

    def connection_made(self, transport: Any) -> None:
        """Starts the deadline of the first request."""
        super().connection_made(transport)
        self._start_deadline()

    def data_received(self, data: bytes) -> None:
        """Stops the deadline once the headers are complete; starts the next one when the response is."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_deadline()
        elif self._deadline is None:
            self._start_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops the deadline."""
        self._stop_deadline()
        super().connection_lost(exc)

    def _start_deadline(self) -> None:
        self._deadline = self.loop.call_later(HEADER_SECONDS, self.transport.close)

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class _Connection(h11.Connection):
    """An HTTP connection that rejects bodies of many tiny pieces.

    A chunk of one byte takes six on the wire, and as much time in the event loop as one of 64 KiB.
    """

    _pieces = _bytes = 0

    def next_event(self) -> Any:
        """Returns the next event; raises `h11.RemoteProtocolError` if the pieces of the body are too small."""
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._pieces = self._bytes = 0
        elif isinstance(event, h11.Data):
            self._pieces, self._bytes = self._pieces + 1, self._bytes + len(event.data)
            if self._pieces > _MAX_SMALL_PIECES and self._bytes < _SMALL_PIECE * self._pieces:
                raise h11.RemoteProtocolError("The pieces of the body are too small.")
        return event


def _allow_connections() -> None:
    """Raises the limit on open files towards `_MAX_CONNECTIONS`: a server that has reached it answers nobody."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MAX_CONNECTIONS if hard == resource.RLIM_INFINITY else min(_MAX_CONNECTIONS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn's own list of signals lacks SIGHUP.
        with super().capture_signals():
            before = None if HANGUP is None else signal.getsignal(HANGUP)
            if HANGUP is None or before == signal.SIG_IGN:
                yield
                return
            signal.signal(HANGUP, self.handle_exit)
            try:
                yield
            finally:
                signal.signal(HANGUP, before)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # An open page holds a connection all the time. That shutting down cuts it is not worth an error in the log.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        await super().shutdown(sockets)
