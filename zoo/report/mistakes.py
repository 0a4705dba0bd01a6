"""The page of the most confident mistakes of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from zoo.report.plot import INK, MUTED, class_labels
from zoo.report.tiles import Tile, load_photo, write_tiles

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from zoo.plugins.specs import Sample

SHOWN_MISTAKES = 16
_WRONG = "#a84300"  # vermilion, dark enough for small letters


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """A photo whose predicted class is not its label.

    Attributes:
        source: The photo: a file, or the bytes of one.
        name: What the photo is called.
        true: Its label, an index into the classes.
        predicted: Index of the predicted class.
        probability: Of the predicted class, 0 to 1.
    """

    source: Path | bytes
    name: str
    true: int
    predicted: int
    probability: float


def find_mistakes(probabilities: npt.ArrayLike, samples: Sequence[Sample]) -> tuple[Mistake, ...]:
    """Returns every mistake, the most confident first.

    Args:
        probabilities: ``(N, C)`` float.
        samples: The N photos they were predicted for, in the same order.
    """
    p = np.asarray(probabilities)
    found = [
        Mistake(source=sample.source, name=sample.name, true=sample.label, predicted=best, probability=float(row[best]))
        for sample, row, best in zip(samples, p, p.argmax(axis=1).tolist(), strict=True)
        if best != sample.label
    ]
    return tuple(sorted(found, key=lambda mistake: -mistake.probability))


def write_mistakes(
    path: Path, mistakes: Sequence[Mistake], *, classes: Sequence[str], count: int, title: str = ""
) -> Path:
    """Writes a page of the most confident mistakes: each photo, what it was taken for, and its label.

    Args:
        path: The file to write.
        mistakes: All of them, in any order; the 16 most confident are shown.
        classes: Names, in the order of the labels.
        count: How many photos were predicted.
        title: Of what: ``"resnet18-linear-hotdog-1, test"``.

    Returns:
        `path`. A photo that cannot be read leaves its place empty; without mistakes the picture says so.

    Raises:
        RunError: The file cannot be written.
    """
    shown = sorted(mistakes, key=lambda mistake: -mistake.probability)[:SHOWN_MISTAKES]
    labels = class_labels(classes)
    if shown:
        heading = "Most confident mistakes"
        subtitle = f"{len(shown)} of {len(mistakes)} mistakes in {count} photos, with the network's answer on top"
    else:
        heading = "No mistakes"
        subtitle = f"All {count} photos were given the class of their label."
    return write_tiles(
        path,
        [_tile(mistake, labels) for mistake in shown],
        columns=4,
        title=f"{heading}: {title}" if title else heading,
        subtitle=subtitle,
    )


def _tile(mistake: Mistake, labels: Sequence[str]) -> Tile:
    captions = (
        (f"{labels[mistake.predicted]}, {100 * mistake.probability:.1f} %", _WRONG),
        (f"labelled {labels[mistake.true]}", INK),
        (mistake.name, MUTED),
    )
    return Tile(photo=load_photo(mistake.source), captions=captions)
