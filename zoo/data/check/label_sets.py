"""Checks the labels of photos that may have several: which photos have none, and which labels go together."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from typing import TYPE_CHECKING

from zoo.data.check.report import SPLITS, DataFinding, format_count

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from zoo.data.check.report import CheckedPhoto

_LISTED = 3  # pairs of labels, photos or labels in a text


def check_label_sets(photos: Sequence[CheckedPhoto]) -> list[DataFinding]:
    """Returns the findings about the sets of labels of readable photos."""
    train = [photo for photo in photos if photo.split == "train" and not photo.error]
    return [
        *_check_unlabelled([photo for photo in photos if not photo.error]),
        *_check_everywhere(train),
        *_check_pairs(train),
    ]


def _check_unlabelled(photos: Sequence[CheckedPhoto]) -> Iterator[DataFinding]:
    without = [photo for photo in photos if not photo.labels]
    if not without:
        return
    counts = Counter(photo.split for photo in without)
    listed = ", ".join(f"{counts[split]:,} in {split}" for split in reversed(SPLITS) if counts[split])
    yield DataFinding(
        kind="no-label",
        about="no label",
        level="note",
        text=f"{format_count(len(without), 'photo')} of {len(photos):,} without a label: {listed}.",
        advice="They teach what none of the labels looks like. If labels are missing, add them.",
        photos=tuple((photo, "") for photo in without),
    )


def _check_everywhere(train: Sequence[CheckedPhoto]) -> Iterator[DataFinding]:
    counts = Counter(label for photo in train for label in photo.labels)
    for label in sorted(label for label, count in counts.items() if count == len(train)):
        yield DataFinding(
            kind="label-everywhere",
            about="label on all photos",
            level="warning",
            text=f"All training photos have the label '{label}': nothing shows what a photo without it looks like.",
            advice="Add photos without it, or delete the label.",
        )


def _check_pairs(train: Sequence[CheckedPhoto]) -> Iterator[DataFinding]:
    """Yields which labels go together most often, and those that never come without a certain other label."""
    counts = Counter(label for photo in train for label in photo.labels)
    pairs = Counter(pair for photo in train for pair in combinations(photo.labels, 2))
    if not pairs:
        return
    most = sorted(pairs.items(), key=lambda each: (-each[1], each[0]))[:_LISTED]
    listed = ", ".join(f"'{one}' with '{other}' on {number:,}" for (one, other), number in most)
    yield DataFinding(
        kind="label-pairs",
        about="labels together",
        level="note",
        text=f"{sum(counts.values()) / len(train):.2f} labels on a training photo. Most often together: {listed}.",
    )
    bound = [
        (rare, other)
        for pair, number in pairs.items()
        for rare, other in (pair, pair[::-1])
        if counts[rare] == number and counts[other] < len(train)
    ]
    if bound:
        listed = ", ".join(f"'{rare}' ({counts[rare]:,}) with '{other}'" for rare, other in sorted(bound)[:_LISTED])
        more = f", and {len(bound) - _LISTED} more" if len(bound) > _LISTED else ""
        yield DataFinding(
            kind="label-bound",
            about="labels never alone",
            level="note",
            text=f"Labels that never come without another one in train: {listed}{more}.",
            advice="A network can take one for the other. Add photos that have only the first.",
        )
