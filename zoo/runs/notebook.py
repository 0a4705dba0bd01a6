"""What a notebook shows of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zoo.utils.markup import bar, block, heading, pairs, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from zoo.runs.run import RunFolder

_CLASSES = 10


def show_run(run: RunFolder) -> str:
    """Returns a run as HTML: its figures with intervals, what it was made of, and where it is."""
    record, seconds = run.record, run.results.get("seconds")
    counts = (f"{count} {split}" for split, count in record.data.counts.items() if count)
    more = ", ..." if len(record.classes) > _CLASSES else ""
    facts = [
        ("model", f"{record.backbone} + {record.head}"),
        ("data", ", ".join((record.data.name, *counts))),
        ("classes", ", ".join(record.classes[:_CLASSES]) + more),
        ("note", record.data.note),
        ("time", f"{seconds:.0f} s" if isinstance(seconds, int | float) else ""),
    ]
    scores = list(_scores(run.results))
    shown = [table(("split", "", "accuracy", "95 % interval"), scores, right=(2,))] if scores else []
    return block(heading(run.name, f"{run.status}, in {run.path}"), pairs(facts), *shown)


def _scores(results: Mapping[str, Any]) -> Iterable[tuple[object, ...]]:
    for split in ("test", "val"):
        match results.get(split):
            case {
                "accuracy": int() | float() as accuracy,
                "interval": [int() | float() as low, int() | float() as high],
            }:
                yield split, bar(accuracy), f"{100 * accuracy:.1f} %", f"{100 * low:.1f} % to {100 * high:.1f} %"
