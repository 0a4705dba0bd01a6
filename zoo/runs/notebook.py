"""What a notebook shows of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zoo.display.scores import ACCURACY, MEAN_AP, read_score
from zoo.utils.markup import bar, block, heading, pairs, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from zoo.runs.record import RunRecord

_CLASSES = 10


def show_run(record: RunRecord, *, name: str, status: str, path: Path) -> str:
    """Returns a run as HTML: its figures with intervals, what it was made of, and where it is.

    Args:
        record: What is recorded of it.
        name: Its name.
        status: As in `zoo.runs.run.RunFolder.status`.
        path: The run folder.
    """
    seconds = record.results.get("seconds")
    counts = (f"{count} {split}" for split, count in record.data.counts.items() if count)
    more = ", ..." if len(record.classes) > _CLASSES else ""
    facts = [
        ("model", f"{record.backbone} + {record.head}"),
        ("data", ", ".join((record.data.name, *counts))),
        ("classes", ", ".join(record.classes[:_CLASSES]) + more),
        ("note", record.data.note),
        ("time", f"{seconds:.0f} s" if isinstance(seconds, int | float) else ""),
    ]
    scores = list(_scores(record.results))
    name = MEAN_AP if record.multi_label else ACCURACY
    shown = [table(("split", "", name, "95 % interval"), scores, right=(2,))] if scores else []
    return block(heading(name, f"{status}, in {path}"), pairs(facts), *shown)


def _scores(results: Mapping[str, Any]) -> Iterable[tuple[object, ...]]:
    for split in ("test", "val"):
        score = read_score(results, split)
        if score is not None and score.interval is not None:
            low, high = score.interval
            yield split, bar(score.value), f"{100 * score.value:.1f} %", f"{100 * low:.1f} % to {100 * high:.1f} %"
