"""Stratified splits that depend on nothing but the seed and the names of the images.

Each image is placed by a hash of its name: the order of the file system does not matter, every platform agrees, and
a photo more or less hardly moves the others.
"""

from __future__ import annotations

import dataclasses
import hashlib
from typing import TYPE_CHECKING

from zoo.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from zoo.plugins.specs import ImageSet, Sample


def divide(images: ImageSet, *, test_fraction: float, val_fraction: float, count: int | None, seed: int) -> ImageSet:
    """Returns `images` with the parts that a training needs: see `with_test`, `limit` and `with_validation`.

    Args:
        images: A set as it was read. A test part is split off where it brings neither that nor a validation part.
        test_fraction: Of each class.
        val_fraction: Of each class of what is then left.
        count: As in `limit`; None for all.
        seed: Another seed gives another split.
    """
    if not images.test and not images.val:
        images = with_test(images, fraction=test_fraction, seed=seed)
    if count is not None:
        images = limit(images, count=count, seed=seed)
    return with_validation(images, fraction=val_fraction, seed=seed)


def with_validation(images: ImageSet, *, fraction: float, seed: int) -> ImageSet:
    """Returns `images` with a validation part, split off `train` if there is none.

    Args:
        images: A set with or without a validation part; one that has it is returned unchanged.
        fraction: Of each class of `train`, between 0 and 1.
        seed: Another seed gives another split.

    Raises:
        ConfigError: `fraction` is not between 0 and 1.
        DataError: A class is too small to be in both parts; the message names it.
    """
    if images.val:
        return images
    train, val = _split(images, "validation", fraction=fraction, seed=seed)
    return dataclasses.replace(images, train=train, val=val, note=_noted(images, "validation", val, fraction, seed))


def with_test(images: ImageSet, *, fraction: float, seed: int) -> ImageSet:
    """Returns `images` with a test part, split off `train` if there is none; as `with_validation`."""
    if images.test:
        return images
    train, test = _split(images, "test", fraction=fraction, seed=seed)
    return dataclasses.replace(images, train=train, test=test, note=_noted(images, "test", test, fraction, seed))


def limit(images: ImageSet, *, count: int, seed: int) -> ImageSet:
    """Returns `images` with only `count` images in `train`, the classes in proportion, at least one of each.

    Of two counts, the images of the smaller one are among those of the larger one.

    Raises:
        ConfigError: `count` is smaller than the number of classes.
    """
    if count >= len(images.train):
        return images
    if count < len(images.classes):
        raise ConfigError(
            f"{count} training images cannot hold all {len(images.classes)} classes of '{images.name}'.",
            hint=f"Ask for at least {len(images.classes)}.",
        )
    ranked: list[tuple[float, str]] = []
    for samples in _by_class(images):
        ordered = _shuffled(samples, "limit", seed)
        # The first of each class always, then the classes side by side: the k-th of n comes at (k + 0.5) / n.
        ranked += [((k + 0.5) / len(ordered) if k else 0.0, sample.name) for k, sample in enumerate(ordered)]
    kept = {name for _, name in sorted(ranked)[:count]}
    train = tuple(sample for sample in images.train if sample.name in kept)
    note = _join(images.note, f"Of {len(images.train)} training images {count} are used (seed {seed}).")
    return dataclasses.replace(images, train=train, note=note)


def _split(images: ImageSet, part: str, *, fraction: float, seed: int) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    if not 0 < fraction < 1:
        raise ConfigError(f"The fraction of the {part} part is {fraction}.", hint="It lies between 0 and 1.")
    taken: set[str] = set()
    for label, samples in zip(images.classes, _by_class(images), strict=True):
        if len(samples) < 2:
            raise DataError(
                f"The class '{label}' of '{images.name}' has too few images to split off a {part} part: "
                f"{len(samples)} left to train on.",
                hint=f"Add images, or bring a {part} folder of your own.",
            )
        # At least one on either side, halves upwards; int() because round() goes to even.
        size = min(max(int(len(samples) * fraction + 0.5), 1), len(samples) - 1)
        taken.update(sample.name for sample in _shuffled(samples, part, seed)[:size])
    kept = tuple(sample for sample in images.train if sample.name not in taken)
    return kept, tuple(sample for sample in images.train if sample.name in taken)


def _by_class(images: ImageSet) -> list[list[Sample]]:
    groups: list[list[Sample]] = [[] for _ in images.classes]
    for sample in images.train:
        groups[sample.label].append(sample)
    return groups


def _shuffled(samples: Iterable[Sample], purpose: str, seed: int) -> list[Sample]:
    def place(sample: Sample) -> bytes:
        return hashlib.sha256(f"{purpose}:{seed}:{sample.name}".encode()).digest()

    return sorted(samples, key=place)


def _noted(images: ImageSet, part: str, taken: tuple[Sample, ...], fraction: float, seed: int) -> str:
    made = f"The {part} part ({len(taken)} images) was split off the training images: {fraction:.0%} of each class"
    return _join(images.note, f"{made}, seed {seed}.")


def _join(*sentences: str) -> str:
    return " ".join(filter(None, sentences))
