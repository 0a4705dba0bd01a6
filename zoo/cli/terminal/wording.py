"""Events in words: the lines and figures that the observers show."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING

from zoo.cli.terminal import console

if TYPE_CHECKING:
    from zoo.events import EpochResult, Finished, StepResult, Work

_VALUES = 11  # the column in which what is told of a run begins
COLUMNS = "  epoch     loss  accuracy  val loss   val acc     rate    img/s  time (* best)"


def describe_step(event: StepResult) -> str:
    """Returns ``loss 0.312, accuracy 91.2 %, 48 images/s, 1 min 2 s left``."""
    shown = "" if math.isnan(event.accuracy) else f"accuracy {console.percent(event.accuracy)}, "
    left = console.duration(event.seconds_left)
    return f"loss {event.loss:.3f}, {shown}{event.images_per_second:.0f} images/s, {left} left"


def epoch_line(event: EpochResult, epochs: int) -> str:
    """Returns the row of an epoch, below the titles of the columns."""
    name = f"{event.epoch}/{epochs}" if event.epoch else "probe"
    has_rate = event.epoch and math.isfinite(event.learning_rate)
    rate = f"{event.learning_rate:.1e}" if has_rate else console.NOTHING
    return (
        f"{name:>7}  {_number(event.train_loss):>7}  {console.percent(event.train_accuracy):>8}  "
        f"{_number(event.val_loss):>8}  {console.percent(event.val_accuracy):>8}  {rate:>7}  "
        f"{_number(event.images_per_second, 1):>7}  {console.duration(event.seconds)}{' *' if event.best else ''}"
    )


def final_figures(event: Finished) -> list[tuple[str, str]]:
    """Returns the names and values of what came out of a run."""
    results = event.results
    rows = []
    for part in ("test", "val"):
        if part in results:
            scores = results[part]
            told = f"{console.accuracy(scores['accuracy'], scores['interval'])} ({scores['count']} photos)"
            rows.append((f"{part} accuracy", told))
            break  # where there is a test, the accuracy on the photos that chose the epoch is of no interest
    speed = results.get("images_per_second")
    speed_told = f", training at {speed:.0f} images/s" if speed else ""
    rows.append(("time", f"{console.duration(results.get('seconds'))}{speed_told}"))
    return [*rows, ("run", event.path)]


def folded(line: str, width: int) -> list[str]:
    """Returns a line folded between words to a width; a word that is longer, such as a path, stays whole."""
    indent = " " * _VALUES if line.startswith("  ") else ""
    lines = textwrap.wrap(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return lines if len(line) > width else [line]


def share_done(event: Work) -> str:
    """Returns ``25 %``, or what is done where the total is unknown."""
    return f"{event.done}" if not event.total else f"{100 * event.done / event.total:.0f} %"


def _number(value: float, digits: int = 3) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else console.NOTHING


def list_classes(names: tuple[str, ...], most: int = 4) -> str:
    """Returns ``5 classes (a, b, c, d, ...)``."""
    listed = ", ".join(names[:most]) + (", ..." if len(names) > most else "")
    return f"{len(names)} classes ({listed})"
