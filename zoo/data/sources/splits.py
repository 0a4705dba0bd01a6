"""Stratified splits that depend only on the seed and the names of the images.

The hash of its name decides the split of each image. So the order of the file system does not matter, every platform
gets the same split, and adding or removing a photo hardly moves the others. Photos with several labels are divided by
iterative stratification (`zoo.data.sources.stratify`).
"""

from __future__ import annotations

import dataclasses
import hashlib
from typing import TYPE_CHECKING

from zoo.data.sources.stratify import draw_stratified, take_stratified
from zoo.data.targets import single_label
from zoo.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from zoo.plugins.specs import ImageSet, Sample

_LISTED = 5  # labels in a note


def make_splits(
    images: ImageSet, *, test_fraction: float, val_fraction: float, count: int | None, seed: int
) -> ImageSet:
    """Returns `images` with all splits that training needs.

    Splits off a test set if the data has neither a test nor a validation split, then limits the training images, then
    splits off a validation set if there is none.

    Args:
        images: A dataset as it was loaded.
        test_fraction: Share of each class for the test split.
        val_fraction: Share of each remaining class for the validation split.
        count: As in `limit_train`; None for all images.
        seed: Each seed gives a different split.

    Raises:
        ConfigError: A fraction is not between 0 and 1, or `count` is smaller than the number of classes.
        DataError: A class is too small to split.
    """
    if not images.test and not images.val:
        images = split_off_test(images, fraction=test_fraction, seed=seed)
    if count is not None:
        images = limit_train(images, count=count, seed=seed)
    return split_off_validation(images, fraction=val_fraction, seed=seed)


def split_off_validation(images: ImageSet, *, fraction: float, seed: int) -> ImageSet:
    """Returns `images` with a validation split, taken from `train` if there is none.

    Args:
        images: A dataset; returned unchanged if it has a validation split.
        fraction: Share of each class of `train`, between 0 and 1.
        seed: Each seed gives a different split.

    Raises:
        ConfigError: `fraction` is not between 0 and 1.
        DataError: A class is too small to be in both splits; the message names it.
    """
    if images.val:
        return images
    train, val = _split(images, "validation", fraction=fraction, seed=seed)
    note = _add_note(images, "validation", val, fraction, seed)
    return dataclasses.replace(images, train=train, val=val, note=note)


def split_off_test(images: ImageSet, *, fraction: float, seed: int) -> ImageSet:
    """Returns `images` with a test split, taken from `train` if there is none; as `split_off_validation`."""
    if images.test:
        return images
    train, test = _split(images, "test", fraction=fraction, seed=seed)
    note = _add_note(images, "test", test, fraction, seed)
    return dataclasses.replace(images, train=train, test=test, note=note)


def limit_train(images: ImageSet, *, count: int, seed: int) -> ImageSet:
    """Returns `images` with only `count` training images: at least one per class, and classes in proportion.

    A smaller count selects a subset of the images of a larger one.

    Raises:
        ConfigError: `count` is smaller than the number of classes.
    """
    if count >= len(images.train):
        return images
    if count < len(images.classes):
        raise ConfigError(
            f"{count} training images cannot cover all {len(images.classes)} classes of '{images.name}'.",
            hint=f"Ask for at least {len(images.classes)}.",
        )
    selected = _limit_label_sets(images, count, seed) if images.multi_label else _limit_classes(images, count, seed)
    train = tuple(sample for sample in images.train if sample.name in selected)
    note = _join(images.note, f"Uses {count} of {len(images.train)} training images (seed {seed}).")
    return dataclasses.replace(images, train=train, note=note)


def _limit_classes(images: ImageSet, count: int, seed: int) -> set[str]:
    ranked: list[tuple[float, str]] = []
    for samples in _group_by_class(images):
        ordered = _shuffle(samples, "limit", seed)
        # The first of each class comes first; then the k-th of n ranks at (k + 0.5) / n, which interleaves the classes.
        ranked += [((k + 0.5) / len(ordered) if k else 0.0, sample.name) for k, sample in enumerate(ordered)]
    return {name for _, name in sorted(ranked)[:count]}


def _limit_label_sets(images: ImageSet, count: int, seed: int) -> set[str]:
    ordered = _shuffle(images.train, "limit", seed)
    return {ordered[number].name for number in take_stratified([sample.labels for sample in ordered], count)}


def _split(
    images: ImageSet, purpose: str, *, fraction: float, seed: int
) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    if not 0 < fraction < 1:
        raise ConfigError(f"The fraction of the {purpose} split is {fraction}.", hint="It must be between 0 and 1.")
    select = _select_label_sets if images.multi_label else _select_classes
    selected = select(images, purpose, fraction, seed)
    rest = tuple(sample for sample in images.train if sample.name not in selected)
    return rest, tuple(sample for sample in images.train if sample.name in selected)


def _select_classes(images: ImageSet, purpose: str, fraction: float, seed: int) -> set[str]:
    """Returns the names of the images of a new split."""
    selected: set[str] = set()
    for label, samples in zip(images.classes, _group_by_class(images), strict=True):
        if len(samples) < 2:
            raise DataError(
                f"The class '{label}' of '{images.name}' has too few images to split off a {purpose} set: "
                f"{len(samples)} left to train on.",
                hint=f"Add images, or provide a {purpose} folder.",
            )
        # At least one on either side, halves upwards; int() because round() goes to even.
        size = min(max(int(len(samples) * fraction + 0.5), 1), len(samples) - 1)
        selected.update(sample.name for sample in _shuffle(samples, purpose, seed)[:size])
    return selected


def _select_label_sets(images: ImageSet, purpose: str, fraction: float, seed: int) -> set[str]:
    """Returns the names of the images of a new split; the only image with a label stays in `train`."""
    ordered = _shuffle(images.train, purpose, seed)
    drawn = draw_stratified([sample.labels for sample in ordered], fraction)
    selected = {sample.name for sample, is_drawn in zip(ordered, drawn, strict=True) if is_drawn}
    if not selected:
        raise DataError(
            f"'{images.name}' has too few images to split off a {purpose} set: no label has two.",
            hint=f"Add images, or provide a {purpose} split.",
        )
    return selected


def _group_by_class(images: ImageSet) -> list[list[Sample]]:
    groups: list[list[Sample]] = [[] for _ in images.classes]
    for sample in images.train:
        groups[single_label(sample)].append(sample)
    return groups


def _shuffle(samples: Iterable[Sample], purpose: str, seed: int) -> list[Sample]:
    def key(sample: Sample) -> bytes:
        return hashlib.sha256(f"{purpose}:{seed}:{sample.name}".encode()).digest()

    return sorted(samples, key=key)


def _add_note(images: ImageSet, purpose: str, split: Sequence[Sample], fraction: float, seed: int) -> str:
    kind = "label" if images.multi_label else "class"
    text = (
        f"The {purpose} split ({len(split)} images) was taken from the training images: {fraction:.0%} of each {kind}"
    )
    present = {label for sample in split for label in sample.labels}
    absent = [f"'{name}'" for label, name in enumerate(images.classes) if label not in present]
    more = f" and {len(absent) - _LISTED} more" if len(absent) > _LISTED else ""
    without = f"It has no image with {', '.join(absent[:_LISTED])}{more}: too few have it." if absent else ""
    return _join(images.note, f"{text}, seed {seed}.", without)


def _join(*sentences: str) -> str:
    return " ".join(filter(None, sentences))
