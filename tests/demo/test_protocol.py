"""Clients that take their time to say what they want, on the wire."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest
import uvicorn

from zoo_demo import protocol
from zoo_demo.protocol import PromptProtocol
from zoo_demo.server import bind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import Receive, Scope, Send

WAIT = 0.5
HEAD = b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\n"
OK = b"HTTP/1.1 200 OK"


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads the body, thinks for longer than a head may take, and answers."""
    while (await receive()).get("more_body"):
        pass
    await asyncio.sleep(2 * WAIT)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    monkeypatch.setattr(protocol, "SECONDS", WAIT)
    sock = bind("127.0.0.1", 0)
    config = uvicorn.Config(application, http=PromptProtocol, ws="none", lifespan="off", log_level="critical")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[sock])), daemon=True)
    thread.start()
    with socket.create_connection(sock.getsockname()[:2], timeout=10) as made:
        yield made
    server.should_exit = True
    thread.join(10)
    sock.close()


def seconds_until_closed(client: socket.socket) -> float:
    started = time.perf_counter()
    assert client.recv(100) == b""
    return time.perf_counter() - started


def drip(client: socket.socket) -> None:
    for byte in HEAD * 9:
        client.send(bytes([byte]))
        time.sleep(WAIT / 10)


def test_who_says_nothing_is_left(client: socket.socket) -> None:
    assert seconds_until_closed(client) < 5


def test_who_says_a_byte_now_and_then_is_left_too(client: socket.socket) -> None:
    started = time.perf_counter()
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        drip(client)
    assert WAIT / 2 < time.perf_counter() - started < 5


def test_a_body_and_an_answer_may_take_longer_and_so_may_the_next_request(client: socket.socket) -> None:
    for _ in range(2):
        client.sendall(HEAD)
        time.sleep(1.5 * WAIT)
        client.sendall(b"ab")
        assert client.recv(1000).startswith(OK)
    client.sendall(HEAD[:20])
    assert seconds_until_closed(client) > WAIT / 2
