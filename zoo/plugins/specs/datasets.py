"""Datasets and their photos."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from zoo.events import Progress, no_progress
from zoo.plugins.specs.base import Spec, is_unknown

SPLITS = ("train", "val", "test")  # of an `ImageSet`
UNSTORED = "ImageSet:"  # begins what a record has as its data, followed by a name, if that was an `ImageSet`


class Sample(NamedTuple):
    """A labelled image.

    Attributes:
        source: An image file, or its bytes.
        label: Index into `ImageSet.classes`.
        name: The name of the image in tables and messages; unique within its dataset.
    """

    source: Path | bytes
    label: int
    name: str


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

    def _repr_html_(self) -> str:
        from zoo.report.notebook import show_image_set  # which decodes photos: imported only where they are shown

        return show_image_set(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetRequest:
    """The argument of `DatasetSpec.load`.

    Attributes:
        cache: The folder for the downloads of the dataset; it need not exist.
        options: An instance of `DatasetSpec.options`.
        progress: A function to call during slow work.
    """

    cache: Path
    options: Any
    progress: Progress = no_progress


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSpec(Spec):
    """A dataset.

    Attributes:
        load: Returns the images, after downloading them if necessary.
        licence: As stated by its owner; empty if unknown.
        is_local: Returns whether `load` works without a network, given the cache folder of the dataset, which need not
            exist. Takes milliseconds, because ``zoo list`` calls it for every dataset. By default, no.
    """

    load: Callable[[DatasetRequest], ImageSet] | str
    licence: str = ""
    is_local: Callable[[Path], bool] | str = is_unknown
