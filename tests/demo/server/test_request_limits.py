"""Tests of the limits on request bodies, with and without a socket."""

from __future__ import annotations

import asyncio
import http.client
import threading
from typing import TYPE_CHECKING

import pytest
import uvicorn

from zoo_demo.server import request_limits
from zoo_demo.server.request_limits import RequestLimits
from zoo_demo.server.serve import bind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import Message, Receive, Scope, Send

MIB = 1 << 20
PHOTOS = "/photos"  # accepts photos


class Reader:
    """An application that reads bodies, and responds once `release` is set."""

    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.bodies = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        self.bodies += 1
        await self.release.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


async def post(app: RequestLimits, *, mib: float, path: str = PHOTOS, piece: bytes = bytes(MIB // 2)) -> int:
    """Sends a body in pieces, without its length; returns the status."""
    pieces = [piece] * int(mib * MIB / len(piece))
    statuses: list[int] = []

    async def receive() -> Message:
        await asyncio.sleep(0)  # others send too
        return {"type": "http.request", "body": pieces.pop(), "more_body": bool(pieces)}

    async def send(message: Message) -> None:
        statuses.append(message.get("status", 0))

    await app({"type": "http", "path": path, "headers": [(b"host", b"localhost")]}, receive, send)
    return statuses[0]


def test_large_bodies_share_a_limit_and_small_ones_are_accepted_beyond_it() -> None:
    async def work() -> None:
        reader = Reader()
        app = RequestLimits(reader, max_bytes=2 * MIB, photo_paths=[PHOTOS])
        held = [asyncio.create_task(post(app, mib=2)) for _ in range(8)]
        while reader.bodies < 8:
            await asyncio.sleep(0)
        small = asyncio.create_task(post(app, mib=1))

        assert await post(app, mib=2) == 503
        reader.release.set()
        assert await asyncio.gather(small, *held) == [200] * 9
        assert await post(app, mib=2) == 200

    asyncio.run(work())


def test_of_a_flood_as_many_are_served_as_there_is_room_for() -> None:
    async def work() -> None:
        reader = Reader()
        app = RequestLimits(reader, max_bytes=4 * MIB, photo_paths=[PHOTOS])  # room for 32 MiB
        flood = [asyncio.create_task(post(app, mib=4)) for _ in range(20)]
        while sum(task.done() for task in flood) < 12:
            await asyncio.sleep(0.01)
        reader.release.set()

        assert sorted(await asyncio.gather(*flood)) == [200] * 8 + [503] * 12
        assert await post(app, mib=4) == 200

    asyncio.run(work())


def test_a_flood_of_small_bodies_is_limited_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_limits, "_MAX_SMALL_BODIES", 4)

    async def work() -> None:
        reader = Reader()
        app = RequestLimits(reader, max_bytes=4 * MIB, photo_paths=[PHOTOS])
        flood = [asyncio.create_task(post(app, mib=1)) for _ in range(10)]
        while sum(task.done() for task in flood) < 6:
            await asyncio.sleep(0.01)
        reader.release.set()

        assert sorted(await asyncio.gather(*flood)) == [200] * 4 + [503] * 6

    asyncio.run(work())


def test_a_stalled_body_makes_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_limits, "_STALLED_SECONDS", 0.05)

    async def stall(app: RequestLimits) -> int:
        pieces = [{"type": "http.request", "body": bytes(2 * MIB), "more_body": True}]
        statuses: list[int] = []

        async def receive() -> Message:
            return pieces.pop() if pieces else await asyncio.Future()

        async def send(message: Message) -> None:
            statuses.append(message.get("status", 0))

        await app({"type": "http", "path": PHOTOS, "headers": []}, receive, send)
        return statuses[0]

    async def work() -> None:
        reader = Reader()
        reader.release.set()
        app = RequestLimits(reader, max_bytes=2 * MIB, photo_paths=[PHOTOS])
        stalled = [asyncio.create_task(stall(app)) for _ in range(8)]
        await asyncio.sleep(0.01)
        assert await post(app, mib=2) == 503
        await asyncio.sleep(0.1)

        assert await post(app, mib=2) == 200
        await asyncio.sleep(0.01)
        done = [task for task in stalled if task.done()]
        assert [task.result() for task in done] == [408]
        for task in set(stalled) - set(done):
            task.cancel()

    asyncio.run(work())


def test_an_application_that_reports_the_rejection_as_its_own_error_is_overruled() -> None:
    async def report(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            while (await receive()).get("more_body"):
                pass
        except Exception:
            await send({"type": "http.response.start", "status": 500, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            raise

    assert asyncio.run(post(RequestLimits(report, max_bytes=MIB, photo_paths=[PHOTOS]), mib=2)) == 413


@pytest.mark.parametrize(
    ("mib", "piece", "status"),
    [
        (4, b"x" * MIB, 200),
        (4.5, b"x" * (MIB // 2), 413),
        (0.25, b"[],x" * 1024, 413),  # 131,072 values
        (0.125, b"[],x" * 1024, 200),
    ],
)
def test_json_is_limited_in_size_and_in_the_number_of_values(mib: float, piece: bytes, status: int) -> None:
    async def work() -> int:
        reader = Reader()
        reader.release.set()
        app = RequestLimits(reader, max_bytes=64 * MIB, photo_paths=[PHOTOS])
        assert await post(app, mib=mib, piece=piece) == 200
        return await post(app, mib=mib, piece=piece, path="/gradio_api/queue/join")

    assert asyncio.run(work()) == status


@pytest.fixture
def port() -> Iterator[int]:
    sock = bind("127.0.0.1", 0)
    reader = Reader()
    reader.release.set()
    server = uvicorn.Server(uvicorn.Config(RequestLimits(reader, max_bytes=MIB), log_level="critical"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
    thread.start()
    yield sock.getsockname()[1]
    server.should_exit = True
    thread.join()


@pytest.mark.parametrize("with_length", [True, False])
def test_a_client_that_sends_too_much_can_read_why(port: int, *, with_length: bool) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    pieces = [bytes(MIB)] * 3
    headers = {"Content-Length": str(3 * MIB)} if with_length else {}

    connection.request("POST", "/", body=iter(pieces), headers=headers, encode_chunked=not with_length)
    response = connection.getresponse()

    assert response.status == 413
    assert b"larger than 1 MiB" in response.read()


def test_an_endless_body_is_drained_for_a_limited_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_limits, "_DRAIN_SECONDS", 0.05)

    async def work() -> list[int]:
        async def receive() -> Message:
            await asyncio.sleep(0.01)
            return {"type": "http.request", "body": b"x", "more_body": True}

        statuses: list[int] = []

        async def send(message: Message) -> None:
            statuses.append(message.get("status", 0))

        app = RequestLimits(Reader(), max_bytes=MIB)
        await app({"type": "http", "path": PHOTOS, "headers": [(b"content-length", b"9999999")]}, receive, send)
        return statuses

    assert asyncio.run(work())[0] == 413


def test_a_body_that_does_not_arrive_in_time_is_rejected() -> None:
    async def work() -> list[int]:
        pieces = [{"type": "http.request", "body": b"x", "more_body": True}]

        async def receive() -> Message:
            return pieces.pop() if pieces else await asyncio.Future()

        statuses: list[int] = []

        async def send(message: Message) -> None:
            statuses.append(message.get("status", 0))

        await RequestLimits(Reader(), max_bytes=MIB, seconds=0.05)(
            {"type": "http", "path": PHOTOS, "headers": []}, receive, send
        )
        return statuses

    assert asyncio.run(work())[0] == 408
