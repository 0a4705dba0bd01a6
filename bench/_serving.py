"""A `zoo demo` to measure, photos to send it, and a client that speaks plain HTTP/1.1 and costs next to nothing."""

from __future__ import annotations

import asyncio
import io
import json
import random
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

import _photos
import _project

if TYPE_CHECKING:
    import argparse

PREDICT = "/api/v1/predict"
NEEDS = ("gradio", "fastapi", "uvicorn", "onnx", "onnxruntime")
_KINDS = ("disc", "cross")
_START = 120  # seconds, at most


def exported_file(arguments: argparse.Namespace, folder: Path) -> Path:
    """Returns the model to serve: that of ``--model``, or one made of a short run on generated photos."""
    if arguments.model is not None:
        return arguments.model.resolve()  # type: ignore[no-any-return]
    from inference import make_run
    from zoo_export.targets.onnx import export

    return export(make_run(arguments, folder), folder / "model.onnx").path


def jpegs(count: int) -> list[bytes]:
    """Returns generated photos of 500 x 375 as files."""
    files = []
    for number in range(count):
        content = io.BytesIO()
        _photos.draw(_KINDS[number % 2], _photos.PHOTO, random.Random(number)).save(content, "JPEG", quality=90)
        files.append(content.getvalue())
    return files


class Server:
    """``zoo demo`` in a process of its own, from its start to its end.

    Args:
        model: An exported file.
        *options: Of the command.

    Attributes:
        seconds: From the start of the process until its page was answered.
        port: On loopback.
        pid: Of the process.
    """

    def __init__(self, model: Path, *options: str) -> None:
        self._command = [sys.executable, "-m", "zoo", "demo", str(model), "--port", "0", "--no-open", *options]

    def __enter__(self) -> Self:
        started = time.perf_counter()
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.PIPE, text=True, env=_project.checkout_environment(PYTHONWARNINGS="ignore")
        )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if found := re.search(r"http://127\.0\.0\.1:(\d+)", line):
                break
        else:
            sys.exit(f"{' '.join(self._command)} ended with {self._process.wait()}")
        self.port, self.pid = int(found[1]), self._process.pid
        self.get("/")
        self.seconds = time.perf_counter() - started
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()

    def get(self, path: str) -> str:
        """Returns what is answered to a GET."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=_START) as answer:
            return str(answer.read().decode())

    def has_mapped(self, library: str) -> bool:
        """Returns whether a shared library of this name is in the memory of the process. Linux alone."""
        return library in Path(f"/proc/{self.pid}/maps").read_text("ascii", "replace")


class Answer(NamedTuple):
    """What came back.

    Attributes:
        status: Of HTTP.
        body: As it came.
        retry_after: Seconds after which to ask again; 0 where that is not said.
    """

    status: int
    body: bytes
    retry_after: float = 0.0

    @property
    def label(self) -> str:
        """The class that the first photo was told to be."""
        return str(json.loads(self.body)["predictions"][0]["label"])


class Client:
    """A connection that is kept; made anew where the server has closed it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, body: bytes, *, kind: str = "image/jpeg", path: str = PREDICT) -> Answer:
        """Sends a body and returns the answer; raises `OSError` or `asyncio.IncompleteReadError` where none comes."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        try:
            lines = (
                f"POST {path} HTTP/1.1",
                "Host: 127.0.0.1",
                f"Content-Type: {kind}",
                f"Content-Length: {len(body)}",
            )
            writer.write("\r\n".join([*lines, "", ""]).encode() + body)
            await writer.drain()
            answer, stays = await read_answer(reader)
        except BaseException:
            await self.close()
            raise
        if not stays:
            await self.close()
        return answer

    async def close(self) -> None:
        """Ends the connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def read_answer(reader: asyncio.StreamReader) -> tuple[Answer, bool]:
    """Returns the next answer on a connection, and whether the connection stays open."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    status, *lines = head.split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    answer = Answer(int(status.split()[1]), body, float(headers.get("retry-after", 0)))
    return answer, headers.get("connection", "").lower() != "close"
