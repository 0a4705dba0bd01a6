"""zoo.data.sources.load."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo.data.sources.exclusions import read_exclusions, without
from zoo.data.sources.resolve import load_images
from zoo.data.sources.splits import divide
from zoo.errors import DataError
from zoo.events import Note, Work
from zoo.utils.paths import typed_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zoo.config import FinetuneConfig
    from zoo.events import Observer
    from zoo.plugins.registry import Registry
    from zoo.plugins.specs import ImageSet


def find_images(config: FinetuneConfig, registry: Registry, observer: Observer) -> ImageSet:
    """Loads the dataset of a configuration, limited and split as it says. Imports no torch.

    Raises:
        DataError: The data cannot be had, or is too small to be split.
    """
    images = load_images(
        config.data,
        registry=registry,
        options=config.data_options,
        progress=lambda what, done, total: observer(Work(what=what, done=done, total=total)),
    )
    if len(images.classes) < 2:
        raise DataError(f"The dataset '{images.name}' has one class alone; there is nothing to tell apart.")
    if images.skipped:
        observer(Note(text=f"Files left out: {len(images.skipped)}, the first: {images.skipped[0]}."))
    listed = {} if config.exclude is None else read_exclusions(typed_path(config.exclude))
    if images.val and not images.test:
        observer(Note(text="The data brings no test part: the validation accuracy is all there will be.", warning=True))
    images = divide(
        images,
        test_fraction=config.test_fraction,
        val_fraction=config.val_fraction,
        count=config.limit,
        seed=config.seed,
    )
    if listed:
        images = _leave_out(images, listed, config, observer)
    if images.note:
        observer(Note(text=images.note))
    return images


def _leave_out(images: ImageSet, listed: Mapping[str, str], config: FinetuneConfig, observer: Observer) -> ImageSet:
    """Leaves out what is listed, once the parts are made: a photo that stays, stays in its part."""
    fewer = without(images, listed)
    gone = len(fewer.skipped) - len(images.skipped)
    observer(Note(text=f"{config.exclude} leaves out {gone} of its {len(listed)} photos.", warning=not gone))
    return fewer
