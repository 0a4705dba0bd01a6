"""Finds duplicate photos and checks what they mean: leaks between splits, conflicting labels, redundant copies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo.data.check.hash_index import find_matches
from zoo.data.check.report import SPLITS, CheckedPhoto, DataFinding, DuplicatePair, format_count, is_or_are
from zoo.events import no_progress

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from zoo.data.check.report import Level
    from zoo.events import Progress

_TEST_IN_TRAIN = "The test accuracy of a model trained on them is too high."
_TEST_IN_VAL = "Choosing the best epoch uses test photos."
_VAL_IN_TRAIN = "Choosing the best epoch uses training photos."


def find_copies(photos: Sequence[CheckedPhoto]) -> list[DuplicatePair]:
    """Returns the identical files: each with the first of its group, in the order test, validation, train."""
    groups: dict[str, list[CheckedPhoto]] = {}
    for photo in photos:
        if photo.digest:
            groups.setdefault(photo.digest, []).append(photo)
    ordered = (sorted(group, key=_rank) for group in groups.values() if len(group) > 1)
    return [DuplicatePair(original, copy, None) for original, *copies in ordered for copy in copies]


def find_near_duplicates(
    photos: Sequence[CheckedPhoto], *, radius: int, progress: Progress = no_progress
) -> list[DuplicatePair]:
    """Returns the photos that look the same without being identical files; see `zoo.data.check.perceptual_hash`.

    Args:
        photos: Those with a perceptual hash are compared.
        radius: The largest distance of two hashes; see `zoo.data.check.hash_index.SCALE`.
        progress: Called as photos are compared.
    """
    unique = [photo for split in SPLITS for photo in _unique_photos(each for each in photos if each.split == split)]
    matches = find_matches(
        [photo.perceptual_hash for photo in unique if photo.perceptual_hash is not None],
        groups=[SPLITS.index(photo.split) for photo in unique],
        radius=radius,
        progress=progress,
    )
    pairs = [
        DuplicatePair(unique[match.second], unique[match.first], match.distance, match.turned) for match in matches
    ]
    return [pair for pair in pairs if pair.original.digest != pair.duplicate.digest]


def check_duplicates(
    photos: Sequence[CheckedPhoto], pairs: Sequence[DuplicatePair], *, multi_label: bool = False
) -> list[DataFinding]:
    """Returns the findings about duplicates; `multi_label` as in `ImageSet`."""
    totals = {split: sum(photo.split == split for photo in photos) for split in SPLITS}
    copies = [pair for pair in pairs if not pair.turned_label]
    redundant = [_check_redundant(copies, split) for split in SPLITS]
    labels = _check_label_sets(pairs) if multi_label else _check_labels(pairs)
    findings = [*_check_leaks(copies, totals), *labels, *redundant]
    return [finding for finding in findings if finding is not None]


def _check_leaks(pairs: Sequence[DuplicatePair], totals: Mapping[str, int]) -> Iterator[DataFinding]:
    """Yields the leaks. Test photos in train and in validation are one finding: validation may be split off train."""
    of_test = [pair for pair in pairs if pair.original.split == "test" and pair.duplicate.split != "test"]
    of_val = [pair for pair in pairs if (pair.original.split, pair.duplicate.split) == ("val", "train")]
    if any(pair.duplicate.split == "train" for pair in of_test):
        yield _make_leak("leak", "problem", of_test, totals, _TEST_IN_TRAIN)
    elif of_test:
        yield _make_leak("test-val-leak", "warning", of_test, totals, _TEST_IN_VAL)
    if of_val:
        yield _make_leak("val-leak", "warning", of_val, totals, _VAL_IN_TRAIN)


def _make_leak(
    kind: str, level: Level, pairs: Sequence[DuplicatePair], totals: Mapping[str, int], effect: str
) -> DataFinding:
    split = pairs[0].original.split
    present = {pair.duplicate.split for pair in pairs}
    others = [other for other in reversed(SPLITS) if other in present]
    number = len({pair.original.name for pair in pairs})
    photos = f"{number} of {format_count(totals[split], f'{split} photo')} {is_or_are(number)}"
    return DataFinding(
        kind=kind,
        about=f"{split} in {others[0]}",
        level=level,
        text=f"{photos} also in {' or '.join(others)} ({_count_copies(pairs)}). {effect}",
        advice=f"--fix excludes the copies in {' and '.join(others)}; the {split} photos stay.",
        pairs=tuple(
            sorted(
                pairs,
                key=lambda pair: (-SPLITS.index(pair.duplicate.split), pair.original.name, pair.duplicate.name),
            )
        ),
    )


def _check_labels(pairs: Iterable[DuplicatePair]) -> Iterator[DataFinding]:
    conflicts = [pair for pair in pairs if pair.two_labels]
    if exact := tuple(pair for pair in conflicts if pair.exact):
        yield DataFinding(
            kind="two-labels",
            about="two labels",
            level="problem",
            text=f"{format_count(_count_photos(exact), 'photo')} with two labels: identical files in two classes.",
            advice="Decide which label is right. Until then --fix excludes all copies.",
            pairs=exact,
        )
    if near := tuple(pair for pair in conflicts if not pair.exact and not pair.turned):
        yield DataFinding(
            kind="near-two-labels",
            about="two labels?",
            level="warning",
            text=f"{format_count(_count_photos(near), 'photo')} may have two labels: near duplicates in two classes.",
            advice="Look at them with --html. --fix excludes all copies.",
            pairs=near,
        )
    if turned := tuple(pair for pair in conflicts if pair.turned):
        number = _count_photos(turned)
        yield DataFinding(
            kind="turned-two-labels",
            about="turned copies",
            level="warning",
            text=f"{format_count(number, 'photo')} in two classes look the same only if one is mirrored or turned.",
            advice="Both labels may be right, as for left and right arrows: --fix keeps these photos. "
            "Look at them with --html.",
            pairs=turned,
        )


def _check_label_sets(pairs: Iterable[DuplicatePair]) -> Iterator[DataFinding]:
    """Yields copies with different labels. Of near duplicates both may be right: on the next shot, a fish is gone."""
    different = [pair for pair in pairs if pair.two_labels]
    if exact := tuple(pair for pair in different if pair.exact):
        yield DataFinding(
            kind="two-labels",
            about="different labels",
            level="problem",
            text=f"{format_count(_count_photos(exact), 'photo')} with different labels: identical files.",
            advice="Decide which labels are right. Until then --fix excludes all copies.",
            pairs=exact,
        )
    if near := tuple(pair for pair in different if not pair.exact):
        yield DataFinding(
            kind="near-two-labels",
            about="different labels?",
            level="warning",
            text=f"{format_count(_count_photos(near), 'near duplicate')} with different labels: one may be missing.",
            advice="Look at them with --html. --fix treats them as other near duplicates, since both may be right.",
            pairs=near,
        )


def _check_redundant(pairs: Sequence[DuplicatePair], split: str) -> DataFinding | None:
    inside = tuple(
        pair for pair in pairs if pair.original.split == pair.duplicate.split == split and not pair.two_labels
    )
    if not inside:
        return None
    copies = {pair.duplicate.name for pair in inside if pair.exact}
    near = {pair.duplicate.name for pair in inside if not pair.exact} - copies
    counts = " and ".join(
        format_count(len(names), noun) for names, noun in ((copies, "duplicate"), (near, "near duplicate")) if names
    )
    return DataFinding(
        kind="duplicates",
        about="duplicates",
        level="warning" if copies and split != "train" else "note",
        text=f"{counts} in {split}.",
        advice="--fix excludes all copies but one; near duplicates stay." if copies else "",
        pairs=inside,
    )


def _rank(photo: CheckedPhoto) -> tuple[int, str]:
    return SPLITS.index(photo.split), photo.name


def _unique_photos(photos: Iterable[CheckedPhoto]) -> list[CheckedPhoto]:
    """Returns the photos with a perceptual hash, and only one of each group of identical files."""
    first: dict[str, CheckedPhoto] = {}
    for photo in sorted(photos, key=_rank):
        if photo.perceptual_hash is not None:
            first.setdefault(photo.digest, photo)
    return list(first.values())


def _count_copies(pairs: Iterable[DuplicatePair]) -> str:
    """Returns ``identical``, ``nearly identical`` or the numbers of both."""
    identical = {pair.original.name for pair in pairs if pair.exact}
    near = {pair.original.name for pair in pairs} - identical
    if identical and near:
        return f"{len(identical)} identical, {len(near)} nearly identical"
    return "identical" if identical else "nearly identical"


def _count_photos(pairs: Iterable[DuplicatePair]) -> int:
    return len({name for pair in pairs for name in (pair.original.name, pair.duplicate.name)})
