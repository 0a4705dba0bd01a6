"""The decision between two classes by what mistakes cost. Imports no numpy, so that records are read quickly."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class CostDecision:
    """How to decide between two classes.

    Attributes:
        positive: The name of the class that must not be missed.
        threshold: The probability from which a photo is decided to be of this class; exactly a float32, so that all
            programs decide alike.
        miss: What it costs to miss a photo of this class.
        false_alarm: What it costs to take a photo of the other class for one of this.
    """

    positive: str
    threshold: float
    miss: float
    false_alarm: float

    def describe(self) -> str:
        """Returns a phrase: ``"'defect' from a probability of 0.167 (miss=5, false-alarm=1)"``."""
        costs = f"miss={self.miss:g}, false-alarm={self.false_alarm:g}"
        return f"'{self.positive}' from a probability of {self.threshold:.3f} ({costs})"

    def mean_cost(self, predicted: NDArray[Any], labels: NDArray[Any], classes: Sequence[str]) -> float:
        """Returns what the mistakes cost per photo.

        Args:
            predicted: The predicted classes, ``(N,)`` integers.
            labels: The true classes, ``(N,)`` integers.
            classes: The names of the two classes.
        """
        positive = classes.index(self.positive)
        missed = ((labels == positive) & (predicted != positive)).mean()
        alarms = ((labels != positive) & (predicted == positive)).mean()
        return float(self.miss * missed + self.false_alarm * alarms)


def decision_from_dict(values: Mapping[str, Any], *, classes: Sequence[str]) -> CostDecision:
    """Returns the decision of a record or a card, which may contain anything.

    Args:
        values: The fields of a `CostDecision`.
        classes: Class names.

    Raises:
        ValueError: A value is missing or wrong, or there are not two classes.
    """
    if len(classes) != 2 or values.get("positive") not in classes:
        raise ValueError("its 'positive' is not one of two classes")
    numbers: dict[str, Any] = {name: values.get(name) for name in ("threshold", "miss", "false_alarm")}
    for name, value in numbers.items():
        if type(value) not in (int, float) or not 0 < value < (1 if name == "threshold" else math.inf):
            raise ValueError(f"its '{name}' is no number in range")
    return CostDecision(positive=values["positive"], **{name: float(value) for name, value in numbers.items()})


def decide_classes(probabilities: NDArray[Any], classes: Sequence[str], decision: CostDecision | None) -> NDArray[Any]:
    """Returns the predicted class of each photo, int64 ``(N,)``: the most probable, or that of a decision by costs.

    Args:
        probabilities: ``(N, classes)`` float32.
        classes: Class names; two if there is a decision.
        decision: The decision, or None.
    """
    if decision is None:
        most_probable: NDArray[Any] = probabilities.argmax(axis=1)
        return most_probable
    positive = classes.index(decision.positive)
    reached = probabilities[:, positive] >= decision.threshold
    decided: NDArray[Any] = (reached == bool(positive)).astype("int64")
    return decided
