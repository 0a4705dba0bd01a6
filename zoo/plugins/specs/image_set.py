"""Labelled images with explicit splits."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from zoo.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Sequence

SPLITS = ("train", "val", "test")  # of an `ImageSet`
NO_LABEL = "no label"  # stands for the labels of an image that has none
UNSTORED = "ImageSet:"  # begins what a record has as its data, followed by a name, if that was an `ImageSet`
# In a notebook:
_CLASSES, _PHOTOS = 20, 16
_SIDE = 144  # pixels of the shorter side: sharp on screens with two pixels per point, 5 kB each


class Sample(NamedTuple):
    """A labelled image.

    Attributes:
        source: An image file, or its bytes.
        label: Index into `ImageSet.classes`; in a multi-label dataset the indices of all labels of the image in
            ascending order, none for an image without labels: ``(0, 3)``, ``()``.
        name: The name of the image in tables and messages; unique within its dataset.
        group: What the image belongs to, such as a patient, a camera or a day: images of one group stay in one split.
            Empty for an image that is a group of its own.
    """

    source: Path | bytes
    label: int | tuple[int, ...]
    name: str
    group: str = ""

    @property
    def labels(self) -> tuple[int, ...]:
        """The indices of all labels: one in a single-label dataset, any number in a multi-label one."""
        return self.label if isinstance(self.label, tuple) else (self.label,)

    def label_text(self, classes: Sequence[str]) -> str:
        """Returns the names of all labels for readers: ``"fish, shark"``, or ``"no label"``."""
        return ", ".join(classes[label] for label in self.labels) or NO_LABEL


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSet:
    """A set of labelled images with explicit splits: what datasets load, and what Python code may pass as data.

    Attributes:
        name: A short name that is valid as a file name.
        classes: Class names, in the order of the labels.
        train: The images to train on.
        val: The images that select the best epoch; if empty, a part of `train` is split off.
        test: The images of the final evaluation; empty if the dataset has no test split.
        note: A sentence that readers of the results must know about the data, or empty.
        skipped: The names of skipped files, each with the reason: ``"a/b.txt: not an image"``.
        left_out: One line that says how many photos each reason removes, or empty if no photo was left out.
        warnings: Sentences about what may be meant otherwise: classes that lose many photos, tables that are not read.
        multi_label: Whether an image may have several labels, or none: each `Sample.label` is then a tuple.
        random_splits: The splits that were taken from `train` at random; not those that the data itself has.
        corrected: Number of photos whose label a file of corrections changed.
    """

    name: str
    classes: tuple[str, ...]
    train: tuple[Sample, ...]
    val: tuple[Sample, ...] = ()
    test: tuple[Sample, ...] = ()
    note: str = ""
    skipped: tuple[str, ...] = ()
    left_out: str = ""
    warnings: tuple[str, ...] = ()
    multi_label: bool = False
    random_splits: tuple[str, ...] = ()
    corrected: int = 0

    def _repr_html_(self) -> str:
        """Returns what a notebook shows: the number of photos of each class, and a few of the photos."""
        from zoo.utils.markup import block, heading, line, table

        splits = [split for split in SPLITS if self._samples(split)]
        counts = {split: Counter(label for each in self._samples(split) for label in each.labels) for split in splits}
        rows = [
            (name, *(counts[split][label] for split in splits)) for label, name in enumerate(self.classes[:_CLASSES])
        ]
        more = len(self.classes) - len(rows)
        if self.multi_label and not more:
            without = [sum(not each.labels for each in self._samples(split)) for split in splits]
            rows += [(NO_LABEL, *without)] if any(without) else []
        kind, kinds = ("label", "labels") if self.multi_label else ("class", "classes")
        total = sum(len(self._samples(split)) for split in splits)
        return block(
            heading(self.name, f"{total:,} photos, {len(self.classes):,} {kinds}"),
            *(line(text) for text in filter(None, (self.note, self.left_out))),
            *(line(text, warning=True) for text in self.warnings),
            table((kind, *splits), rows, right=range(1, len(splits) + 1)),
            *([line(f"and {more:,} more {kinds}")] if more else []),
            *self._thumbnails(),
        )

    def _samples(self, split: str) -> tuple[Sample, ...]:
        samples: tuple[Sample, ...] = getattr(self, split)
        return samples

    def _thumbnails(self) -> list[str]:
        """Returns photos of as many classes, or sets of labels, as possible: one of each in turn."""
        from zoo.utils.markup import image

        seen: Counter[tuple[int, ...]] = Counter()
        order = []
        for sample in next(filter(None, map(self._samples, SPLITS)), ()):
            order.append((seen[sample.labels], sample.labels, sample))
            seen[sample.labels] += 1
        chosen = [sample for _, _, sample in sorted(order, key=lambda entry: entry[:2])[:_PHOTOS]]
        return [
            image(f"data:image/jpeg;base64,{content}", title=f"{sample.label_text(self.classes)}: {sample.name}")
            for sample in chosen
            if (content := _encode_thumbnail(sample.source))
        ]


def _encode_thumbnail(source: Path | bytes) -> str:
    """Returns a small JPEG in base64, or an empty string if the photo cannot be read."""
    # Imported only now: a plugin that offers a dataset needs none of it.
    import base64
    import io

    from zoo.data.images.decode import open_image

    try:
        photo = open_image(source, min_side=_SIDE, approximate=True)
    except ImageError:
        return ""
    photo.thumbnail((2 * _SIDE, _SIDE))
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", quality=75)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
