"""How the thresholds of a multi-label classifier are chosen: the option ``threshold`` as a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zoo.errors import ConfigError
from zoo.utils.text import short_repr


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdRule:
    """How thresholds are chosen.

    Attributes:
        goal: ``"f1"``: the highest F1. ``"precision"``: the highest recall at a precision of at least `value`.
            ``"recall"``: the highest precision at a recall of at least `value`. ``"fixed"``: `value` for every label.
        value: Between 0 and 1; without meaning for ``"f1"``.
    """

    goal: Literal["f1", "precision", "recall", "fixed"]
    value: float = 0.5


def parse_threshold_rule(text: str, *, owner: str) -> ThresholdRule:
    """Returns the rule that a text names: ``f1``, ``precision=0.9``, ``recall=0.9`` or ``0.5``.

    Args:
        text: The text.
        owner: What begins the message of an error.

    Raises:
        ConfigError: It names none.
    """
    if text == "f1":
        return ThresholdRule(goal="f1")
    goal, equals, number = text.partition("=")
    try:
        value = float(number if equals else text)
    except ValueError:
        value = float("nan")
    if not equals and 0 < value < 1:
        return ThresholdRule(goal="fixed", value=value)
    if goal == "precision" and 0 < value <= 1:
        return ThresholdRule(goal="precision", value=value)
    if goal == "recall" and 0 < value <= 1:
        return ThresholdRule(goal="recall", value=value)
    raise ConfigError(
        f"{owner}: option 'threshold' is {short_repr(text)}.",
        hint="Pass f1, precision=0.9, recall=0.9 or a number between 0 and 1 such as 0.5.",
    )
