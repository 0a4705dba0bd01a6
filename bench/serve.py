"""What the demo's HTTP interface costs: requests a second with 1 to 128 clients, beside the predictor by itself.

An exported file is served by `zoo demo` in a process of its own. Each client posts the bytes of a photo of 500 x 375,
waits for the answer, and posts the next, on a connection that it keeps. The predictor by itself is given the same bytes
in this process while the server idles, before and after each number of clients: one photo after another, or 32 at a
time as they would share a batch. Start-up is the time from the command to an answered page, over that of importing
gradio and loading the file.
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
_TOGETHER = 32
_BARE = "import gradio; from zoo_export.runtime.predictor import load; load({model!r})"


def start_up(model: Path, repeats: int, *, warm_up: bool) -> tuple[float, float]:
    """Returns the seconds to an answered page, and those of what cannot be left out."""

    def page() -> float:
        with _serving.Server(model) as server:
            return server.seconds

    def bare() -> float:
        started = time.perf_counter()
        program = _BARE.format(model=str(model))
        subprocess.run(
            [sys.executable, "-c", program], check=True, env=_project.checkout_environment(PYTHONWARNINGS="ignore")
        )
        return time.perf_counter() - started

    taken = alternate({"page": page, "bare": bare}, repeats, warm_up=warm_up)
    return median(taken["page"]), median(taken["bare"])


def alone(predictor: OnnxPredictor, photos: list[bytes], *, together: int, seconds: float) -> float:
    """Returns how many photos a second the predictor reads and tells."""
    done, started = 0, time.perf_counter()
    while (passed := time.perf_counter() - started) < seconds or not done:
        chosen = [photos[(done + each) % len(photos)] for each in range(together)]
        predictor.probabilities([predictor.read(photo, name="photo") for photo in chosen])
        done += together
    return done / passed if passed else 0.0


async def ask(port: int, photos: list[bytes], *, clients: int, seconds: float) -> tuple[list[float], int, float]:
    """Lets clients post photos; returns the milliseconds of each answer, how many failed, and the seconds taken."""
    taken: list[float] = []
    failed = 0
    started = time.perf_counter()

    async def client(number: int) -> None:
        nonlocal failed
        connection = _serving.Client(port)
        while time.perf_counter() - started < seconds:
            began = time.perf_counter()
            try:
                answer = await connection.post(photos[(number + len(taken)) % len(photos)])
            except (OSError, asyncio.IncompleteReadError):
                failed += 1
                continue
            taken.append(1e3 * (time.perf_counter() - began))
            failed += answer.status != 200
        await connection.close()

    await asyncio.gather(*map(client, range(clients)))
    return taken, failed, time.perf_counter() - started


def measure(model: Path, arguments: argparse.Namespace) -> tuple[list[dict[str, Any]], list[str]]:
    """Returns the rows of the table, and notes."""
    from zoo_export.runtime.predictor import load

    photos, predictor, rows = _serving.jpegs(_TOGETHER), load(model), []
    page, bare = start_up(model, arguments.repeats, warm_up=not arguments.quick)
    with _serving.Server(model) as server:
        for clients in map(int, arguments.clients.split(",")):
            by_itself = partial(alone, predictor, photos, together=1 if clients == 1 else _TOGETHER)
            by_itself(seconds=0)
            before = by_itself(seconds=arguments.seconds / 6)
            taken, failed, seconds = asyncio.run(ask(server.port, photos, clients=clients, seconds=arguments.seconds))
            speed = median([before, by_itself(seconds=arguments.seconds / 6)])
            rows.append(
                {
                    "clients": clients,
                    "requests": len(taken),
                    "errors": failed,
                    "p50 ms": float(np.percentile(taken, 50)),
                    "p95 ms": float(np.percentile(taken, 95)),
                    "requests/s": len(taken) / seconds,
                    "predictor/s": speed,
                    "share": len(taken) / seconds / speed,
                }
            )
        torch = "is" if server.has_mapped("libtorch") else "is not"
    return rows, [
        f"Start-up: {page:.2f} s to an answered page, {page / bare:.2f} x the {bare:.2f} s of gradio and file alone.",
        f"torch {torch} in the server's memory.",
    ]


def main(args: list[str] | None = None) -> None:
    """Parses, measures, reports."""
    parser = make_parser(NAME, __doc__, repeats=3, photos=16)
    parser.add_argument("--model", type=Path, help="an exported file; else one is made")
    parser.add_argument("--backbone", default="resnet18", help="of the file that is made (resnet18)")
    parser.add_argument("--clients", default="1,8,32,128", help="at a time, parted by commas (1,8,32,128)")
    parser.add_argument("--seconds", type=float, default=30, help="that each number of clients asks for (30)")
    arguments = parser.parse_args(args)
    if arguments.quick:
        arguments.repeats, arguments.clients, arguments.seconds, arguments.image_size = 1, "1,8", 1, 32
    _project.require(*_serving.NEEDS)
    _project.use_checkout()
    with tempfile.TemporaryDirectory() as folder:
        rows, notes = measure(_serving.exported_file(arguments, Path(folder)), arguments)
    report(NAME, arguments, rows, notes=notes)


if __name__ == "__main__":
    main(sys.argv[1:])
