"""What all benchmarks share: their options, alternating measurements, the table and the JSON."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from _machine import describe_in_a_line, describe_machine
from _project import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

T = TypeVar("T")


def options(name: str, doc: str | None, *, repeats: int, photos: int | None = None) -> argparse.ArgumentParser:
    """Returns a parser with the options that every benchmark has.

    Args:
        name: Of the benchmark.
        doc: The docstring of its module.
        repeats: How many times each thing is measured by default.
        photos: How many photos to learn from by default; None for benchmarks without photos.
    """
    parser = argparse.ArgumentParser(
        prog=f"bench/{name}.py", description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a small run: seconds, and no figure worth keeping")
    parser.add_argument("--repeats", type=int, default=repeats, help=f"times each is measured ({repeats})")
    parser.add_argument("--json", type=Path, default=ROOT / "bench" / "results" / f"{name}.json", help="where to write")
    if photos is not None:
        parser.add_argument("--photos", type=int, default=photos, help=f"photos to learn from ({photos})")
        parser.add_argument("--image-size", type=int, default=224, help="side of the network's input (224)")
        parser.add_argument("--data", type=Path, help="folder with train/ and test/ of class folders; else generated")
        parser.add_argument("--weights", type=Path, help="pretrained weights, the same for all; else random ones")
    return parser


def alternate(measures: Mapping[str, Callable[[], T]], repeats: int, *, warm_up: bool = False) -> dict[str, list[T]]:
    """Measures each in turn, `repeats` times over: a machine's speed drifts by more than most differences.

    Tells on stderr of what takes seconds, so that a long run is seen to go on, and an error at its end costs no figure.

    Args:
        measures: By name.
        repeats: Rounds that count.
        warm_up: Whether one round goes before them that does not: it reads files and compiles Python.
    """
    taken: dict[str, list[T]] = {name: [] for name in measures}
    for measure in measures.values() if warm_up else ():
        measure()
    for _ in range(repeats):
        for name, measure in measures.items():
            started = time.perf_counter()
            taken[name].append(measure())
            if (seconds := time.perf_counter() - started) > 1:
                print(f"{name}: {seconds:.1f} s, {taken[name][-1]}", file=sys.stderr)
    return taken


def median(values: Sequence[float]) -> float:
    """Returns the median; NaN of nothing."""
    return statistics.median(values) if values else float("nan")


def report(
    name: str, arguments: argparse.Namespace, rows: Sequence[Mapping[str, Any]], *, notes: Sequence[str] = ()
) -> None:
    """Prints machine and table, and writes both, with the options, as JSON.

    Args:
        name: Of the benchmark.
        arguments: As parsed.
        rows: All with the same keys, which head the columns; floats are shortened in print alone.
        notes: Printed below the table: what was skipped and why, what a figure means.
    """
    machine = describe_machine()
    print(f"\n{name}: {describe_in_a_line(machine)}")
    print(f"{' '.join(_said(arguments))}\n")
    print(table(rows))
    for note in notes:
        print(note)
    values = {key: str(value) if isinstance(value, Path) else value for key, value in vars(arguments).items()}
    content = {
        "benchmark": name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine,
        "options": values,
        "rows": [dict(row) for row in rows],
        "notes": list(notes),
    }
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    print(f"\n{arguments.json}", flush=True)


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns rows as a Markdown table."""
    if not rows:
        return "(no rows)"
    cells = [list(rows[0]), *([_shown(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in cells]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return "" if value is None else str(value)


def _said(arguments: argparse.Namespace) -> list[str]:
    return [f"{key.replace('_', '-')}={value}" for key, value in vars(arguments).items() if key != "json"]
