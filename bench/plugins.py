"""Measures what third-party plugins cost commands that do not use them.

Creates distributions, each a copy of the project's example plugin with a name and offers of its own, and compares
`zoo --help` and `zoo list` with and without them with the help page of a bare click program that has as many commands
as the zoo. Counts processor seconds of whole processes, alternating; the ratio is that of medians.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import _project
from _bench import alternate, make_parser, median, report

if TYPE_CHECKING:
    import argparse

NAME = "plugins"
_EXAMPLE = _project.ROOT / "tests" / "example_plugin" / "zoo_tinynet"
_COMMANDS = 20
_BARE = f"""
import click
group = click.Group("bare")
for number in range({_COMMANDS}):
    group.add_command(click.Command(f"command{{number}}", help="Do one of many things.", callback=lambda: None))
group(["--help"])
"""


def install_plugins(folder: Path, count: int) -> Path:
    """Installs copies of the example plugin into a folder, and returns it."""
    for number in range(count):
        name = f"tiny{number}"
        package = folder / f"zoo_{name}"
        shutil.copytree(_EXAMPLE, package, ignore=shutil.ignore_patterns("__pycache__"))
        for file in package.rglob("*.py"):
            file.write_text(file.read_text("utf-8").replace("tinynet", name), "utf-8")
        info = folder / f"zoo_{name}-0.1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: zoo-{name}\nVersion: 0.1\n", "utf-8")
        (info / "entry_points.txt").write_text(f"[zoo]\n{name} = zoo_{name}\n", "utf-8")
    return folder


def processor_seconds(command: list[str], environment: dict[str, str]) -> float:
    """Returns the processor seconds that a command takes."""
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status):
        sys.exit(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    return usage.ru_utime + usage.ru_stime


def measure(arguments: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Returns the rows of the table."""
    alone = _project.checkout_environment()
    site = install_plugins(folder, arguments.plugins)
    more = {**alone, "PYTHONPATH": os.pathsep.join([alone["PYTHONPATH"], str(site)])}
    zoo = [sys.executable, "-m", "zoo"]
    several = f", {arguments.plugins} plugins"
    results = alternate(
        {
            "bare click --help": partial(processor_seconds, [sys.executable, "-c", _BARE], alone),
            "zoo --help": partial(processor_seconds, [*zoo, "--help"], alone),
            f"zoo --help{several}": partial(processor_seconds, [*zoo, "--help"], more),
            "zoo list": partial(processor_seconds, [*zoo, "list"], alone),
            f"zoo list{several}": partial(processor_seconds, [*zoo, "list"], more),
        },
        arguments.repeats,
        warm_up=True,
    )
    reference = median(results["bare click --help"])
    return [
        {"command": name, "processor seconds": median(seconds), "ratio": median(seconds) / reference}
        for name, seconds in results.items()
    ]


def main(args: list[str] | None = None) -> None:
    """Runs the benchmark."""
    parser = make_parser(NAME, __doc__, repeats=9)
    parser.add_argument("--plugins", type=int, default=30, help="third-party distributions (30)")
    arguments = parser.parse_args(args)
    if arguments.quick:
        arguments.repeats, arguments.plugins = 1, 2
    _project.use_checkout()
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(arguments, Path(folder))
    report(NAME, arguments, rows)


if __name__ == "__main__":
    main(sys.argv[1:])
