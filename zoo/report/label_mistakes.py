"""The sheet of the most confident mistakes of a multi-label classifier, label by label."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.plugins.specs import NO_LABEL
from zoo.report.plot import INK, MUTED, WRONG, class_labels
from zoo.report.sheets import Tile, load_photo, write_tiles

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from zoo.plugins.specs import Sample

MAX_TILES = 24
_PER_LABEL = 4  # if there are few labels


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelMistake:
    """A wrong decision about a label of a photo.

    Attributes:
        source: The photo, as a file or its bytes.
        name: The name of the photo in its dataset.
        labels: The labels of the photo, indices into the classes.
        label: The label that was decided wrongly.
        probability: Its probability, 0 to 1.
        missed: Whether the photo has the label; otherwise it was added.
    """

    source: Path | bytes
    name: str
    labels: tuple[int, ...]
    label: int
    probability: float
    missed: bool

    @property
    def confidence(self) -> float:
        """The probability of what was decided."""
        return 1 - self.probability if self.missed else self.probability


def find_label_mistakes(
    probabilities: NDArray[Any], samples: Sequence[Sample], decided: NDArray[np.bool_]
) -> tuple[LabelMistake, ...]:
    """Returns all wrong decisions, the most confident first.

    Args:
        probabilities: ``(N, labels)`` float.
        samples: The N photos, in the same order.
        decided: Which labels each photo is decided to have, ``(N, labels)``.
    """
    own = np.zeros_like(decided)
    for row, sample in zip(own, samples, strict=True):
        row[[*sample.labels]] = True
    mistakes = (
        LabelMistake(
            source=samples[photo].source,
            name=samples[photo].name,
            labels=samples[photo].labels,
            label=label,
            probability=float(probabilities[photo, label]),
            missed=bool(own[photo, label]),
        )
        for photo, label in np.argwhere(decided != own).tolist()
    )
    return tuple(sorted(mistakes, key=lambda mistake: -mistake.confidence))


def write_label_mistakes(
    path: Path, mistakes: Sequence[LabelMistake], *, classes: Sequence[str], count: int, title: str = ""
) -> Path:
    """Writes a sheet of the most confident mistakes of each label: each photo with what is wrong, and its labels.

    Args:
        path: The file to write.
        mistakes: All mistakes, in any order; the sheet shows up to four of each label, `MAX_TILES` in all.
        classes: The names of the labels.
        count: Number of predicted photos.
        title: What was predicted: ``"resnet18-linear-reef-1, test"``.

    Returns:
        `path`. An empty frame replaces a photo that cannot be read. Without mistakes the picture says so.

    Raises:
        RunError: The file cannot be written.
    """
    names, chosen = class_labels(classes), _select(mistakes)
    if chosen:
        heading = "Most confident mistakes of each label"
        subtitle = f"{len(chosen)} of {len(mistakes)} wrong decisions on {len(classes)} labels of {count} photos"
    else:
        heading, subtitle = "No mistakes", f"All labels of {count} photos were decided correctly."
    tiles = [_tile(mistake, names) for mistake in chosen]
    return write_tiles(path, tiles, columns=4, title=f"{heading}: {title}" if title else heading, subtitle=subtitle)


def _select(mistakes: Sequence[LabelMistake]) -> list[LabelMistake]:
    """Returns the mistakes to show, sorted by label: the most confident of each label, then the second, and so on."""
    by_label: dict[int, list[LabelMistake]] = {}
    for mistake in sorted(mistakes, key=lambda mistake: -mistake.confidence):
        by_label.setdefault(mistake.label, []).append(mistake)
    in_turns = [each for turn in zip_longest(*(own[:_PER_LABEL] for own in by_label.values())) for each in turn if each]
    return sorted(in_turns[:MAX_TILES], key=lambda mistake: (mistake.label, -mistake.confidence))


def _tile(mistake: LabelMistake, names: Sequence[str]) -> Tile:
    return Tile(photo=load_photo(mistake.source), captions=tuple(_captions(mistake, names)))


def _captions(mistake: LabelMistake, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    fault = "not found" if mistake.missed else "found"
    yield f"{names[mistake.label]} {fault}, {100 * mistake.probability:.1f} %", WRONG
    yield f"labels: {', '.join(names[label] for label in mistake.labels) or NO_LABEL}", INK
    yield mistake.name, MUTED
