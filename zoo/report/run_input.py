"""What the report of a run is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from zoo.data.check.suspect import Suspect
    from zoo.metrics.classification import Evaluation
    from zoo.plugins.specs import WeightsInfo
    from zoo.report.mistakes import Mistake
    from zoo.runs.run import RunFolder

MAX_PHOTOS = 24  # of a section
SPLITS = {"train": "training", "val": "validation", "test": "test"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportInput:
    """What a report is made of.

    Attributes:
        run: The run.
        split: The split that was evaluated for the report.
        evaluation: The metrics on it, with slices; None if its photos are not at hand, or have several labels each.
        mistakes: All mistakes on it, the most confident first.
        not_evaluated: Why `evaluation` is None.
        suspects: Photos whose labels may be wrong; None if nobody looked for them.
        stress: The content of ``stress.json`` of ``zoo stress``; None if there is none.
        stress_folder: Its folder.
        weights: The pretrained weights that training started from; None for others.
        version: The version of the zoo that writes the report.
        written: The date.
    """

    run: RunFolder
    split: str = "test"
    evaluation: Evaluation | None = None
    mistakes: tuple[Mistake, ...] = ()
    not_evaluated: str = ""
    suspects: Sequence[Suspect] | None = None
    stress: Mapping[str, Any] | None = None
    stress_folder: Path | None = None
    weights: WeightsInfo | None = None
    version: str = ""
    written: str = ""
