"""Shared by all benchmarks: options, alternating measurements, the table and the JSON."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from _machine import describe_machine, format_machine
from _project import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

T = TypeVar("T")


def make_parser(
    name: str, doc: str | None, *, repeats: int | None = None, photos: int | None = None
) -> argparse.ArgumentParser:
    """Creates a parser with the options that every benchmark has.

    Args:
        name: Name of the benchmark.
        doc: Docstring of its module.
        repeats: Default number of measurements of each variant; None for benchmarks that do not repeat them.
        photos: Default number of training photos; None for benchmarks without photos.
    """
    parser = argparse.ArgumentParser(
        prog=f"bench/{name}.py", description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="run for seconds only; the figures mean nothing")
    if repeats is not None:
        parser.add_argument("--repeats", type=int, default=repeats, help=f"measurements of each variant ({repeats})")
    parser.add_argument("--json", type=Path, default=ROOT / "bench" / "results" / f"{name}.json", help="output file")
    if photos is not None:
        parser.add_argument("--photos", type=int, default=photos, help=f"training photos ({photos})")
        parser.add_argument("--image-size", type=int, default=224, help="side of the network's input (224)")
        parser.add_argument(
            "--data", type=Path, help="folder with class folders in train/ and test/ (default: generated photos)"
        )
        parser.add_argument(
            "--weights", type=Path, help="pretrained weights for every trainer (default: random weights)"
        )
    return parser


def alternate(measures: Mapping[str, Callable[[], T]], repeats: int, *, warm_up: bool = False) -> dict[str, list[T]]:
    """Runs the measurements in turn, `repeats` times, because a machine's speed drifts by more than most differences.

    Prints slow measurements to stderr as they finish, so that an error late in a long run costs no figure.

    Args:
        measures: Measurements by name.
        repeats: Number of rounds that count.
        warm_up: Whether to run one uncounted round first, which reads files and compiles Python.
    """
    results: dict[str, list[T]] = {name: [] for name in measures}
    for measure in measures.values() if warm_up else ():
        measure()
    for _ in range(repeats):
        for name, measure in measures.items():
            started = time.perf_counter()
            results[name].append(measure())
            if (seconds := time.perf_counter() - started) > 1:
                print(f"{name}: {seconds:.1f} s, {results[name][-1]}", file=sys.stderr)
    return results


def median(values: Sequence[float]) -> float:
    """Returns the median, or NaN if there are no values."""
    return statistics.median(values) if values else float("nan")


def report(
    name: str,
    arguments: argparse.Namespace,
    rows: Sequence[Mapping[str, Any]],
    *,
    tables: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    notes: Sequence[str] = (),
    machine: dict[str, Any] | None = None,
) -> None:
    """Prints the machine and the tables, and writes them as JSON together with the options.

    Args:
        name: Name of the benchmark.
        arguments: Parsed arguments.
        rows: Rows with the same keys, which become the columns. Floats are rounded in print, not in the JSON.
        tables: Further tables by title.
        notes: Lines below the tables, such as what was skipped and why.
        machine: The machine's description, if the benchmark has one already.
    """
    machine = machine or describe_machine()
    print(f"\n{name}: {format_machine(machine)}")
    print(f"{' '.join(_format_options(arguments))}\n")
    print(format_table(rows))
    for title, table in (tables or {}).items():
        print(f"\n{title}:\n\n{format_table(table)}")
    for note in notes:
        print(note)
    content = {
        "benchmark": name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine,
        "options": vars(arguments),
        "rows": [dict(row) for row in rows],
        **({"tables": tables} if tables else {}),
        "notes": list(notes),
    }
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(content, indent=2, default=str) + "\n", "utf-8")
    print(f"\n{arguments.json}", flush=True)


def format_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns rows as a Markdown table."""
    if not rows:
        return "(no rows)"
    cells = [list(rows[0]), *([_format_cell(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in cells]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def _format_cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return "" if value is None else str(value)


def _format_options(arguments: argparse.Namespace) -> list[str]:
    return [f"{key.replace('_', '-')}={value}" for key, value in vars(arguments).items() if key != "json"]
