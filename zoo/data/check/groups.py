"""Checks groups: splits that a group straddles, and random splits of data whose groups seem to be missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo.data.check.report import SPLITS, DataFinding, format_count, is_or_are
from zoo.data.sources.splits import has_groups

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from zoo.data.check.report import CheckedPhoto, DuplicatePair, Level
    from zoo.plugins.specs import ImageSet

_NAMES = {"test": "test", "val": "validation", "train": "training"}
_MIN_SHARE, _MIN_PHOTOS = 0.03, 3  # of the photos of a random split: fewer look-alikes are chance, or single copies


def check_groups(images: ImageSet, photos: Sequence[CheckedPhoto]) -> Iterator[DataFinding]:
    """Yields a finding for each split that shares groups with a later one: test with the others, val with train.

    Args:
        images: The dataset with its final splits.
        photos: All its photos.
    """
    groups = {split: {s.group for s in getattr(images, split) if s.group} for split in SPLITS}
    group_of = {s.name: s.group for split in SPLITS for s in getattr(images, split)}
    for split, others, kind in (("test", ("train", "val"), "group-leak"), ("val", ("train",), "val-group-leak")):
        shared = {other: groups[split] & groups[other] for other in others}
        present = [other for other in others if shared[other]]
        if not present:
            continue
        common = set.union(*shared.values())
        straddling = tuple(
            (photo, f"group {group_of[photo.name]}")
            for photo in photos
            if photo.split == split and group_of[photo.name] in common
        )
        level: Level = "problem" if kind == "group-leak" and "train" in present else "warning"
        total = format_count(len(getattr(images, split)), f"{_NAMES[split]} photo")
        text = (
            f"{len(straddling)} of {total} {is_or_are(len(straddling))} of groups that are in {' and '.join(present)}, "
            f"too ({format_count(len(common), 'group')})."
        )
        if level == "problem":
            text += " The test accuracy is that of known groups, and too high for new ones."
        advice = "Put each group into one split, or leave out the splits: the zoo then makes them of whole groups."
        yield DataFinding(
            kind=kind, about=f"groups of {split}", level=level, text=text, advice=advice, photos=straddling
        )


def check_missing_groups(images: ImageSet, pairs: Sequence[DuplicatePair]) -> Iterator[DataFinding]:
    """Yields a warning if many photos of random splits look like training photos, and the data has no groups.

    Args:
        images: The dataset with its final splits.
        pairs: Its duplicates.
    """
    if any(has_groups(getattr(images, split)) for split in SPLITS):
        return
    found: list[DuplicatePair] = []
    counts = []
    for split in images.random_splits:
        alike = {
            pair.original.name: pair
            for pair in pairs
            if pair.original.split == split and pair.duplicate.split == "train" and not pair.exact and not pair.turned
        }
        total = len(getattr(images, split))
        if len(alike) >= max(_MIN_PHOTOS, _MIN_SHARE * total):
            found += alike.values()
            counts.append(f"{len(alike)} of {format_count(total, f'{_NAMES[split]} photo')}")
    if found:
        yield DataFinding(
            kind="missing-groups",
            about="groups",
            level="warning",
            text=f"{' and '.join(counts)} look nearly like training photos: the random split may divide series of one "
            "object, patient or day, and the accuracy is then too high. Name the series with --groups: each stays in "
            "one split.",
            pairs=tuple(found),
        )
