"""Whether good clients of the demo are served while others abuse it, and whether its memory stays bounded.

A few good clients post photos, one after another, and check that they are told what they were told before. Beside them,
all the time: bodies larger than is allowed, announced and not; uploads that trickle in and never end; what is no photo,
broken photos, and one that would be huge; requests that are not HTTP; addresses that are not there; and many uploads at
once. A good client that is told to come back later (503, Retry-After) does so; to be served only then is counted, and
no failure. Whatever else is not the right answer is one.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import tempfile
import time
import zlib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import _memory
import _project
import _serving
from _bench import make_parser, report

if TYPE_CHECKING:
    import argparse
    from collections.abc import Awaitable, Callable

    Abuse = Callable[[], Awaitable[str]]

NAME = "abuse"
_MOST = 4 << 20  # bytes of an upload
_LIMIT = ("--max-upload", str(_MOST >> 20))
_TRICKLE = 2.0  # seconds between the bytes of a slow upload
_LOST = (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.TimeoutError, ValueError, IndexError)


def huge_png(side: int = 60_000) -> bytes:
    """Returns the beginning of a PNG of so many pixels a side, in a few kilobytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")

    header = side.to_bytes(4, "big") * 2 + b"\x08\x02\x00\x00\x00"
    chunks = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(bytes(10**6))), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def abuses(port: int, photo: bytes) -> dict[str, Abuse]:
    """Returns what is done to the server, by name; each returns what came of it."""
    noise = random.Random(0)
    broken = {
        "no photo": os.urandom(50_000),
        "cut off": photo[: len(photo) // 2],
        "huge": huge_png(),
        "empty": b"",
        "text": b"<svg onload=alert(1)>" * 100,
    }

    async def post(body: bytes, kind: str = "image/jpeg", path: str = _serving.PREDICT) -> str:
        client = _serving.Client(port)
        try:
            return str((await client.post(body, kind=kind, path=path)).status)
        finally:
            await client.close()

    async def raw(*parts: bytes, pause: float = 0.0) -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            for part in parts:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(pause)
            return str((await _serving.read_answer(reader))[0].status)
        finally:
            writer.close()

    def head(length: str) -> bytes:
        return f"POST {_serving.PREDICT} HTTP/1.1\r\nHost: 127.0.0.1\r\n{length}\r\n\r\n".encode()

    async def too_large() -> str:
        return await post(bytes(_MOST + 1))

    async def too_large_unannounced() -> str:
        block = b"100000\r\n" + bytes(1 << 20) + b"\r\n"
        return await raw(head("Transfer-Encoding: chunked"), *[block] * 8, b"0\r\n\r\n")

    async def slow() -> str:
        return await raw(head("Content-Length: 1000"), *[b"x"] * 100, pause=_TRICKLE)

    async def slow_headers() -> str:
        return await raw(b"POST / HTTP/1.1\r\n", *[b"X-A: b\r\n"] * 100, pause=_TRICKLE)

    async def no_photo() -> str:
        return await post(broken[noise.choice(sorted(broken))])

    async def form() -> str:
        return await post(os.urandom(1000), kind="multipart/form-data; boundary=x")

    async def no_http() -> str:
        return await raw(os.urandom(2000))

    async def elsewhere() -> str:
        paths = ("/../../etc/passwd", "/gradio_api/file=/etc/passwd", "/api/v1/predict?model=" + "a" * 5000, "/%00")
        return await post(b"x", path=noise.choice(paths))

    async def many() -> str:
        told = await asyncio.gather(*(post(photo) for _ in range(16)), return_exceptions=True)
        return max(map(str, told))

    return {
        "too large": too_large,
        "too large, not announced": too_large_unannounced,
        "slow body": slow,
        "slow headers": slow_headers,
        "no photo": no_photo,
        "no form": form,
        "no HTTP": no_http,
        "elsewhere": elsewhere,
        "16 uploads at once": many,
    }


async def be_good(port: int, photos: list[bytes], labels: list[str], until: float, rows: dict[str, Any]) -> None:
    """Posts photos one after another until a time, and enters into `rows` what came of it."""
    client = _serving.Client(port)
    number = 0
    while time.perf_counter() < until:
        number = (number + 1) % len(photos)
        began = time.perf_counter()
        try:
            while (answer := await client.post(photos[number])).status == 503 and answer.retry_after:
                rows["told to wait"] += 1
                await asyncio.sleep(answer.retry_after)
            right = answer.status == 200 and answer.label == labels[number]
        except _LOST as error:
            right, answer = False, _serving.Answer(0, repr(error).encode())
        rows["requests"] += 1
        if not right:
            rows["failed"] += 1
            print(f"failed: {answer.status} {answer.body[:200]!r}", file=sys.stderr)
        rows["milliseconds"].append(1e3 * (time.perf_counter() - began))
    await client.close()


async def abuse(what: Abuse, until: float, came: Counter[str]) -> None:
    """Does the same over and over until a time."""
    while (left := until - time.perf_counter()) > 0:
        try:
            came[await asyncio.wait_for(what(), left)] += 1
        except _LOST as error:
            came["cut off" if not isinstance(error, asyncio.TimeoutError) else "end"] += 1
        await asyncio.sleep(0.05)


async def run(server: _serving.Server, arguments: argparse.Namespace) -> tuple[list[dict[str, Any]], list[str]]:
    """Returns the rows of the table, and notes."""
    photos = _serving.jpegs(8)
    first = _serving.Client(server.port)
    labels = [(await first.post(photo)).label for photo in photos]
    await first.close()
    rows: list[dict[str, Any]] = []
    told: list[str] = []
    for abused in (False, True):
        seconds = arguments.minutes * 60 if abused else min(20.0, arguments.minutes * 60)
        until = time.perf_counter() + seconds
        row: dict[str, Any] = {"requests": 0, "failed": 0, "told to wait": 0, "milliseconds": []}
        came: dict[str, Counter[str]] = {name: Counter() for name in abuses(server.port, photos[0])}
        with _memory.MemoryMonitor(server.pid) as memory:
            work = [be_good(server.port, photos, labels, until, row) for _ in range(arguments.clients)]
            if abused:
                for name, what in abuses(server.port, photos[0]).items():
                    work += [abuse(what, until, came[name]) for _ in range(arguments.abusers)]
            await asyncio.gather(*work)
        taken = row.pop("milliseconds")
        rows.append(
            {
                "beside abuse": "yes" if abused else "no",
                "seconds": seconds,
                **row,
                "p50 ms": float(np.percentile(taken, 50)),
                "p95 ms": float(np.percentile(taken, 95)),
                "peak MiB": memory.peak / 2**20,
            }
        )
        told += [f"{name}: {dict(found)}" for name, found in came.items() if abused]
    return rows, ["What the abuse was answered with, by status:", *told]


def main(args: list[str] | None = None) -> None:
    """Parses, measures, reports; ends with 1 where a good client was not served."""
    parser = make_parser(NAME, __doc__, repeats=1, photos=16)
    parser.add_argument("--model", type=Path, help="an exported file; else one is made")
    parser.add_argument("--backbone", default="resnet18", help="of the file that is made (resnet18)")
    parser.add_argument("--minutes", type=float, default=10, help="of abuse (10)")
    parser.add_argument("--clients", type=int, default=4, help="good ones (4)")
    parser.add_argument("--abusers", type=int, default=4, help="of each kind (4)")
    arguments = parser.parse_args(args)
    if arguments.quick:
        arguments.minutes, arguments.image_size, arguments.abusers = 0.05, 32, 1
    _project.require(*_serving.NEEDS)
    _project.use_checkout()
    with tempfile.TemporaryDirectory() as folder:
        model = _serving.exported_file(arguments, Path(folder))
        with _serving.Server(model, *_LIMIT) as server:
            rows, notes = asyncio.run(run(server, arguments))
    report(NAME, arguments, rows, notes=notes)
    if any(row["failed"] for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
