"""Datasets: where images come from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.events import Progress, no_progress
from zoo.plugins.specs.base import Spec, is_unknown
from zoo.plugins.specs.image_set import ImageSet


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
