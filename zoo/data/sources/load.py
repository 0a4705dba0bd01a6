"""Loads the photos of a resolved `DataSource`: as they are, or split as a configuration asks for."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.data.sources.corrections import (
    apply_corrections,
    correct_labels,
    describe_corrections,
    find_corrections,
)
from zoo.data.sources.exclusions import apply_exclusions
from zoo.data.sources.folder import read_folder
from zoo.data.sources.groups import apply_groups, find_group_table
from zoo.data.sources.label_columns import AUTO
from zoo.data.sources.resolve import dataset_folder, resolve_data
from zoo.data.sources.splits import make_splits
from zoo.data.sources.table import read_csv
from zoo.display.progress import choose_observer
from zoo.errors import DataError
from zoo.events import Note, Work, no_progress
from zoo.plugins.calls import plugin_failure
from zoo.plugins.faults import image_set_fault
from zoo.plugins.registry import REGISTRY, Registry, load_registry
from zoo.plugins.specs import DatasetRequest, ImageSet
from zoo.utils.arguments import DICT, FUNCTION, PATH, accepts

if TYPE_CHECKING:
    import os
    from collections.abc import Collection, Mapping
    from typing import Any

    from zoo.config import FinetuneConfig
    from zoo.data.sources.resolve import DataSource
    from zoo.events import Observer, Progress
    from zoo.plugins.registry import Offer
    from zoo.plugins.specs import DatasetSpec


@accepts(options=DICT | None, labels=PATH | None, observer=FUNCTION | None, registry=REGISTRY | None)
def load_images(
    data: str | os.PathLike[str] | ImageSet,
    *,
    options: Mapping[str, Any] | None = None,
    labels: str | os.PathLike[str] | None = None,
    observer: Observer | None = None,
    registry: Registry | None = None,
) -> ImageSet:
    """Returns the photos of a dataset, a folder or a CSV file with their labels, in the splits that the data has.

    Args:
        data: The name of a dataset, a folder, or a CSV of path,label.
        options: Options of the dataset, or those of a table (`zoo.data.sources.label_columns.TableOptions`).
        labels: A CSV file of path,label: labels that replace those of the data.
        observer: As in `zoo.finetune`.
        registry: The plugins; by default those of the environment.

    Raises:
        UnknownNameError: There is no dataset of that name.
        DataError: The data does not exist, or is inconsistent.
    """
    source = resolve_data(data, registry=registry or load_registry(), options=options or {}, labels=labels)
    report = choose_observer(observer)
    return load_corrected(source, report)


def load_corrected(
    source: DataSource, observer: Observer, *, known: Collection[str] | None = None, multi_label: bool = False
) -> ImageSet:
    """Returns the photos as `load_source` does, with the labels that a file of corrections gives; reports their number.

    Args:
        source: As in `load_source`.
        observer: Receives progress.
        known: As in `load_source`.
        multi_label: As in `load_source`.

    Raises:
        DataError: As `load_source`; or the file names a photo or a class that is not in the data.
    """
    images = load_source(
        source,
        progress=lambda what, done, total: observer(Work(what=what, done=done, total=total)),
        known=known,
        multi_label=multi_label,
    )
    images = correct_labels(images, source.corrections)
    _report_corrections(images, source, observer)
    return images


def load_source(
    source: DataSource,
    *,
    progress: Progress = no_progress,
    strict: bool = True,
    known: Collection[str] | None = None,
    multi_label: bool = False,
) -> ImageSet:
    """Reads a folder or a CSV file, asks the plugin for its dataset, or returns a passed `ImageSet`. Excludes nothing.

    Args:
        source: What `zoo.data.sources.resolve.resolve_data` returned.
        progress: Called during slow work.
        strict: As in `zoo.data.sources.folder.build_image_set`; ignored for the dataset of a plugin.
        known: As in `zoo.data.sources.folder.build_image_set`; ignored for the dataset of a plugin.
        multi_label: Whether a table gives sets of labels even if nothing in it shows that, such as separators: the data
            is for a multi-label model. The options of the source come first.

    Raises:
        DataError: The data is not available or is inconsistent.
        PluginError: The plugin that provides the dataset fails.
    """
    if source.images is not None:
        return source.images
    if source.offer is not None:
        return _load_offer(source.offer, source, progress)
    assert source.path is not None
    if source.is_table:
        options = source.options
        if multi_label and options.multi_label == AUTO:
            options = dataclasses.replace(options, multi_label="yes")
        return read_csv(source.path, strict=strict, known=known, options=options)
    return read_folder(source.path, strict=strict, known=known)


def load_whole(source: DataSource, config: FinetuneConfig, observer: Observer) -> ImageSet:
    """Loads a dataset with its groups, in the splits that it has. Imports no torch.

    Raises:
        DataError: The data is not available or has a single class, or its groups are wrong.
    """
    table = find_group_table(config.groups, source)
    images = load_source(source, progress=lambda what, done, total: observer(Work(what=what, done=done, total=total)))
    if len(images.classes) < 2:
        raise DataError(
            f"The dataset '{images.name}' has a single class; a classifier needs at least two.",
            hint="Add photos of another class.",
        )
    return apply_groups(images, config.groups, table)


def load_splits(source: DataSource, config: FinetuneConfig, observer: Observer) -> ImageSet:
    """Loads a dataset, limits and splits it as `config` asks for, corrects labels, and leaves out excluded photos.

    Imports no torch.

    Raises:
        DataError: The data is not available, has a single class, or is too small to split; or its groups or
            corrections are wrong.
    """
    images = load_whole(source, config, observer)
    labels = {} if source.corrections is None else find_corrections(images, source.corrections)
    report_left_out(images, observer)
    fold = config.held_out_fold
    if not images.test and fold is None and (images.val or not config.test_fraction):
        observer(Note(text="The data has no test split: only the validation accuracy is reported.", warning=True))
    images = make_splits(
        images,
        test_fraction=config.test_fraction,
        val_fraction=config.val_fraction,
        count=config.limit,
        seed=config.seed,
        fold=fold,
    )
    if source.corrections is not None:  # after splitting, so that every photo stays in its split
        images = apply_corrections(images, labels, source=source.corrections.path)
        _report_corrections(images, source, observer)
    if source.exclusions:
        images = _exclude(images, source, observer)
    if images.note:
        observer(Note(text=images.note))
    return images


def report_left_out(images: ImageSet, observer: Observer) -> None:
    """Reports the photos that were left out when a dataset was loaded: in one line, with warnings below it."""
    if images.left_out:
        observer(Note(text=images.left_out, warning=bool(images.warnings)))
    elif images.skipped:
        observer(Note(text=f"Skipped files: {len(images.skipped)}; the first: {images.skipped[0]}."))
    for text in images.warnings:
        observer(Note(text=text, warning=True))


def _load_offer(offer: Offer[DatasetSpec], source: DataSource, progress: Progress) -> ImageSet:
    request = DatasetRequest(cache=dataset_folder(offer), options=source.options, progress=progress)
    images = offer.call("loading", offer.spec.load, request)
    if fault := image_set_fault(images):
        raise plugin_failure(offer.plugin, f"loading '{offer.spec.name}'", fault)
    if Path(str(source.data)).exists():
        note = f"This is the dataset '{source.data}'; the folder of the same name is ./{source.data}."
        return dataclasses.replace(images, note=f"{images.note} {note}".strip())
    return images


def _report_corrections(images: ImageSet, source: DataSource, observer: Observer) -> None:
    if source.corrections is not None:
        text = describe_corrections(images, source.corrections)
        observer(Note(text=text, warning=not images.corrected))


def _exclude(images: ImageSet, source: DataSource, observer: Observer) -> ImageSet:
    """Leaves out the listed photos after splitting, so that every other photo stays in its split."""
    remaining = apply_exclusions(images, source.exclusions)
    count = len(remaining.skipped) - len(images.skipped)
    text = f"Excluded {count} of the {len(source.exclusions)} photos listed in {source.exclude}."
    observer(Note(text=text, warning=not count))
    return remaining
