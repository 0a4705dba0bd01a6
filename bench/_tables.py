"""Tables of runs: mean figures of each trainer, and its paired differences from a baseline."""

from __future__ import annotations

from collections import defaultdict
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from _intervals import analyse, combine, combine_as_sample
from _sets import class_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from _runs import Result

    Runs = Mapping[int, Result]  # of one trainer on one set, by seed


class Pairs(NamedTuple):
    """The runs of a trainer and of the baseline with the same seeds on one set.

    Attributes:
        differences: ``(photos, seeds)``: 1 if only the trainer is right, -1 if only the baseline is, else 0.
        classes: ``(photos,)`` class indices.
        seconds: Of the trainer, all seeds together.
        baseline_seconds: Of the baseline.
    """

    differences: NDArray[np.float64]
    classes: NDArray[np.intp]
    seconds: float
    baseline_seconds: float


def pair(runs: Runs, baseline: Runs) -> Pairs | None:
    """Pairs two trainers' runs on a set; returns None if they have no seed in common."""
    seeds = sorted(runs.keys() & baseline.keys())
    if not seeds:
        return None
    names = sorted(runs[seeds[0]].predictions)
    rights = [
        np.array([[float(each[seed].is_right(name)) for seed in seeds] for name in names]) for each in (runs, baseline)
    ]
    classes = np.unique([class_of(name) for name in names], return_inverse=True)[1]
    seconds = [sum(each[seed].seconds for seed in seeds) for each in (runs, baseline)]
    return Pairs(rights[0] - rights[1], classes, *seconds)


def tabulate(
    results: Mapping[tuple[str, str, int], Result], trainers: Sequence[str], sets: Sequence[str], baseline: str
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Returns the rows of each set, and those over all sets on which every trainer has a result.

    Args:
        results: Results by trainer, set and seed.
        trainers: Names of the trainers.
        sets: Names of the sets.
        baseline: The trainer that the others are compared with.
    """
    runs: dict[tuple[str, str], dict[int, Result]] = defaultdict(dict)
    for (trainer, name, seed), result in results.items():
        runs[name, trainer][seed] = result

    def summarise_on(names: Sequence[str], trainer: str) -> dict[str, Any]:
        others = [] if trainer == baseline else [runs[name, baseline] for name in names]
        return {"trainer": trainer, **summarise([runs[name, trainer] for name in names], others, baseline)}

    rows = [
        {"set": name, **summarise_on([name], trainer)} for name in sets for trainer in trainers if runs[name, trainer]
    ]
    complete = [name for name in sets if all(runs[name, trainer] for trainer in trainers)]
    totals = [{"sets": len(complete), **summarise_on(complete, trainer)} for trainer in trainers if complete]
    return rows, totals


def summarise(mine: Sequence[Runs], others: Sequence[Runs], baseline: str) -> dict[str, Any]:
    """Returns a trainer's mean figures over data sets, and their differences from the baseline's.

    Args:
        mine: The trainer's runs on each set.
        others: The baseline's runs on each set; empty for the baseline itself.
        baseline: Name of the baseline.

    Returns:
        Accuracies from 0 to 1, times in seconds, and differences in percentage points with their 95 % intervals: for
        other photos and seeds of these sets, and, under ``"other sets"``, for other sets.
    """
    averages = [average(list(runs.values())) for runs in mine]
    row: dict[str, Any] = {"runs": sum(map(len, mine))}
    row |= {column: fmean(each[column] for each in averages) for column in averages[0]}
    paired = [pair(*each) for each in zip(mine, others, strict=True)] if others else []
    pairs = [each for each in paired if each]
    row["x time"] = (
        sum(each.seconds for each in pairs) / sum(each.baseline_seconds for each in pairs) if pairs else None
    )
    plain = [analyse(each.differences, 0 * each.classes) for each in pairs]
    balanced = [analyse(each.differences, each.classes) for each in pairs]
    row |= _in_points((f"minus {baseline}", "low", "high"), combine(plain) if pairs else None)
    row |= _in_points(("balanced minus", "balanced low", "balanced high"), combine(balanced) if pairs else None)
    if len(mine) > 1:
        sample = combine_as_sample([each.mean for each in plain]) if len(pairs) > 1 else None
        row |= _in_points(("other sets, low", "other sets, high"), sample and sample[1:])
    return row


def _in_points(columns: Sequence[str], shares: Sequence[float] | None) -> dict[str, float | None]:
    """Returns columns of shares in percentage points, or of None without shares."""
    values = [None] * len(columns) if shares is None else [round(100 * share, 2) for share in shares]
    return dict(zip(columns, values, strict=True))


def average(results: Sequence[Result]) -> dict[str, float]:
    """Returns the mean figures of runs with several seeds."""
    return {
        "accuracy": fmean(each.accuracy for each in results),
        "balanced": fmean(each.balanced_accuracy() for each in results),
        "seconds": fmean(each.seconds for each in results),
        "CPU s": fmean(each.cpu_seconds for each in results),
    }
