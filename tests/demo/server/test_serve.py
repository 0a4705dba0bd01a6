"""Tests of the socket, the deadline for headers, and the end of the server."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest
import uvicorn

from zoo.errors import ConfigError
from zoo.utils.interrupts import SIGNALS
from zoo_demo.server import serve
from zoo_demo.server.serve import PromptProtocol, bind, url_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.types import Receive, Scope, Send

DEADLINE = 0.5
HEADERS = b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\n"
OK = b"HTTP/1.1 200 OK"


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads the body, takes longer than headers may take, and responds."""
    while (await receive()).get("more_body"):
        pass
    await asyncio.sleep(2 * DEADLINE)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A connection to a server that runs `application`."""
    monkeypatch.setattr(serve, "HEADER_SECONDS", DEADLINE)
    sock = bind("127.0.0.1", 0)
    config = uvicorn.Config(application, http=PromptProtocol, ws="none", lifespan="off", log_level="critical")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[sock])), daemon=True)
    thread.start()
    with socket.create_connection(sock.getsockname()[:2], timeout=10) as connection:
        yield connection
    server.should_exit = True
    thread.join(10)
    sock.close()


def seconds_until_closed(client: socket.socket) -> float:
    started = time.perf_counter()
    assert client.recv(100) == b""
    return time.perf_counter() - started


def test_a_taken_port_is_an_error_that_suggests_another() -> None:
    with bind("127.0.0.1", 0) as sock:
        port = sock.getsockname()[1]
        assert url_of(sock) == f"http://127.0.0.1:{port}"

        with pytest.raises(ConfigError, match=f"port {port}: Address already in use") as caught:
            bind("127.0.0.1", port)

    assert "--port" in caught.value.hint


def test_an_address_of_another_machine_is_an_error_that_suggests_local_ones() -> None:
    with pytest.raises(ConfigError, match=r"Cannot listen on 192\.0\.2\.1 port 0") as caught:  # RFC 5737: nobody's
        bind("192.0.2.1", 0)

    assert "--host 127.0.0.1" in caught.value.hint


def test_small_responses_are_sent_at_once() -> None:
    """asyncio disables Nagle's algorithm only on sockets that name their protocol; with it a response takes 40 ms."""
    with bind("127.0.0.1", 0) as sock:
        assert sock.proto == socket.IPPROTO_TCP


def test_a_connection_without_a_request_is_closed(client: socket.socket) -> None:
    assert seconds_until_closed(client) < 5


def send_slowly(client: socket.socket) -> None:
    for byte in HEADERS * 9:
        client.send(bytes([byte]))
        time.sleep(DEADLINE / 10)


def test_a_connection_with_a_slow_request_is_closed(client: socket.socket) -> None:
    started = time.perf_counter()
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        send_slowly(client)
    assert DEADLINE / 2 < time.perf_counter() - started < 5


def test_body_and_response_may_take_longer_and_so_may_the_next_request(client: socket.socket) -> None:
    for _ in range(2):
        client.sendall(HEADERS)
        time.sleep(1.5 * DEADLINE)
        client.sendall(b"ab")
        assert client.recv(1000).startswith(OK)
    client.sendall(HEADERS[:20])
    assert seconds_until_closed(client) > DEADLINE / 2


def test_a_body_of_tiny_pieces_is_rejected(client: socket.socket) -> None:
    """Each takes as much time as a large one."""
    client.sendall(b"POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n")
    client.sendall(b"1\r\nx\r\n" * 4096)
    time.sleep(DEADLINE / 2)
    client.sendall(b"1\r\nx\r\n")

    assert client.recv(1000).startswith(b"HTTP/1.1 400")


def test_a_body_of_many_pieces_is_accepted(client: socket.socket) -> None:
    client.sendall(b"POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n")
    client.sendall((b"80\r\n" + b"x" * 128 + b"\r\n") * 5000 + b"0\r\n\r\n")

    assert client.recv(1000).startswith(OK)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on open files")
def test_the_limit_on_open_files_is_raised_and_never_lowered() -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
        serve._allow_connections()
        raised = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        serve._allow_connections()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == raised > 256
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.slow
@pytest.mark.parametrize("number", [each for each in SIGNALS if each != signal.SIGINT])
def test_a_terminated_server_leaves_nothing_behind(tmp_path: Path, number: int) -> None:
    command = [sys.executable, "-m", "zoo", "demo", "--runs", str(tmp_path / "runs"), "--port", "0", "--no-open"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8", env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("Listening on ")
        assert "Train a model on the Teach tab." in process.stdout.readline()
        assert len(list(tmp_path.glob("zoo-demo-*"))) == 1

        process.send_signal(number)
        process.send_signal(number)  # as shell and terminal do

        assert process.wait(20) == 128 + number
    assert list(tmp_path.iterdir()) == []
