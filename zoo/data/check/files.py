"""What is wrong with single files, and what becomes of the odd ones: unreadable, misnamed, too small, too long."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from zoo.data.check.header import TREATMENTS
from zoo.data.check.report import Finding, are, counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from zoo.data.check.header import Header
    from zoo.data.check.report import Photo

_SMALL = 32  # pixels of the shorter side
_LARGE = 25_000_000  # pixels
_LONG = 3  # times as long as wide: a centre crop then sees a third at most
_NOT_AN_IMAGE = "not an image"  # the reason that zoo.data.sources.folder gives
_BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"II*\0", b"MM\0*")


def judge_files(photos: Sequence[Photo], skipped: Sequence[str] = (), *, root: Path | None = None) -> list[Finding]:
    """Returns what is wrong with single files, and what becomes of odd ones.

    Args:
        photos: All of them.
        skipped: What was left out, as `zoo.plugins.specs.ImageSet` has it.
        root: The folder that the names in `skipped` are relative to, if they are files.
    """
    return [
        *_unreadable(photos),
        *_misnamed(photos),
        *_skipped(skipped, root),
        *_odd_sizes(photos),
        *_treatments(photos),
    ]


def _unreadable(photos: Sequence[Photo]) -> Iterator[Finding]:
    broken = tuple((photo, photo.error.removeprefix(f"{photo.name}: ")) for photo in photos if photo.error)
    if broken:
        yield Finding(
            kind="unreadable",
            about="unreadable",
            level="problem",
            text=f"{counted(len(broken), 'photo')} cannot be read.",
            advice="Training leaves them out with a warning. Replace or delete them; --fix lists them.",
            photos=broken,
        )


def _misnamed(photos: Sequence[Photo]) -> Iterator[Finding]:
    wrong = tuple(
        (photo, f"it is {_a(photo.header.format)}")
        for photo in photos
        if photo.header is not None and photo.header.has_suffix_of_another(photo.name)
    )
    if wrong:
        yield Finding(
            kind="extension",
            about="wrong extension",
            level="warning",
            text=f"{counted(len(wrong), 'file')} {are(len(wrong))} of another format than the name says.",
            advice="Training looks at the content and reads them all the same; other programs may not.",
            photos=wrong,
        )


def _skipped(skipped: Sequence[str], root: Path | None) -> Iterator[Finding]:
    reasons = Counter(entry.rpartition(": ")[2].partition(",")[0] for entry in skipped)
    if reasons:
        told = ", ".join(f"{number} {reason}" for reason, number in reasons.most_common())
        yield Finding(
            kind="skipped", about="left out", level="note", text=f"Files that are no part of the data: {told}."
        )
    named = [entry.removesuffix(f": {_NOT_AN_IMAGE}") for entry in skipped if entry.endswith(f": {_NOT_AN_IMAGE}")]
    photos = [name for name in named if root is not None and _begins_like_a_photo(root / name)]
    if photos:
        yield Finding(
            kind="hidden-photos",
            about="left out",
            level="warning",
            text=f"{counted(len(photos), 'file')} with a photo inside left out because of the name: {_some(photos)}.",
            advice="Give them a name that ends with .jpg, .png or the like.",
        )


def _odd_sizes(photos: Sequence[Photo]) -> Iterator[Finding]:
    kinds: tuple[tuple[str, str, str, Callable[[Header], bool]], ...] = (
        ("small", "tiny photos", f"smaller than {_SMALL} pixels: they are enlarged", _is_small),
        ("large", "huge photos", f"of more than {_LARGE // 10**6} megapixels: they take long to decode", _is_large),
        ("long", "long photos", f"at least {_LONG} times as long as wide: the crop shows a part alone", _is_long),
    )
    for kind, about, what, has in kinds:
        found = tuple(
            (photo, f"{photo.header.width} x {photo.header.height}")
            for photo in photos
            if photo.header is not None and not photo.error and has(photo.header)
        )
        if found:
            text = f"{counted(len(found), 'photo')} {what}."
            yield Finding(kind=kind, about=about, level="note", text=text, photos=found)


def _treatments(photos: Sequence[Photo]) -> Iterator[Finding]:
    for trait, treatment in TREATMENTS.items():
        found = tuple(
            (photo, "") for photo in photos if photo.header and not photo.error and trait in photo.header.traits
        )
        if found:
            text = f"{counted(len(found), 'photo')}: {treatment}."
            yield Finding(kind="treatment", about=trait, level="note", text=text, photos=found)


def _is_small(header: Header) -> bool:
    return min(header.width, header.height) < _SMALL


def _is_large(header: Header) -> bool:
    return header.width * header.height > _LARGE


def _is_long(header: Header) -> bool:
    return max(header.width, header.height) >= _LONG * min(header.width, header.height)


def _begins_like_a_photo(file: Path) -> bool:
    try:
        with file.open("rb") as stream:
            start = stream.read(12)
    except OSError:
        return False
    return start.startswith(_BEGINNINGS) or (start[:4] == b"RIFF" and start[8:] == b"WEBP")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _a(name: str) -> str:
    return f"an {name}" if name[0] in "AIM" else f"a {name}"
