"""Checks the `ImageSet` that Python code passes as data."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from numbers import Integral
from typing import TYPE_CHECKING, Any

from zoo.data.sources.folder import slugify
from zoo.errors import DataError
from zoo.plugins.specs import SPLITS, ImageSet, Sample
from zoo.utils.paths import parse_path
from zoo.utils.text import short_repr

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_SAMPLE_HINT = (
    "Each photo is a zoo.Sample(source, label, name): a path or the bytes of an image file, an index into classes, and "
    "a name of its own."
)
_LABELS_HINT = (
    "With multi_label=True the label of each photo is a tuple of different indices into classes, () for a photo "
    "without labels; otherwise it is one index."
)


def check_image_set(images: ImageSet) -> ImageSet:
    """Returns an `ImageSet` with its lists as tuples, the paths of its photos as absolute paths, and a file name.

    Raises:
        DataError: A class or a photo is not what `ImageSet` and `Sample` describe; the message names it.
    """
    classes = _as_tuple(images.classes, "classes", hint="Pass the names of the classes, in the order of the labels.")
    for name, count in Counter(map(repr, classes)).items():
        if count > 1:
            raise DataError(f"The ImageSet has the class {name} twice.", hint="Every class needs a name of its own.")
    for name in classes:
        if not isinstance(name, str) or not name:
            message = f"The ImageSet has the class {short_repr(name)}."
            raise DataError(message, hint="The names of the classes are text.")
    if not isinstance(images.multi_label, bool):
        raise DataError(f"The ImageSet has multi_label={short_repr(images.multi_label)}.", hint=_LABELS_HINT)
    train, val, test = (_check_split(images, split, len(classes)) for split in SPLITS)
    _check_names([sample.name for sample in (*train, *val, *test)])
    name = slugify(str(images.name))
    return dataclasses.replace(images, name=name, classes=classes, train=train, val=val, test=test)


def _as_tuple(values: Any, what: str, *, hint: str) -> tuple[Any, ...]:
    if isinstance(values, list | tuple):
        return tuple(values)
    raise DataError(f"The {what} of the ImageSet cannot be of type {type(values).__name__}.", hint=hint)


def _check_split(images: ImageSet, split: str, classes: int) -> tuple[Sample, ...]:
    samples = _as_tuple(getattr(images, split), f"{split} split", hint=_SAMPLE_HINT)
    check = _check_labels if images.multi_label else _check_label
    return tuple(
        _check_sample(sample, f"{split}[{index}] of the ImageSet", classes, check)
        for index, sample in enumerate(samples)
    )


def _check_sample(
    sample: Any, where: str, classes: int, check: Callable[[Any, str, int], int | tuple[int, ...]]
) -> Sample:
    if not isinstance(sample, Sample):
        raise DataError(f"{where} cannot be of type {type(sample).__name__}.", hint=_SAMPLE_HINT)
    if not isinstance(sample.name, str) or not sample.name:
        raise DataError(f"{where} has the name {short_repr(sample.name)}.", hint=_SAMPLE_HINT)
    where = f"{where}, {sample.name},"
    label = check(sample.label, where, classes)
    if not isinstance(sample.group, str):
        raise DataError(
            f"{where} has the group {short_repr(sample.group)}.",
            hint="A group is text, such as the number of a patient; empty text for a photo that is in none.",
        )
    return sample._replace(source=_check_source(sample.source, where), label=label)


def _check_label(label: Any, where: str, classes: int) -> int:
    if isinstance(label, tuple | list):
        raise DataError(f"{where} has the labels {short_repr(label)}, but multi_label is False.", hint=_LABELS_HINT)
    if not isinstance(label, Integral) or isinstance(label, bool) or not 0 <= int(label) < classes:
        raise DataError(
            f"{where} has the label {short_repr(label)}, but there are {classes} classes.", hint=_SAMPLE_HINT
        )
    return int(label)


def _check_labels(labels: Any, where: str, classes: int) -> tuple[int, ...]:
    """Returns the labels of a photo of multi-label data in ascending order."""
    if not isinstance(labels, tuple | list):
        raise DataError(f"{where} has the label {short_repr(labels)}, but multi_label is True.", hint=_LABELS_HINT)
    found = sorted(_check_label(label, where, classes) for label in labels)
    if len(set(found)) < len(found):
        raise DataError(f"{where} has a label twice: {short_repr(labels)}.", hint=_LABELS_HINT)
    return tuple(found)


def _check_source(source: Any, where: str) -> Path | bytes:
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source)
    if isinstance(source, str | os.PathLike):
        return parse_path(source)
    raise DataError(f"{where} has a source of type {type(source).__name__}.", hint=_SAMPLE_HINT)


def _check_names(names: list[str]) -> None:
    if not names:
        raise DataError("The ImageSet has no photos.", hint=_SAMPLE_HINT)
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise DataError(f"{count} photos of the ImageSet are named '{name}'.", hint=_SAMPLE_HINT)
