"""Stratified splits that depend only on the seed and the names of the images and of their groups.

The hash of its name decides the split of each image. So the order of the file system does not matter, every platform
gets the same split, and adding or removing a photo hardly moves the others. Photos with several labels are divided by
iterative stratification (`zoo.data.sources.stratify`). Images of one group are in one split: the groups are then
divided so that each class gets its share as nearly as that is possible (`zoo.data.sources.allocation`).
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from typing import TYPE_CHECKING

from zoo.data.sources.allocation import allocate, allocate_folds, count_labels, find_lone_groups
from zoo.data.sources.stratify import draw_stratified, take_stratified
from zoo.data.targets import single_label
from zoo.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from zoo.plugins.specs import ImageSet, Sample

_LISTED = 5  # classes in a note
_GROUP_HINT = "Name smaller groups, provide a folder for the split, or ignore the groups with --groups none."


def make_splits(
    images: ImageSet,
    *,
    test_fraction: float,
    val_fraction: float,
    count: int | None,
    seed: int,
    fold: tuple[int, int] | None = None,
) -> ImageSet:
    """Returns `images` with all splits that training needs.

    Splits off a test set if the data has neither a test nor a validation split, or a fold; then limits the training
    images, then splits off a validation set if there is none.

    Args:
        images: A dataset as it was loaded.
        test_fraction: Share of each class for the test split; 0 for none.
        val_fraction: Share of each remaining class for the validation split.
        count: As in `limit_train`; None for all images.
        seed: Each seed gives a different split.
        fold: As in `hold_out_fold`, which takes the place of any test split; None for no folds.

    Raises:
        ConfigError: A fraction is not between 0 and 1, or `count` is smaller than the number of classes.
        DataError: A class is too small to split, or there are too few groups.
    """
    if fold is not None:
        images = hold_out_fold(images, *fold, seed=seed)
    elif not images.test and not images.val and test_fraction:
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
        DataError: A class is too small to be in both splits; the message names it. Or all images are in one group.
    """
    if images.val:
        return images
    train, val, note = _split(images, "validation", fraction=fraction, seed=seed)
    random = (*images.random_splits, "val")
    return dataclasses.replace(images, train=train, val=val, note=note, random_splits=random)


def split_off_test(images: ImageSet, *, fraction: float, seed: int) -> ImageSet:
    """Returns `images` with a test split, taken from `train` if there is none; as `split_off_validation`."""
    if images.test:
        return images
    train, test, note = _split(images, "test", fraction=fraction, seed=seed)
    return dataclasses.replace(images, train=train, test=test, note=note, random_splits=(*images.random_splits, "test"))


def hold_out_fold(images: ImageSet, number: int, folds: int, *, seed: int) -> ImageSet:
    """Returns `images` with one fold of `train` as the test split, in place of the test split that there may be.

    Every image of `train` is in one fold. Folds have the same share of each class, as nearly as their groups allow.
    The only group of a class is in no fold, so that training has all classes.

    Args:
        images: A dataset as it was loaded.
        number: Which fold, from 1.
        folds: The number of folds.
        seed: Each seed gives different folds.

    Raises:
        DataError: There are fewer groups than folds, or a class is too small to be held out and validated.
    """
    fold_of = assign_folds(images, folds, seed=seed)
    test = tuple(sample for sample in images.train if fold_of.get(sample.name) == number)
    train = tuple(sample for sample in images.train if fold_of.get(sample.name) != number)
    notes = [f"Fold {number} of {folds} ({len(test)} images) is the test split, seed {seed}."]
    if images.test:
        notes.append(f"The test split of the data ({len(images.test)} images) is not used.")
    if kept := len(images.train) - len(fold_of):
        notes.append(f"{kept} images are in no fold: they are in the only group of a class.")
    random = (*images.random_splits, "test")
    return dataclasses.replace(images, train=train, test=test, note=_join(images.note, *notes), random_splits=random)


def assign_folds(images: ImageSet, folds: int, *, seed: int) -> dict[str, int]:
    """Returns the fold of each image of `train` by its name, from 1; arguments and errors as in `hold_out_fold`."""
    if not has_groups(images.train) and not images.multi_label:
        _check_fold_sizes(images)
    members = _group(images.train, "fold", seed)
    fold_of = allocate_folds([_count(samples) for samples in members], folds)
    lone = fold_of.count(-1)
    if len(members) - lone < folds:
        what = "groups" if has_groups(images.train) else "images"
        besides = f", besides {lone} that are the only ones of a class" if lone else ""
        raise DataError(
            f"'{images.name}' has {len(members) - lone} {what}{besides}: too few for {folds} folds.",
            hint="Pass fewer folds" + (", or ignore the groups with --groups none." if what == "groups" else "."),
        )
    return {
        sample.name: fold + 1 for samples, fold in zip(members, fold_of, strict=True) if fold >= 0 for sample in samples
    }


def has_groups(samples: Iterable[Sample]) -> bool:
    """Returns whether any image belongs to a group."""
    return any(sample.group for sample in samples)


def limit_train(images: ImageSet, *, count: int, seed: int) -> ImageSet:
    """Returns `images` with only `count` training images: at least one per class, and classes in proportion.

    A smaller count selects a subset of the images of a larger one. Images of as many groups as possible are selected.

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
        ordered = _take_turns(_shuffle(samples, "limit", seed))
        # The first of each class comes first; then the k-th of n ranks at (k + 0.5) / n, which interleaves the classes.
        ranked += [((k + 0.5) / len(ordered) if k else 0.0, sample.name) for k, sample in enumerate(ordered)]
    return {name for _, name in sorted(ranked)[:count]}


def _limit_label_sets(images: ImageSet, count: int, seed: int) -> set[str]:
    ordered = _shuffle(images.train, "limit", seed)
    return {ordered[number].name for number in take_stratified([sample.labels for sample in ordered], count)}


def _split(
    images: ImageSet, purpose: str, *, fraction: float, seed: int
) -> tuple[tuple[Sample, ...], tuple[Sample, ...], str]:
    """Returns the images that stay in `train`, those of the new split, and the note of `images` with one about it."""
    if not 0 < fraction < 1:
        raise ConfigError(f"The fraction of the {purpose} split is {fraction}.", hint="It must be between 0 and 1.")
    select = _select_images
    if has_groups(images.train):
        select = _select_groups
    elif images.multi_label:
        select = _select_label_sets
    selected, how = select(images, purpose, fraction, seed)
    rest = tuple(sample for sample in images.train if sample.name not in selected)
    held_out = tuple(sample for sample in images.train if sample.name in selected)
    text = f"The {purpose} split ({len(held_out)} images) was taken from the training images: {how}, seed {seed}."
    return rest, held_out, _join(images.note, text, _describe_absent(images, held_out))


def _select_images(images: ImageSet, purpose: str, fraction: float, seed: int) -> tuple[set[str], str]:
    """Returns the names of the images of a new split, and how they were selected."""
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
    return selected, f"{fraction:.0%} of each class"


def _select_label_sets(images: ImageSet, purpose: str, fraction: float, seed: int) -> tuple[set[str], str]:
    """Returns what `_select_images` does, of multi-label data. The only image with a label stays in `train`."""
    ordered = _shuffle(images.train, purpose, seed)
    drawn = draw_stratified([sample.labels for sample in ordered], fraction)
    selected = {sample.name for sample, is_drawn in zip(ordered, drawn, strict=True) if is_drawn}
    if not selected:
        raise DataError(
            f"'{images.name}' has too few images to split off a {purpose} set: no label has two.",
            hint=f"Add images, or provide a {purpose} split.",
        )
    return selected, f"{fraction:.0%} of each label"


def _select_groups(images: ImageSet, purpose: str, fraction: float, seed: int) -> tuple[set[str], str]:
    """Returns what `_select_images` does, of whole groups. The only group of a class stays in `train`."""
    members = _group(images.train, purpose, seed)
    counts = [_count(samples) for samples in members]
    lone = find_lone_groups(counts)
    kept = set(lone.values())
    if len(kept) == len(members) or len(members) < 2:
        reason = "in one group" if len(members) < 2 else "in groups that are the only ones of a class"
        raise DataError(
            f"'{images.name}': all {len(images.train)} images left to train on are {reason}, so no {purpose} split can "
            "be taken from them.",
            hint=_GROUP_HINT,
        )
    parts = allocate(counts, [1 - fraction, fraction], fixed=kept)
    selected = {sample.name for samples, part in zip(members, parts, strict=True) if part for sample in samples}
    how = f"about {fraction:.0%} of each class, in whole groups ({sum(parts)} of {len(members)})"
    if lone:
        names = sorted(images.classes[label] for label in lone)
        more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
        how += f", without classes of a single group ({', '.join(names[:_LISTED])}{more})"
    return selected, how


def _check_fold_sizes(images: ImageSet) -> None:
    """Checks that each class has an image to hold out, and, if necessary, one to validate and one to train on."""
    least = 2 if images.val else 3
    for label, samples in zip(images.classes, _group_by_class(images), strict=True):
        if len(samples) < least:
            raise DataError(
                f"The class '{label}' of '{images.name}' has too few images for cross-validation: {len(samples)}.",
                hint=f"It takes at least {least}: add images, or leave the class out.",
            )


def _group(samples: Iterable[Sample], purpose: str, seed: int) -> list[list[Sample]]:
    """Returns the images of each group, in an order that depends on the seed."""
    members: dict[tuple[str, str], list[Sample]] = {}
    for sample in samples:
        members.setdefault((sample.group, "" if sample.group else sample.name), []).append(sample)
    keys = sorted(members, key=lambda key: _hash(purpose, seed, key[0] or key[1]))
    return [members[key] for key in keys]


def _count(samples: Iterable[Sample]) -> Counter[int]:
    return count_labels(sample.labels for sample in samples)


def _group_by_class(images: ImageSet) -> list[list[Sample]]:
    groups: list[list[Sample]] = [[] for _ in images.classes]
    for sample in images.train:
        groups[single_label(sample)].append(sample)
    return groups


def _take_turns(samples: Sequence[Sample]) -> list[Sample]:
    """Returns the images with the first of each group in front, then the second of each, and so on."""
    seen: Counter[str] = Counter()
    turns = []
    for sample in samples:
        turns.append(seen[sample.group])
        seen[sample.group] += bool(sample.group)
    return [sample for _, sample in sorted(zip(turns, samples, strict=True), key=lambda each: each[0])]


def _shuffle(samples: Iterable[Sample], purpose: str, seed: int) -> list[Sample]:
    return sorted(samples, key=lambda sample: _hash(purpose, seed, sample.name))


def _describe_absent(images: ImageSet, held_out: Sequence[Sample]) -> str:
    """Returns a sentence about the labels that a new split of multi-label data lacks, or an empty string."""
    present = {label for sample in held_out for label in sample.labels}
    absent = [f"'{name}'" for label, name in enumerate(images.classes) if label not in present]
    if not absent or not images.multi_label:
        return ""
    more = f" and {len(absent) - _LISTED} more" if len(absent) > _LISTED else ""
    return f"It has no image with {', '.join(absent[:_LISTED])}{more}: too few have it."


def _hash(purpose: str, seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{purpose}:{seed}:{name}".encode()).digest()


def _join(*sentences: str) -> str:
    return " ".join(filter(None, sentences))
