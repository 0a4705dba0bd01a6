"""Whether the demo serves well-behaved clients while others abuse it, and whether its memory stays bounded.

A few clients post photos one after another and check that each prediction is the same as before the abuse. Meanwhile
others send bodies over the limit, with and without a length; uploads that trickle in and never end; files that are no
photos, broken photos, and one that claims to be huge; bytes that are not HTTP; unknown paths; bodies of tiny pieces;
JSON of many values; floods of photos, of bodies of the largest size, and of uploads to the page that nobody uses; and
archives that unpack to a thousand times their size. Of a flood of large bodies, some must be served. A client that gets
503 with Retry-After waits and tries again; that counts as a retry, not a failure. Anything but the right prediction is
a failure.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import random
import sys
import tempfile
import time
import zipfile
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

    Attack = Callable[[], Awaitable[str]]

NAME = "abuse"
_MAX_UPLOAD = 4 << 20  # bytes
_FLOOD, _SERVED, _NONE_SERVED = "16 large bodies at once", "some served", "none served"
_OPTIONS = ("--max-upload", str(_MAX_UPLOAD >> 20))
_SECONDS_BETWEEN_BYTES = 2.0  # of a slow upload
_CONNECTION_ERRORS = (
    OSError,
    asyncio.IncompleteReadError,
    asyncio.LimitOverrunError,
    asyncio.TimeoutError,
    ValueError,
    IndexError,
)


def make_huge_png(side: int = 60_000) -> bytes:
    """Returns a PNG of a few kilobytes that claims to have `side` x `side` pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")

    header = side.to_bytes(4, "big") * 2 + b"\x08\x02\x00\x00\x00"
    chunks = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(bytes(10**6))), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def make_bomb(members: int = 10, size: int = 32 << 20) -> bytes:
    """Returns an archive of 0.3 MB that unpacks to 320 MiB."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for number in range(members):
            archive.writestr(f"{number}.jpg", bytes(size))
    return buffer.getvalue()


class Attacks:
    """The attacks; each returns the status of the response.

    Args:
        port: The port of the server.
        photo: A photo that it accepts.
        model: The name of its model.
    """

    def __init__(self, port: int, photo: bytes, model: str) -> None:
        self._port, self._photo, self._model = port, photo, model
        self._rng = random.Random(0)
        self._bomb = make_bomb()
        self._broken = {
            "no photo": os.urandom(50_000),
            "cut off": photo[: len(photo) // 2],
            "huge": make_huge_png(),
            "empty": b"",
            "text": b"<svg onload=alert(1)>" * 100,
        }

    def by_name(self) -> dict[str, Attack]:
        """Returns the attacks by the names in the table."""
        return {
            "too large": self._too_large,
            "too large, without length": self._too_large_without_length,
            "slow body": self._slow_body,
            "slow headers": self._slow_headers,
            "no photo": self._no_photo,
            "broken form": self._broken_form,
            "not HTTP": self._not_http,
            "unknown path": self._unknown_path,
            "tiny pieces": self._tiny_pieces,
            "JSON of many values": self._many_values,
            "16 photos at once": self._many,
            _FLOOD: self._large,
            "unused upload": self._unused_upload,
            "archive": self._archive,
        }

    async def _post(self, body: bytes, kind: str = "image/jpeg", path: str = _serving.PREDICT) -> str:
        client = _serving.Client(self._port)
        try:
            return str((await client.post(body, kind=kind, path=path)).status)
        finally:
            await client.close()

    async def _raw(self, *parts: bytes, pause: float = 0.0) -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            for part in parts:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(pause)
            return str((await _serving.read_response(reader))[0].status)
        finally:
            writer.close()

    def _make_headers(self, length: str) -> bytes:
        return f"POST {_serving.PREDICT} HTTP/1.1\r\nHost: 127.0.0.1\r\n{length}\r\n\r\n".encode()

    async def _too_large(self) -> str:
        return await self._post(bytes(_MAX_UPLOAD + 1))

    async def _too_large_without_length(self) -> str:
        block = b"100000\r\n" + bytes(1 << 20) + b"\r\n"
        return await self._raw(self._make_headers("Transfer-Encoding: chunked"), *[block] * 8, b"0\r\n\r\n")

    async def _slow_body(self) -> str:
        return await self._raw(self._make_headers("Content-Length: 1000"), *[b"x"] * 100, pause=_SECONDS_BETWEEN_BYTES)

    async def _slow_headers(self) -> str:
        return await self._raw(b"POST / HTTP/1.1\r\n", *[b"X-A: b\r\n"] * 100, pause=_SECONDS_BETWEEN_BYTES)

    async def _no_photo(self) -> str:
        return await self._post(self._broken[self._rng.choice(sorted(self._broken))])

    async def _broken_form(self) -> str:
        return await self._post(os.urandom(1000), kind="multipart/form-data; boundary=x")

    async def _not_http(self) -> str:
        return await self._raw(os.urandom(2000))

    async def _unknown_path(self) -> str:
        paths = ("/../../etc/passwd", "/gradio_api/file=/etc/passwd", "/api/v1/predict?model=" + "a" * 5000, "/%00")
        return await self._post(b"x", path=self._rng.choice(paths))

    async def _tiny_pieces(self) -> str:
        return await self._raw(self._make_headers("Transfer-Encoding: chunked"), b"1\r\nx\r\n" * 10_000)

    async def _many_values(self) -> str:
        return await self._post(b"[" + b"[]," * 10**6, kind="application/json", path="/gradio_api/queue/join")

    async def _many(self) -> str:
        statuses = await asyncio.gather(*(self._post(self._photo) for _ in range(16)), return_exceptions=True)
        return max(map(str, statuses))

    async def _large(self) -> str:
        statuses = await asyncio.gather(*(self._post(self._photo.ljust(_MAX_UPLOAD, b"\0")) for _ in range(16)))
        return _SERVED if "200" in statuses else _NONE_SERVED

    async def _upload(self, content: bytes, name: str) -> str:
        part = f'--x\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
        form = part.encode() + content + b"\r\n--x--\r\n"
        client = _serving.Client(self._port)
        try:
            response = await client.post(form, kind="multipart/form-data; boundary=x", path="/gradio_api/upload")
        finally:
            await client.close()
        return str(json.loads(response.body)[0]) if response.status == 200 else str(response.status)

    async def _unused_upload(self) -> str:
        path = await self._upload(self._photo + self._rng.randbytes(1 << 20), "photo.jpg")
        return "200" if path.startswith("/") else path

    async def _archive(self) -> str:
        path = await self._upload(self._bomb, "bomb.zip")
        file = {"path": path, "meta": {"_type": "gradio.FileData"}}
        body = json.dumps({"data": [[file], self._model]}).encode()
        return await self._post(body, kind="application/json", path="/gradio_api/call/batch")


async def post_well_behaved(
    port: int, photos: list[bytes], labels: list[str], until: float, row: dict[str, Any]
) -> None:
    """Posts photos one after another until a time, and counts the results in `row`."""
    client = _serving.Client(port)
    number = 0
    while time.perf_counter() < until:
        number = (number + 1) % len(photos)
        began = time.perf_counter()
        try:
            while (response := await client.post(photos[number])).status == 503 and response.retry_after:
                row["retries"] += 1
                await asyncio.sleep(response.retry_after)
            correct = response.status == 200 and response.label == labels[number]
        except _CONNECTION_ERRORS as error:
            correct, response = False, _serving.Response(0, repr(error).encode())
        row["requests"] += 1
        if not correct:
            row["failed"] += 1
            print(f"failed: {response.status} {response.body[:200]!r}", file=sys.stderr)
        row["milliseconds"].append(1e3 * (time.perf_counter() - began))
    await client.close()


async def check_health(port: int, until: float, row: dict[str, Any]) -> None:
    """Asks for the health ten times a second until a time, and records the slowest response in `row`."""
    while time.perf_counter() < until:
        began = time.perf_counter()
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            response, _ = await _serving.read_response(reader)
            writer.close()
            row["failed"] += response.status != 200
        except _CONNECTION_ERRORS:
            row["failed"] += 1
        row["health max ms"] = max(row["health max ms"], 1e3 * (time.perf_counter() - began))
        await asyncio.sleep(0.1)


async def attack_repeatedly(attack: Attack, until: float, statuses: Counter[str]) -> None:
    """Repeats an attack until a time, and counts the statuses of the responses."""
    while (left := until - time.perf_counter()) > 0:
        try:
            statuses[await asyncio.wait_for(attack(), left)] += 1
        except _CONNECTION_ERRORS as error:
            statuses["unfinished" if isinstance(error, asyncio.TimeoutError) else "connection closed"] += 1
        await asyncio.sleep(0.05)


async def run(server: _serving.Server, arguments: argparse.Namespace) -> tuple[list[dict[str, Any]], list[str]]:
    """Returns the rows of the table, and notes."""
    photos = _serving.draw_photos(8)
    first = _serving.Client(server.port)
    labels = [(await first.post(photo)).label for photo in photos]
    await first.close()
    model = json.loads(server.get("/api/v1/models"))[0]["name"]
    rows: list[dict[str, Any]] = []
    notes = ["Responses to the attacks, by status:"]
    for under_attack in (False, True):
        seconds = arguments.minutes * 60 if under_attack else min(20.0, arguments.minutes * 60)
        row: dict[str, Any] = {"requests": 0, "failed": 0, "retries": 0, "health max ms": 0.0, "milliseconds": []}
        attacks = Attacks(server.port, photos[0], model).by_name() if under_attack else {}
        statuses: dict[str, Counter[str]] = {name: Counter() for name in attacks}
        until = time.perf_counter() + seconds
        with _memory.MemoryMonitor(server.pid) as memory:
            work = [post_well_behaved(server.port, photos, labels, until, row) for _ in range(arguments.clients)]
            work.append(check_health(server.port, until, row))
            for name, attack in attacks.items():
                work += [attack_repeatedly(attack, until, statuses[name]) for _ in range(arguments.abusers)]
            await asyncio.gather(*work)
        latencies = row.pop("milliseconds")
        floods = statuses.get(_FLOOD, Counter())
        row["failed"] += floods[_NONE_SERVED] > 0 and floods[_SERVED] == 0
        rows.append(
            {
                "under abuse": "yes" if under_attack else "no",
                "seconds": seconds,
                **row,
                "p50 ms": float(np.percentile(latencies, 50)),
                "p95 ms": float(np.percentile(latencies, 95)),
                "peak MiB": memory.peak / 2**20,
            }
        )
        notes += [f"{name}: {dict(counts)}" for name, counts in statuses.items()]
    return rows, notes


def main(args: list[str] | None = None) -> None:
    """Parses the arguments, measures, reports; exits with 1 if a well-behaved client was not served."""
    parser = make_parser(NAME, __doc__, repeats=1, photos=16)
    _serving.add_model_options(parser)
    parser.add_argument("--minutes", type=float, default=10, help="duration of the abuse (10)")
    parser.add_argument("--clients", type=int, default=4, help="well-behaved clients (4)")
    parser.add_argument("--abusers", type=int, default=4, help="abusive clients of each kind (4)")
    arguments = parser.parse_args(args)
    if arguments.quick:
        arguments.minutes, arguments.image_size, arguments.abusers = 0.05, 32, 1
    _project.require(*_serving.NEEDS)
    _project.use_checkout()
    with tempfile.TemporaryDirectory() as folder:
        model = _serving.export_or_find(arguments, Path(folder))
        with _serving.Server(model, *_OPTIONS) as server:
            rows, notes = asyncio.run(run(server, arguments))
    report(NAME, arguments, rows, notes=notes)
    if any(row["failed"] for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
