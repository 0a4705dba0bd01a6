"""The sheet of the most confident mistakes of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from zoo.data.targets import single_label
from zoo.report.plot import INK, MUTED, WRONG, class_labels
from zoo.report.sheets import Tile, load_photo, write_tiles

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from zoo.plugins.specs import Sample

MAX_MISTAKES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """A photo whose predicted class is not its label.

    Attributes:
        source: The photo, as a file or its bytes.
        name: The name of the photo in its dataset.
        true: The label, an index into the classes.
        predicted: The predicted class, an index into the classes.
        probability: The probability of the predicted class, 0 to 1.
    """

    source: Path | bytes
    name: str
    true: int
    predicted: int
    probability: float


def find_mistakes(
    probabilities: npt.ArrayLike, samples: Sequence[Sample], predicted: Sequence[int] | None = None
) -> tuple[Mistake, ...]:
    """Returns all mistakes, the most confident first.

    Args:
        probabilities: ``(N, C)`` float.
        samples: The N photos, in the same order.
        predicted: The N predicted classes; by default the most probable.
    """
    p = np.asarray(probabilities)
    predicted = p.argmax(axis=1).tolist() if predicted is None else predicted
    mistakes = [
        Mistake(source=sample.source, name=sample.name, true=label, predicted=top, probability=float(row[top]))
        for sample, label, row, top in zip(samples, map(single_label, samples), p, predicted, strict=True)
        if top != label
    ]
    return tuple(sorted(mistakes, key=lambda mistake: -mistake.probability))


def write_mistakes(
    path: Path, mistakes: Sequence[Mistake], *, classes: Sequence[str], count: int, title: str = ""
) -> Path:
    """Writes a sheet of the most confident mistakes: each photo with its predicted class and its label.

    Args:
        path: The file to write.
        mistakes: All mistakes, in any order; the sheet shows the `MAX_MISTAKES` most confident.
        classes: Class names, in the order of the labels.
        count: Number of predicted photos.
        title: What was predicted: ``"resnet18-linear-hotdog-1, test"``.

    Returns:
        `path`. An empty frame replaces a photo that cannot be read. Without mistakes the picture says so.

    Raises:
        RunError: The file cannot be written.
    """
    top = sorted(mistakes, key=lambda mistake: -mistake.probability)[:MAX_MISTAKES]
    labels = class_labels(classes)
    if top:
        heading = "Most confident mistakes"
        subtitle = f"{len(top)} of {len(mistakes)} mistakes in {count} photos, each with its prediction and its label"
    else:
        heading = "No mistakes"
        subtitle = f"All {count} photos were classified correctly."
    tiles = [_tile(mistake, labels) for mistake in top]
    return write_tiles(path, tiles, columns=4, title=f"{heading}: {title}" if title else heading, subtitle=subtitle)


def _tile(mistake: Mistake, labels: Sequence[str]) -> Tile:
    captions = (
        (f"{labels[mistake.predicted]}, {100 * mistake.probability:.1f} %", WRONG),
        (f"label: {labels[mistake.true]}", INK),
        (mistake.name, MUTED),
    )
    return Tile(photo=load_photo(mistake.source), captions=captions)
