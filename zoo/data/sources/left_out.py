"""Reports the photos that were left out: how many each reason removes, and which classes suffer."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from zoo.data.images.formats import HEIC, advise

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from zoo.data.sources.walk import SkippedFile

_MANY = 0.1  # share of the photos of a class that is lost: a warning from here on
_LISTED = 3  # classes in a warning
_NAME = 80  # characters of a file name
_UNREADABLE = " cannot be read"  # the end of a reason, behind the name of a format


class LostFile(NamedTuple):
    """A file that was left out.

    Attributes:
        file: The file.
        split: The split that it would belong to, or empty.
        label: Name of the class that it would belong to, or empty.
    """

    file: SkippedFile
    split: str = ""
    label: str = ""


def describe_left_out(skipped: Iterable[SkippedFile], *, kept: int) -> str:
    """Returns one line on the photos that were left out, or an empty string if there are none.

    Args:
        skipped: What was left out.
        kept: Number of the other photos.
    """
    first: dict[str, SkippedFile] = {}
    reasons: Counter[str] = Counter()
    for file in skipped:
        if file.photos:
            first.setdefault(file.reason, file)
            reasons[file.reason] += file.photos
    if not (lost := reasons.total()):
        return ""
    listed = ", ".join(
        f"{_count(reason, count)} ({_shorten(first[reason].name)}{', ...' if count > first[reason].photos else ''})"
        for reason, count in reasons.most_common()
    )
    return f"{lost:,} of {lost + kept:,} photos left out: {listed}.{_advise(reasons)}"


def warn_of_losses(skipped: Iterable[LostFile], kept: Mapping[tuple[str, str], int]) -> Iterator[str]:
    """Yields a warning if classes lose at least a tenth of their photos in a split.

    Args:
        skipped: What was left out.
        kept: Number of the other photos by split and class name.
    """
    by_class: dict[tuple[str, str], list[SkippedFile]] = {}
    for lost in skipped:
        if lost.label and lost.file.photos:
            by_class.setdefault((lost.split, lost.label), []).append(lost.file)
    texts = []
    for (split, label), files in by_class.items():
        reasons: Counter[str] = Counter()
        for file in files:
            reasons[file.reason] += file.photos
        count, total = reasons.total(), reasons.total() + kept.get((split, label), 0)
        if count >= _MANY * total:
            listed = ", ".join(_count(reason, number) for reason, number in reasons.most_common())
            texts.append((-count / total, f"'{label}' in {split} {count:,} of {total:,} ({listed})"))
    if texts:
        listed = "; ".join(text for _, text in sorted(texts)[:_LISTED])
        more = f"; and {len(texts) - _LISTED} more classes" if len(texts) > _LISTED else ""
        yield f"Classes that lose at least a tenth of their photos: {listed}{more}."


def select_unreadable(skipped: Iterable[SkippedFile]) -> Iterator[SkippedFile]:
    """Yields the photos in formats that cannot be read."""
    return (file for file in skipped if file.reason.endswith(_UNREADABLE))


def _count(reason: str, count: int) -> str:
    if reason.endswith(_UNREADABLE):
        return f"{count:,} {reason.removesuffix(_UNREADABLE)} photo{'' if count == 1 else 's'} cannot be read"
    return f"{count:,} {'behind ' if reason.startswith('a ') else ''}{reason}"


def _shorten(name: str) -> str:
    return name if len(name) <= _NAME else f"{name[: _NAME // 2]}...{name[-_NAME // 2 :]}"


def _advise(reasons: Iterable[str]) -> str:
    formats = {reason.removesuffix(_UNREADABLE) for reason in reasons if reason.endswith(_UNREADABLE)}
    return f" {advise(HEIC if HEIC in formats else min(formats))}" if formats else ""
