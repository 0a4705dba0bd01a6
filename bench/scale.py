"""Measures how time and memory grow with the number of photos and with a second process: they should grow linearly.

Runs `zoo finetune` from the start of the process to its end, training every stage of a resnet18 on generated photos.
Photos and network input are small, so that 50,000 photos take minutes on two cores: the benchmark does not measure the
network, but whether anything grows faster than the data. Generated photos are reused in later runs.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import _memory
import _photos
import _project
from _bench import make_parser, median, report

if TYPE_CHECKING:
    import argparse

NAME = "scale"
_SIZE = (256, 256)


def run(data: Path, devices: int, arguments: argparse.Namespace) -> tuple[float, float]:
    """Fine-tunes once; returns the seconds from start to end and the peak memory in GiB."""
    with tempfile.TemporaryDirectory() as runs:
        command = [sys.executable, "-m", "zoo", "finetune", "resnet18", "--weights", "none", "--data", str(data)]
        command += ["--runs", runs, "--epochs", str(arguments.epochs), "--image-size", str(arguments.image_size)]
        command += ["--batch-size", str(arguments.batch_size), "--quiet"]
        if devices > 1:
            command += ["--devices", str(devices)]
        started = time.perf_counter()
        with (
            subprocess.Popen(command, stdout=subprocess.DEVNULL, env=_project.checkout_environment()) as process,
            _memory.MemoryMonitor(process.pid) as memory,
        ):
            process.wait()
        if process.returncode:
            sys.exit(f"{' '.join(command)} ended with {process.returncode}")
        return time.perf_counter() - started, memory.peak / 2**30


def has_devices_option() -> bool:
    """Returns whether `zoo finetune` can use several processes."""
    command = [sys.executable, "-m", "zoo", "finetune", "--help"]
    text = subprocess.run(
        command, capture_output=True, text=True, check=True, env=_project.checkout_environment()
    ).stdout
    return re.search(r"--devices\b", text) is not None


def measure(arguments: argparse.Namespace, processes: list[int]) -> list[dict[str, Any]]:
    """Returns the rows of the table."""
    rows: list[dict[str, Any]] = []
    for devices in processes:
        previous: tuple[int, float] | None = None
        for count in map(int, arguments.counts.split(",")):
            data = _photos.generate(count, size=_SIZE, below=arguments.folder)
            results = [run(data, devices, arguments) for _ in range(arguments.repeats)]
            seconds = median([each for each, _ in results])
            slope = 1e3 * (seconds - previous[1]) / (count - previous[0]) if previous else None
            previous = count, seconds
            rows.append(
                {
                    "photos": count,
                    "processes": devices,
                    "seconds": seconds,
                    "ms per photo": 1e3 * seconds / count,
                    "ms per additional photo": slope,
                    "peak GiB": max(memory for _, memory in results),
                }
            )
    return rows


def main(args: list[str] | None = None) -> None:
    """Runs the benchmark."""
    parser = make_parser(NAME, __doc__, repeats=1)
    parser.add_argument("--counts", help="training photos (500,5000,50000)")
    parser.add_argument("--devices", default="1,2", help="processes (1,2)")
    parser.add_argument("--epochs", type=int, default=1, help="epochs (1)")
    parser.add_argument("--image-size", type=int, default=64, help="side of the network's input (64)")
    parser.add_argument("--batch-size", type=int, default=128, help="images per step (128)")
    parser.add_argument("--folder", type=Path, help="folder that caches generated photos")
    arguments = parser.parse_args(args)
    if arguments.quick:
        arguments.devices, arguments.image_size, arguments.batch_size = "1", 32, 16
    arguments.counts = arguments.counts or ("16,32" if arguments.quick else "500,5000,50000")
    _project.use_checkout()
    processes = [int(each) for each in arguments.devices.split(",")]
    notes = ["Validation adds a tenth as many photos, the test a fifth. Memory is the sum over all processes."]
    if max(processes) > 1 and not has_devices_option():
        processes = [1]
        notes.append("Several processes are not measured: this 'zoo finetune' has no --devices.")
    report(NAME, arguments, measure(arguments, processes), notes=notes)


if __name__ == "__main__":
    main(sys.argv[1:])
