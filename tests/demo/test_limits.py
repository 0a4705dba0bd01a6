"""What is let in, on the wire and off it."""

from __future__ import annotations

import asyncio
import http.client
import socket
import threading
from typing import TYPE_CHECKING

import pytest
import uvicorn

from zoo_demo import limits
from zoo_demo.limits import Limits
from zoo_demo.server import bind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import Message, Receive, Scope, Send

MIB = 1 << 20


class Reader:
    """An application that reads a body, and answers once it may."""

    def __init__(self) -> None:
        self.may = asyncio.Event()
        self.whole = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        self.whole += 1
        await self.may.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


async def ask(app: Limits, *, mib: float) -> int:
    """Sends a body in pieces, without saying how long it is; returns the status."""
    pieces = [bytes(MIB // 2)] * int(2 * mib)
    statuses: list[int] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": pieces.pop(), "more_body": bool(pieces)}

    async def send(message: Message) -> None:
        statuses.append(message.get("status", 0))

    await app({"type": "http", "headers": [(b"host", b"localhost")]}, receive, send)
    return statuses[0]


def test_large_bodies_may_fill_so_much_memory_together_and_small_ones_still_come_in() -> None:
    async def work() -> None:
        reader = Reader()
        app = Limits(reader, most_bytes=2 * MIB)
        held = [asyncio.create_task(ask(app, mib=2)) for _ in range(8)]
        while reader.whole < 8:
            await asyncio.sleep(0)
        small = asyncio.create_task(ask(app, mib=1))

        assert await ask(app, mib=2) == 503
        reader.may.set()
        assert await asyncio.gather(small, *held) == [200] * 9
        assert await ask(app, mib=2) == 200

    asyncio.run(work())


@pytest.fixture
def port() -> Iterator[int]:
    sock = bind("127.0.0.1", 0)
    reader = Reader()
    reader.may.set()
    server = uvicorn.Server(uvicorn.Config(Limits(reader, most_bytes=MIB), log_level="critical"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
    thread.start()
    yield sock.getsockname()[1]
    server.should_exit = True
    thread.join()


@pytest.mark.parametrize("announced", [True, False])
def test_who_sends_too_much_can_read_why(port: int, *, announced: bool) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    pieces = [bytes(MIB)] * 3
    headers = {"Content-Length": str(3 * MIB)} if announced else {}

    connection.request("POST", "/", body=iter(pieces), headers=headers, encode_chunked=not announced)
    answer = connection.getresponse()

    assert answer.status == 413
    assert b"larger than 1 MiB" in answer.read()


def test_a_body_without_end_is_not_read_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_READ_ON_SECONDS", 0.05)

    async def work() -> list[int]:
        async def receive() -> Message:
            await asyncio.sleep(0.01)
            return {"type": "http.request", "body": b"x", "more_body": True}

        statuses: list[int] = []

        async def send(message: Message) -> None:
            statuses.append(message.get("status", 0))

        app = Limits(Reader(), most_bytes=MIB)
        await app({"type": "http", "headers": [(b"content-length", b"9999999")]}, receive, send)
        return statuses

    assert asyncio.run(work())[0] == 413


def test_a_body_that_does_not_arrive_is_given_up() -> None:
    async def work() -> list[int]:
        pieces = [{"type": "http.request", "body": b"x", "more_body": True}]

        async def receive() -> Message:
            return pieces.pop() if pieces else await asyncio.Future()

        statuses: list[int] = []

        async def send(message: Message) -> None:
            statuses.append(message.get("status", 0))

        await Limits(Reader(), most_bytes=MIB, seconds=0.05)({"type": "http", "headers": []}, receive, send)
        return statuses

    assert asyncio.run(work())[0] == 408


def test_small_answers_are_sent_at_once() -> None:
    """asyncio turns Nagle's algorithm off only for sockets whose protocol is named; with it an answer takes 40 ms."""
    with bind("127.0.0.1", 0) as sock:
        assert sock.proto == socket.IPPROTO_TCP
