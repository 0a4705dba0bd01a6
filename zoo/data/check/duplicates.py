"""Finds photos that are there more than once, and says what is wrong with that: leaks, two labels, duplicates."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from zoo.data.check.report import PARTS, Finding, Pair, Photo, are, counted
from zoo.events import no_progress

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from zoo.data.check.report import Level
    from zoo.events import Progress

_TRAINED_ON = "The test accuracy of what is trained on them is too good to be true."
_CHOSEN_BY_TEST = "The epoch is chosen on photos of the test."
_CHOSEN_BY_TRAIN = "The epoch is chosen on photos that were trained on."


def find_copies(photos: Sequence[Photo]) -> list[Pair]:
    """Returns the photos that are equal to the byte: each with the first of them, test before validation and train."""
    groups: dict[str, list[Photo]] = {}
    for photo in photos:
        if photo.digest:
            groups.setdefault(photo.digest, []).append(photo)
    ordered = (sorted(group, key=_rank) for group in groups.values() if len(group) > 1)
    return [Pair(kept, other, None) for kept, *others in ordered for other in others]


def find_near(photos: Sequence[Photo], *, radius: int, progress: Progress = no_progress) -> list[Pair]:
    """Returns the photos that look the same and are not equal to the byte; see `zoo.data.check.near`.

    Args:
        photos: Those that have a signature are compared.
        radius: Bits of 128 in which the hashes of two may differ.
        progress: Called as they are compared.
    """
    from zoo.data.check.near import Signatures, close_pairs

    parts = {part: _one_of_each(photo for photo in photos if photo.part == part) for part in PARTS}
    tables = {
        part: Signatures([photo.signature for photo in listed if photo.signature is not None])
        for part, listed in parts.items()
    }
    pairs = []
    for kept, other in [*combinations(PARTS, 2), *zip(PARTS, PARTS, strict=True)]:
        found = close_pairs(tables[other], None if kept == other else tables[kept], radius=radius, progress=progress)
        pairs += [Pair(parts[kept][close.other], parts[other][close.one], close.distance) for close in found]
    return [pair for pair in pairs if pair.kept.digest != pair.other.digest]


def judge_twins(photos: Sequence[Photo], pairs: Sequence[Pair]) -> list[Finding]:
    """Returns what is wrong with photos that are there more than once."""
    totals = {part: sum(photo.part == part for photo in photos) for part in PARTS}
    within = [_duplicates(pairs, part) for part in PARTS]
    found = [*_leaks(pairs, totals), *_two_labels(pairs), *within]
    return [finding for finding in found if finding is not None]


def _leaks(pairs: Sequence[Pair], totals: Mapping[str, int]) -> Iterator[Finding]:
    """Yields the leaks. Test photos in train and in validation, which may have been split off it, are told together."""
    of_test = [pair for pair in pairs if pair.kept.part == "test" and pair.other.part != "test"]
    of_val = [pair for pair in pairs if (pair.kept.part, pair.other.part) == ("val", "train")]
    if any(pair.other.part == "train" for pair in of_test):
        yield _leak("leak", "problem", of_test, totals, _TRAINED_ON)
    elif of_test:
        yield _leak("test-val-leak", "warning", of_test, totals, _CHOSEN_BY_TEST)
    if of_val:
        yield _leak("val-leak", "warning", of_val, totals, _CHOSEN_BY_TRAIN)


def _leak(kind: str, level: Level, pairs: Sequence[Pair], totals: Mapping[str, int], harm: str) -> Finding:
    kept = pairs[0].kept.part
    places = {pair.other.part for pair in pairs}
    others = [part for part in reversed(PARTS) if part in places]
    known = {pair.kept.name for pair in pairs}
    told = (
        f"{len(known)} of {counted(totals[kept], f'{kept} photo')} {are(len(known))} in {' or '.join(others)} as well"
    )
    return Finding(
        kind=kind,
        about=f"{kept} in {others[0]}",
        level=level,
        text=f"{told}{_how(pairs)}. {harm}",
        advice=f"--fix lists those in {' and '.join(others)} to be left out; the {kept} photos stay.",
        pairs=tuple(sorted(pairs, key=lambda pair: (-PARTS.index(pair.other.part), pair.kept.name, pair.other.name))),
    )


def _two_labels(pairs: Iterable[Pair]) -> Iterator[Finding]:
    other_labels = [pair for pair in pairs if pair.kept.label != pair.other.label]
    if copies := tuple(pair for pair in other_labels if pair.exact):
        yield Finding(
            kind="two-labels",
            about="two labels",
            level="problem",
            text=f"{counted(_named(copies), 'photo')} with two labels: copies, equal to the byte, are in two classes.",
            advice="Decide which is right. Until then --fix leaves out both where they are in one part.",
            pairs=copies,
        )
    if near := tuple(pair for pair in other_labels if not pair.exact):
        yield Finding(
            kind="near-two-labels",
            about="two labels?",
            level="warning",
            text=f"{counted(_named(near), 'photo')} with two labels, it seems: nearly the same are in two classes.",
            advice="Look at them with --html.",
            pairs=near,
        )


def _duplicates(pairs: Sequence[Pair], part: str) -> Finding | None:
    found = tuple(
        pair for pair in pairs if pair.kept.part == pair.other.part == part and pair.kept.label == pair.other.label
    )
    if not found:
        return None
    copies = {pair.other.name for pair in found if pair.exact}
    near = {pair.other.name for pair in found if not pair.exact} - copies
    told = " and ".join(
        f"{counted(len(names), 'photo')} {are(len(names))} in {part} {how}"
        for names, how in ((copies, "more than once"), (near, "in nearly the same form as another"))
        if names
    )
    return Finding(
        kind="duplicates",
        about=f"twice in {part}",
        level="warning" if copies and part != "train" else "note",
        text=f"{told[:1].upper()}{told[1:]}.",
        advice="--fix lists all copies but one; what is only nearly the same stays." if copies else "",
        pairs=found,
    )


def _rank(photo: Photo) -> tuple[int, str]:
    return PARTS.index(photo.part), photo.name


def _one_of_each(photos: Iterable[Photo]) -> list[Photo]:
    """Returns the photos that can be compared, one of those that are equal to the byte."""
    first: dict[str, Photo] = {}
    for photo in sorted(photos, key=_rank):
        if photo.signature is not None:
            first.setdefault(photo.digest, photo)
    return list(first.values())


def _how(pairs: Iterable[Pair]) -> str:
    copies = {pair.kept.name for pair in pairs if pair.exact}
    near = {pair.kept.name for pair in pairs} - copies
    if not near:
        return ", to the byte"
    return (
        f", {len(copies)} to the byte and {len(near)} in nearly the same form" if copies else " in nearly the same form"
    )


def _named(pairs: Iterable[Pair]) -> int:
    return len({name for pair in pairs for name in (pair.kept.name, pair.other.name)})
