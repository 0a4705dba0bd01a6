"""Numbers and values as text: percentages, durations, counts, options."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NO_VALUE = "-"  # in place of a missing number


def format_percent(share: float | None, digits: int = 1) -> str:
    """Returns ``93.1 %`` for 0.931, and ``-`` for None and NaN."""
    return NO_VALUE if share is None or math.isnan(share) else f"{100 * share:.{digits}f} %"


def format_accuracy(share: float | None, interval: Sequence[float] | None = None) -> str:
    """Returns ``93.1 % ± 1.8``: an accuracy and half the width of its interval, in percentage points."""
    if share is None or interval is None:
        return format_percent(share)
    low, high = interval
    return f"{format_percent(share)} ± {50 * (high - low):.1f}"


def format_metrics(metrics: Mapping[str, Any], *, most: int | None = None) -> list[tuple[str, str]]:
    """Returns rows of chosen metrics, as `zoo.metrics.classification.Evaluation.metrics_to_dict` has them.

    ``("balanced accuracy", "0.8123 (0.7512 to 0.8634)")``: numbers of plugins may have any unit.

    Args:
        metrics: ``value`` and ``interval`` by name.
        most: Number of rows; a last one counts the others.
    """
    rows = []
    for name, each in list(metrics.items())[:most]:
        value, interval = each["value"], each["interval"]
        text = NO_VALUE if value is None else f"{value:.4g}"
        around = f" ({interval[0]:.4g} to {interval[1]:.4g})" if interval else ""
        rows.append((name.replace("_", " "), text + around))
    left = len(metrics) - len(rows)
    return [*rows, ("", f"and {left} more values")] if left else rows


def format_duration(seconds: float | None) -> str:
    """Returns ``42 s``, ``3 min 12 s`` or ``2 h 5 min``; ``-`` for None and non-finite values."""
    if seconds is None or not math.isfinite(seconds):
        return NO_VALUE
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def format_estimate(seconds: float) -> str:
    """Returns ``about 40 s``, ``about 3 min`` or ``about 2 h 5 min``: no more digits than an estimate deserves."""
    if seconds < 87.5:
        return f"about {max(5, 5 * round(seconds / 5))} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"about {hours} h {minutes} min" if hours else f"about {minutes} min"


def format_count(number: int) -> str:
    """Returns ``11.2 M``, ``4.1 k`` or ``512``."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size * 0.99995:
            return f"{number / size:.1f} {unit}"
    return str(number)


def format_bytes(number: int) -> str:
    """Returns ``13.7 MB``, ``6.4 kB`` or ``512 B``."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= size * 0.99995:
            return f"{number / size:.1f} {unit}"
    return f"{number} B"


def format_option(value: object) -> str:
    """Returns the value of an option as the command line accepts it: ``yes``, ``none``, ``0.5``."""
    if value is None or isinstance(value, bool):
        return {True: "yes", False: "no", None: "none"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def format_classes(names: Sequence[str], limit: int = 4) -> str:
    """Returns ``5 classes (a, b, c, d, ...)``."""
    listed = ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")
    return f"{len(names)} classes ({listed})"


def pluralize(number: int, noun: str) -> str:
    """Returns ``no problems``, ``1 problem`` or ``2 problems``."""
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"
