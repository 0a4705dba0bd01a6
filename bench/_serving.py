"""Shared by the benchmarks of the demo: the server, photos to post, and a minimal HTTP/1.1 client."""

from __future__ import annotations

import asyncio
import json
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
_MAX_START_SECONDS = 120


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that `export_or_find` reads."""
    parser.add_argument("--model", type=Path, help="exported file to serve (default: export a short run)")
    parser.add_argument("--backbone", default="resnet18", help="backbone of the short run (resnet18)")


def export_or_find(arguments: argparse.Namespace, folder: Path) -> Path:
    """Returns the file of ``--model``; without one, trains on a few generated photos and exports."""
    if arguments.model is not None:
        return arguments.model.resolve()  # type: ignore[no-any-return]
    from inference import make_run
    from zoo_export.targets.onnx import export_onnx

    return export_onnx(make_run(arguments, folder), folder / "model.onnx").path


def draw_photos(count: int) -> list[bytes]:
    """Returns generated photos of 500 x 375 as JPEG files."""
    return [_photos.draw_jpeg(_photos.PHOTO, number) for number in range(count)]


class Server:
    """``zoo demo`` in a process of its own, for the duration of a ``with`` block.

    Args:
        model: An exported file.
        *options: Options of the command.

    Attributes:
        seconds: Time from the start of the process to its first page.
        port: Its port on loopback.
        pid: Its process.
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
        """Returns the body of the response to a GET request."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=_MAX_START_SECONDS) as response:
            return str(response.read().decode())

    def has_mapped(self, library: str) -> bool:
        """Returns whether the process has loaded a shared library. Linux only."""
        return library in Path(f"/proc/{self.pid}/maps").read_text("ascii", "replace")


class Response(NamedTuple):
    """An HTTP response.

    Attributes:
        status: The status code.
        body: The body.
        retry_after: Value of ``Retry-After`` in seconds; 0 without that header.
    """

    status: int
    body: bytes
    retry_after: float = 0.0

    @property
    def label(self) -> str:
        """The predicted class of the first photo."""
        return str(json.loads(self.body)["predictions"][0]["label"])


class Client:
    """A persistent connection; opened again after the server has closed it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, body: bytes, *, kind: str = "image/jpeg", path: str = PREDICT) -> Response:
        """Posts a body and returns the response; raises `OSError` or `asyncio.IncompleteReadError` if there is none."""
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
            response, persistent = await read_response(reader)
        except BaseException:
            await self.close()
            raise
        if not persistent:
            await self.close()
        return response

    async def close(self) -> None:
        """Closes the connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def read_response(reader: asyncio.StreamReader) -> tuple[Response, bool]:
    """Returns the next response on a connection, and whether the connection stays open."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    status, *lines = head.split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    response = Response(int(status.split()[1]), body, float(headers.get("retry-after", 0)))
    return response, headers.get("connection", "").lower() != "close"
