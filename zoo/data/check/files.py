"""Checks single files: unreadable, misnamed, skipped, of unusual size, or converted when they are decoded."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from zoo.data.check.header import CONVERSIONS
from zoo.data.check.report import DataFinding, format_count
from zoo.data.sources.walk import NO_SUFFIX, UNLABELLED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from zoo.data.check.header import Header
    from zoo.data.check.report import CheckedPhoto, Level
    from zoo.plugins.specs import ImageSet

_SMALL = 32  # pixels of the shorter side
_LARGE = 25_000_000  # pixels
_LONG = 3  # times as long as wide: a centre crop then shows at most a third


def check_files(photos: Sequence[CheckedPhoto], skipped: Sequence[str] = ()) -> list[DataFinding]:
    """Returns the findings about single files.

    Args:
        photos: All photos.
        skipped: As in `zoo.plugins.specs.ImageSet`.
    """
    return [
        *_check_unreadable(photos),
        *_check_suffixes(photos),
        *_check_skipped(skipped),
        *_check_sizes(photos),
        *_list_conversions(photos),
    ]


def check_left_out(images: ImageSet) -> Iterator[DataFinding]:
    """Yields the findings about photos that were left out when the dataset was loaded."""
    if images.left_out:
        level: Level = "warning" if images.warnings else "note"
        yield DataFinding(kind="left-out", about="left out", level=level, text=images.left_out)
    for text in images.warnings:
        yield DataFinding(kind="left-out", about="left out", level="warning", text=text)


def _check_unreadable(photos: Sequence[CheckedPhoto]) -> Iterator[DataFinding]:
    broken = tuple((photo, photo.error.removeprefix(f"{photo.name}: ")) for photo in photos if photo.error)
    if broken:
        yield DataFinding(
            kind="unreadable",
            about="unreadable",
            level="problem",
            text=f"{format_count(len(broken), 'photo')} cannot be read.",
            advice="Training skips unreadable photos with a warning. Replace or delete them; --fix excludes them.",
            photos=broken,
        )


def _check_suffixes(photos: Sequence[CheckedPhoto]) -> Iterator[DataFinding]:
    wrong = tuple(
        (photo, f"it is {_with_article(photo.header.format)}")
        for photo in photos
        if photo.header is not None and photo.header.has_wrong_suffix(photo.name)
    )
    if wrong:
        yield DataFinding(
            kind="extension",
            about="wrong extension",
            level="warning",
            text=f"{format_count(len(wrong), 'file')} with an extension that does not match the format.",
            advice="Training ignores the extension and reads them; other programs may not.",
            photos=wrong,
        )


def _check_skipped(skipped: Sequence[str]) -> Iterator[DataFinding]:
    reasons = Counter(entry.rpartition(": ")[2].partition(",")[0] for entry in skipped)
    del reasons[UNLABELLED]  # whole folders, whose photos are counted as left out
    if reasons:
        listed = ", ".join(f"{number} {reason}" for reason, number in reasons.most_common())
        yield DataFinding(kind="skipped", about="skipped files", level="note", text=f"Skipped files: {listed}.")
    photos = [entry.removesuffix(f": {NO_SUFFIX}") for entry in skipped if entry.endswith(f": {NO_SUFFIX}")]
    if photos:
        yield DataFinding(
            kind="hidden-photos",
            about="skipped photos",
            level="warning",
            text=f"{format_count(len(photos), 'photo')} skipped because of the file name: {_abbreviate(photos)}.",
            advice="Rename them to end with .jpg, .png or another image suffix.",
        )


def _check_sizes(photos: Sequence[CheckedPhoto]) -> Iterator[DataFinding]:
    kinds: tuple[tuple[str, str, str, Callable[[Header], bool]], ...] = (
        ("small", "tiny photos", f"with a side below {_SMALL} pixels; enlarged for training", _is_small),
        ("large", "huge photos", f"above {_LARGE // 10**6} megapixels; slow to decode", _is_large),
        ("long", "long photos", f"at least {_LONG} times as long as wide; the crop shows only a part", _is_long),
    )
    for kind, about, text, applies in kinds:
        found = tuple(
            (photo, f"{photo.header.width} x {photo.header.height}")
            for photo in photos
            if photo.header is not None and not photo.error and applies(photo.header)
        )
        if found:
            text = f"{format_count(len(found), 'photo')} {text}."
            yield DataFinding(kind=kind, about=about, level="note", text=text, photos=found)


def _list_conversions(photos: Sequence[CheckedPhoto]) -> Iterator[DataFinding]:
    for trait, conversion in CONVERSIONS.items():
        found = tuple(
            (photo, "") for photo in photos if photo.header and not photo.error and trait in photo.header.traits
        )
        if found:
            text = f"{format_count(len(found), 'photo')}: {conversion}."
            yield DataFinding(kind="treatment", about=trait, level="note", text=text, photos=found)


def _is_small(header: Header) -> bool:
    return min(header.width, header.height) < _SMALL


def _is_large(header: Header) -> bool:
    return header.width * header.height > _LARGE


def _is_long(header: Header) -> bool:
    return max(header.width, header.height) >= _LONG * min(header.width, header.height)


def _abbreviate(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _with_article(name: str) -> str:
    return f"an {name}" if name[0] in "AIM" else f"a {name}"
