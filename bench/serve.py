"""Requests per second of the demo's HTTP API with 1 to 128 clients, compared with the predictor alone.

`zoo demo` serves an exported file in a process of its own. Each client posts a photo of 500 x 375 as a JPEG file, waits
for the response, and posts the next over the same connection. The predictor classifies the same files in this process
while the server idles, before and after each number of clients: one photo at a time, or 32, since concurrent requests
share a batch. Start-up is the time from the command to the first page, relative to that of importing gradio and loading
the file.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import _project
import _serving
from _bench import alternate, make_parser, median, report

if TYPE_CHECKING:
    import argparse

    from zoo_export.runtime.predictor import OnnxPredictor

NAME = "serve"
_BATCH = 32
_LOAD_ONLY = "import gradio; from zoo_export.runtime.predictor import load; load({model!r})"


def measure_start_up(model: Path, repeats: int, *, warm_up: bool) -> tuple[float, float]:
    """Measures the seconds until the first page, and those that importing gradio and loading the file take."""

    def start_server() -> float:
        with _serving.Server(model) as server:
            return server.seconds

    def load_only() -> float:
        started = time.perf_counter()
        program = _LOAD_ONLY.format(model=str(model))
        subprocess.run(
            [sys.executable, "-c", program], check=True, env=_project.checkout_environment(PYTHONWARNINGS="ignore")
        )
        return time.perf_counter() - started

    seconds = alternate({"page": start_server, "load": load_only}, repeats, warm_up=warm_up)
    return median(seconds["page"]), median(seconds["load"])


def measure_predictor(predictor: OnnxPredictor, photos: list[bytes], *, batch: int, seconds: float) -> float:
    """Returns how many photos per second the predictor decodes and classifies."""
    done, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds or not done:
        images = [predictor.read(photos[(done + n) % len(photos)], name="photo") for n in range(batch)]
        predictor.probabilities(images)
        done += batch
    return done / elapsed if elapsed else 0.0


async def post_photos(
    port: int, photos: list[bytes], *, clients: int, seconds: float
) -> tuple[list[float], int, float]:
    """Posts photos from several clients; returns the latencies in ms, the number of errors, and the seconds taken."""
    latencies: list[float] = []
    failed = 0
    started = time.perf_counter()

    async def client(number: int) -> None:
        nonlocal failed
        connection = _serving.Client(port)
        while time.perf_counter() - started < seconds:
            began = time.perf_counter()
            try:
                response = await connection.post(photos[(number + len(latencies)) % len(photos)])
            except (OSError, asyncio.IncompleteReadError):
                failed += 1
                continue
            latencies.append(1e3 * (time.perf_counter() - began))
            failed += response.status != 200
        await connection.close()

    await asyncio.gather(*map(client, range(clients)))
    return latencies, failed, time.perf_counter() - started


def measure(model: Path, arguments: argparse.Namespace) -> tuple[list[dict[str, Any]], list[str]]:
    """Returns the rows of the table, and notes."""
    from zoo_export.runtime.predictor import load

    photos, predictor, rows = _serving.draw_photos(_BATCH), load(model), []
    page, load_only = measure_start_up(model, arguments.repeats, warm_up=not arguments.quick)
    with _serving.Server(model) as server:
        for clients in map(int, arguments.clients.split(",")):
            predict = partial(measure_predictor, predictor, photos, batch=1 if clients == 1 else _BATCH)
            predict(seconds=0)
            before = predict(seconds=arguments.seconds / 6)
            latencies, failed, seconds = asyncio.run(
                post_photos(server.port, photos, clients=clients, seconds=arguments.seconds)
            )
            speed = median([before, predict(seconds=arguments.seconds / 6)])
            rows.append(
                {
                    "clients": clients,
                    "requests": len(latencies),
                    "errors": failed,
                    "p50 ms": float(np.percentile(latencies, 50)),
                    "p95 ms": float(np.percentile(latencies, 95)),
                    "requests/s": len(latencies) / seconds,
                    "predictor/s": speed,
                    "share": len(latencies) / seconds / speed,
                }
            )
        torch = "is" if server.has_mapped("libtorch") else "is not"
    return rows, [
        f"Start-up: {page:.2f} s to the first page, {page / load_only:.2f} x the {load_only:.2f} s of gradio and file.",
        f"torch {torch} loaded in the server.",
    ]


def main(args: list[str] | None = None) -> None:
    """Parses the arguments, measures, reports."""
    parser = make_parser(NAME, __doc__, repeats=3, photos=16)
    _serving.add_model_options(parser)
    parser.add_argument(
        "--clients", default="1,8,32,128", help="comma-separated numbers of concurrent clients (1,8,32,128)"
    )
    parser.add_argument("--seconds", type=float, default=30, help="for each number of clients (30)")
    arguments = parser.parse_args(args)
    if arguments.quick:
        arguments.repeats, arguments.clients, arguments.seconds, arguments.image_size = 1, "1,8", 1, 32
    _project.require(*_serving.NEEDS)
    _project.use_checkout()
    with tempfile.TemporaryDirectory() as folder:
        rows, notes = measure(_serving.export_or_find(arguments, Path(folder)), arguments)
    report(NAME, arguments, rows, notes=notes)


if __name__ == "__main__":
    main(sys.argv[1:])
