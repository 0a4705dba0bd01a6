"""What a search for the best values of options found, as values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from zoo.display.study import format_number, format_value
from zoo.utils.markup import block, line, table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyTrial:
    """One trial of a study.

    Attributes:
        number: Counted from 1.
        state: ``"finished"``, ``"pruned"`` or ``"failed"``; or ``"running"``, in another process; or
            ``"waiting"`` to be tried again.
        value: Of a finished trial, the value of its best epoch; otherwise None.
        values: The values that it tried, by option as on the command line.
        epochs: The value after each epoch; 0 is the probe.
        seconds: Its duration; None if it was killed.
        reason: Why it did not finish; otherwise empty.
    """

    number: int
    state: str
    value: float | None
    values: Mapping[str, Any]
    epochs: Mapping[int, float] = field(default_factory=dict)
    seconds: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """What a search for the best values of options found. A notebook shows the best trials.

    Attributes:
        study: The name of the study.
        storage: Where it is stored.
        objective: What was optimised: ``"log-loss"``, ``"val-accuracy"``.
        higher_is_better: Whether a higher value is better.
        trials: All trials, those of other processes too.
        best: The best finished one; None if none is finished.
        importances: The share of each option in what decides about the value, most important first; empty for fewer
            than four finished trials.
        recipe: The file with the best values, for ``recipe=`` or ``--recipe``; None without a finished trial.
        report: ``report.json``.
        picture: ``report.png``; None without a finished trial.
        run: The run folder of the best trial, whose test photos were not evaluated yet; None if it is on another
            machine.
    """

    study: str
    storage: str
    objective: str
    higher_is_better: bool
    trials: tuple[StudyTrial, ...]
    best: StudyTrial | None
    importances: Mapping[str, float]
    recipe: Path | None
    report: Path
    picture: Path | None
    run: Path | None

    def _repr_html_(self) -> str:
        finished = sorted(
            (each for each in self.trials if each.value is not None),
            key=lambda each: (-1 if self.higher_is_better else 1) * (each.value or 0.0),
        )
        names = list(finished[0].values) if finished else []
        rows = [
            (each.number, format_number(each.value), *(format_value(each.values[name]) for name in names))
            for each in finished[:10]
        ]
        shown = table(("trial", self.objective, *names), rows, right=(0, 1))
        return block(shown, line(f"{self.recipe or self.report} has the best values."))
