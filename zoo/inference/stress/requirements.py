"""Requirements on a stress test: ``jpeg:3=0.85``, for a check that a model must pass before it is deployed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zoo.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zoo.inference.stress.results import ModelResult

CLEAN, MEAN, WORST = "clean", "mean", "worst"
_FORM = "Write it as KIND:STRENGTH=ACCURACY, such as jpeg:3=0.85; KIND=ACCURACY is for the mean over its strengths."


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """A lowest accuracy.

    Attributes:
        text: The requirement as the user wrote it.
        kind: A kind of change; ``"clean"``; ``"mean"``, of all kinds; or ``"worst"``, the kind of the lowest mean.
        strength: 1 or more; None for the mean over the strengths.
        accuracy: The lowest accuracy, 0 to 1.
    """

    text: str
    kind: str
    strength: int | None
    accuracy: float

    def check(self, result: ModelResult) -> str:
        """Returns why a model fails, as a sentence; empty if it passes."""
        found = self._find(result)
        if found is None:
            dropped = "the time did not suffice" if self.kind in result.dropped else "it was not measured"
            return f"{result.name} fails {self.text}: {dropped}."
        name, accuracy, count = found
        if accuracy >= self.accuracy:
            return ""
        return f"{result.name} fails {self.text}: its accuracy{name} is {accuracy:.4f}, on {count} photos."

    def _find(self, result: ModelResult) -> tuple[str, float, int] | None:
        """Returns what was measured, in words, the accuracy and the number of photos; None if it was not measured."""
        if self.kind == CLEAN:
            return " on photos as they are", result.clean, result.count
        if self.kind == MEAN:
            return None if result.mean is None else (" under changes, in the mean,", result.mean.accuracy, result.count)
        if self.kind == WORST:
            plain = [kind for kind in result.kinds if not kind.adversarial]
            worst = min(plain, key=lambda kind: kind.mean.accuracy, default=None)
            return (
                None if worst is None else (f" under its worst kind, {worst.name},", worst.mean.accuracy, worst.count)
            )
        kind = result.by_kind.get(self.kind)
        if kind is None:
            return None
        if self.strength is None:
            return f" under {kind.name}, in the mean of its strengths,", kind.mean.accuracy, kind.count
        return f" under {kind.name} of strength {self.strength}", kind.strengths[self.strength - 1].accuracy, kind.count


def parse_requirements(texts: Sequence[str], strengths: Mapping[str, int]) -> tuple[Requirement, ...]:
    """Returns the requirements that texts state.

    Args:
        texts: Such as ``"jpeg:3=0.85"``, ``"noise=0.6"``, ``"clean=0.9"``, ``"mean=0.7"`` or ``"worst=0.4"``.
        strengths: The number of strengths of each kind of change that is measured.

    Raises:
        ConfigError: A text has another form, or names a kind or a strength that is not measured.
    """
    return tuple(_parse(text, strengths) for text in texts)


def _parse(text: str, strengths: Mapping[str, int]) -> Requirement:
    target, equals, number = text.partition("=")
    kind, colon, level = (part.strip() for part in target.partition(":"))
    try:
        accuracy = float(number)
    except ValueError:
        accuracy = math.nan
    if not equals or not 0 <= accuracy <= 1:
        raise ConfigError(f"The requirement '{text}' has no accuracy from 0 to 1.", hint=_FORM)
    known = [CLEAN, MEAN, WORST, *strengths]
    if kind not in known:
        hint = f"{did_you_mean(kind, known)} It can be {', '.join(known)}.".strip()
        raise ConfigError(f"The requirement '{text}' names no kind of change that is measured.", hint=hint)
    if not colon:
        return Requirement(text=text, kind=kind, strength=None, accuracy=accuracy)
    most = strengths.get(kind, 0)
    if not level.isascii() or not level.isdigit() or not 1 <= int(level) <= most:
        hint = (
            f"{kind} has the strengths 1 to {most}." if most else f"'{kind}' has no strengths: write {kind}=ACCURACY."
        )
        raise ConfigError(f"The requirement '{text}' has no valid strength.", hint=hint)
    return Requirement(text=text, kind=kind, strength=int(level), accuracy=accuracy)
