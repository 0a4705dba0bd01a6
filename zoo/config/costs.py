"""What the two kinds of mistakes of a classifier of two classes cost: the option ``cost`` as a value."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from zoo.errors import ConfigError
from zoo.utils.text import short_repr

_MISS, _FALSE_ALARM = "miss", "false-alarm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """The costs of mistakes, in any unit: only their ratio counts.

    Attributes:
        miss: What it costs to take a photo of the positive class for one of the other.
        false_alarm: What it costs to take a photo of the other class for one of the positive.
    """

    miss: float
    false_alarm: float

    @property
    def threshold(self) -> float:
        """The probability of the positive class from which it is the cheaper answer (Elkan 2001, equation 2)."""
        return self.false_alarm / (self.miss + self.false_alarm)


def parse_costs(text: str, *, owner: str) -> Costs:
    """Returns the costs that a text names: ``miss=5,false-alarm=1``, or the same with a space for the comma.

    Args:
        text: The text.
        owner: What begins the message of an error.

    Raises:
        ConfigError: It does not name both, or one of them is not a finite number above 0.
    """
    pairs = [part.partition("=") for part in re.split(r"[,\s]+", text.strip())]
    found = {name: _parse_number(value) for name, _, value in pairs}
    if len(pairs) == len(found) and found.keys() == {_MISS, _FALSE_ALARM} and all(map(math.isfinite, found.values())):
        return Costs(miss=found[_MISS], false_alarm=found[_FALSE_ALARM])
    raise ConfigError(
        f"{owner}: option 'cost' is {short_repr(text)}.",
        hint="Pass what each kind of mistake costs, as numbers above 0: --cost miss=5,false-alarm=1",
    )


def _parse_number(text: str) -> float:
    """Returns a number above 0; NaN if the text is none."""
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if value > 0 else math.nan
