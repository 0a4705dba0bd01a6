"""What is wrong with the classes: empty, tiny, missing in a part, unlike in number, or called by two names."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from zoo.data.check.report import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

TINY = 10  # photos of a class in a part: with fewer there is little to learn, and nothing to measure
_UNLIKE, _VERY_UNLIKE = 3, 10  # times as many photos in the largest class as in the smallest


def judge_classes(classes: Sequence[str], counts: Mapping[str, Mapping[str, int]]) -> list[Finding]:
    """Returns what is wrong with the classes.

    Args:
        classes: Names.
        counts: By part and class name, how many photos there are that can be read.
    """
    used = {part: dict(counted) for part, counted in counts.items() if any(counted.values())}
    return [
        *_too_few(classes, used),
        *_missing(classes, used),
        *_twin_names(classes, used),
        *_tiny(used),
        *_imbalance(used.get("train", {})),
    ]


def fold(name: str) -> str:
    """Returns what two names share that differ in case, white space, dashes or the form of their letters alone."""
    return re.sub(r"[\s_-]+", " ", unicodedata.normalize("NFKC", name)).strip().casefold()


def _too_few(classes: Sequence[str], counts: Mapping[str, Mapping[str, int]]) -> Iterator[Finding]:
    if not counts:
        yield Finding(kind="empty", about="no photos", level="problem", text="There is no photo that can be read.")
    if len(classes) < 2:
        named = f", '{classes[0]}'" if classes else ""
        text = f"A classifier needs two classes; there is {'one' if classes else 'none'}{named}."
        yield Finding(kind="one-class", about="classes", level="problem", text=text)


def _missing(classes: Sequence[str], counts: Mapping[str, Mapping[str, int]]) -> Iterator[Finding]:
    for name in classes:
        there = [part for part, counted in counts.items() if counted.get(name)]
        if not there:
            text = f"The class '{name}' has no photo that can be read."
            advice = "Put photos there, or delete the folder."
            yield Finding(kind="empty-class", about="empty class", level="problem", text=text, advice=advice)
        elif "train" not in there:
            text = f"The class '{name}' is in {' and '.join(there)}, but not in train: training refuses that."
            yield Finding(kind="missing-class", about="class names", level="problem", text=text)
        elif lacking := [part for part in counts if part not in there]:
            text = (
                f"The class '{name}' is in train, but not in {' or '.join(lacking)}: nothing is measured of it there."
            )
            yield Finding(kind="missing-class", about="class names", level="warning", text=text)


def _twin_names(classes: Sequence[str], counts: Mapping[str, Mapping[str, int]]) -> Iterator[Finding]:
    alike: dict[str, list[str]] = {}
    for name in classes:
        alike.setdefault(fold(name), []).append(name)
    for names in alike.values():
        if len(names) > 1:
            told = " and ".join(
                f"{name!r} ({', '.join(part for part, counted in counts.items() if counted.get(name)) or 'empty'})"
                for name in names
            )
            yield Finding(
                kind="class-names",
                about="class names",
                level="problem",
                text=f"{told} differ in case, spaces or dashes alone, and are classes of their own.",
                advice="If they are the same, rename them alike; --fix-into does.",
            )


def _tiny(counts: Mapping[str, Mapping[str, int]]) -> Iterator[Finding]:
    for part, counted in counts.items():
        tiny = {name: number for name, number in counted.items() if 0 < number < TINY}
        if tiny:
            told = ", ".join(f"'{name}' has {number}" for name, number in list(tiny.items())[:3])
            more = f", and {len(tiny) - 3} more classes are as small" if len(tiny) > 3 else ""
            yield Finding(
                kind="tiny-class",
                about="tiny class" if len(tiny) == 1 else "tiny classes",
                level="warning" if part == "train" else "note",
                text=f"Fewer than {TINY} photos in {part}: {told}{more}.",
                advice="Little can be learnt from so few." if part == "train" else "Nothing can be measured on so few.",
            )


def _imbalance(train: Mapping[str, int]) -> Iterator[Finding]:
    there = {name: number for name, number in train.items() if number}
    if len(there) < 2:
        return
    most, least = max(there, key=lambda name: there[name]), min(there, key=lambda name: there[name])
    ratio = there[most] / there[least]
    numbers = f"{there[most]} and {there[least]}"
    if ratio >= _UNLIKE:
        yield Finding(
            kind="imbalance",
            about="imbalance",
            level="warning" if ratio >= _VERY_UNLIKE else "note",
            text=f"'{most}' has {ratio:.0f} times as many training photos as '{least}': {numbers}.",
            advice="Look at the figures of each class, which 'zoo evaluate' gives, rather than at the accuracy.",
        )
