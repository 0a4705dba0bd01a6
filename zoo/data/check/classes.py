"""Checks the classes: empty, tiny, missing from a split, imbalanced, or named in two ways."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from zoo.data.check.report import DataFinding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

TINY = 10  # photos per class and split: fewer are too few to learn from, or to measure on
IMBALANCE = "imbalance"  # the kind of finding
_RARE_CLASSES = (
    "Look at the balanced accuracy and the figures per class of 'zoo evaluate' rather than at the accuracy; "
    "--class-weights, --sampler and --logit-adjustment of 'zoo finetune' make rare classes count more."
)
_RARE_LABELS = (
    "Look at the average precision of each label, which 'zoo evaluate' prints; --class-weights of 'zoo finetune' makes "
    "rare labels count more."
)
_IMBALANCED, _VERY_IMBALANCED = 3, 10  # ratio of the largest class to the smallest


def check_classes(
    classes: Sequence[str], counts: Mapping[str, Mapping[str, int]], *, noun: str = "class"
) -> list[DataFinding]:
    """Returns the findings about the classes.

    Args:
        classes: The class names.
        counts: Number of readable photos by split and class name.
        noun: What to call them: ``"class"``, or ``"label"`` where a photo may have several.
    """
    used = {split: dict(by_class) for split, by_class in counts.items() if any(by_class.values())}
    return [
        *_check_number(classes, used, noun),
        *_check_missing(classes, used, noun),
        *_check_names(classes, used, noun),
        *_check_tiny(used, noun),
        *_check_imbalance(used.get("train", {}), noun),
    ]


def fold_name(name: str) -> str:
    """Returns a class name without case, repeated white space, dashes and Unicode variants, for comparison."""
    return re.sub(r"[\s_-]+", " ", unicodedata.normalize("NFKC", name)).strip().casefold()


def _plural(noun: str) -> str:
    return "classes" if noun == "class" else f"{noun}s"


def _check_number(classes: Sequence[str], counts: Mapping[str, Mapping[str, int]], noun: str) -> Iterator[DataFinding]:
    if not counts:
        yield DataFinding(kind="empty", about="no photos", level="problem", text="There is no readable photo.")
    if len(classes) < 2:
        number = f"only one, '{classes[0]}'" if classes else "none"
        text = f"A classifier needs at least two {_plural(noun)}; there is {number}."
        yield DataFinding(kind="one-class", about=_plural(noun), level="problem", text=text)


def _check_missing(classes: Sequence[str], counts: Mapping[str, Mapping[str, int]], noun: str) -> Iterator[DataFinding]:
    for name in classes:
        present = [split for split, by_class in counts.items() if by_class.get(name)]
        if not present:
            text = f"The {noun} '{name}' has no readable photo."
            advice = "Add photos, or delete the folder." if noun == "class" else "Add photos, or delete the label."
            yield DataFinding(kind="empty-class", about=f"empty {noun}", level="problem", text=text, advice=advice)
        elif "train" not in present:
            text = f"The {noun} '{name}' is in {' and '.join(present)}, but not in train. Training refuses such data."
            yield DataFinding(kind="missing-class", about=f"{noun} names", level="problem", text=text)
        elif missing := [split for split in counts if split not in present]:
            text = f"The {noun} '{name}' is in train, but not in {' or '.join(missing)}: it is not evaluated there."
            yield DataFinding(kind="missing-class", about=f"{noun} names", level="warning", text=text)


def _check_names(classes: Sequence[str], counts: Mapping[str, Mapping[str, int]], noun: str) -> Iterator[DataFinding]:
    similar: dict[str, list[str]] = {}
    for name in classes:
        similar.setdefault(fold_name(name), []).append(name)
    for names in similar.values():
        if len(names) > 1:
            listed = " and ".join(
                f"{name!r} ({', '.join(split for split, by_class in counts.items() if by_class.get(name)) or 'empty'})"
                for name in names
            )
            yield DataFinding(
                kind="class-names",
                about=f"{noun} names",
                level="problem",
                text=f"{listed} differ only in case, spaces or dashes, and count as separate {_plural(noun)}.",
                advice=f"If they are the same {noun}, give them one name; --fix-into does so.",
            )


def _check_tiny(counts: Mapping[str, Mapping[str, int]], noun: str) -> Iterator[DataFinding]:
    for split, by_class in counts.items():
        tiny = {name: number for name, number in by_class.items() if 0 < number < TINY}
        if tiny:
            listed = ", ".join(f"'{name}' has {number}" for name, number in list(tiny.items())[:3])
            more = f", and {len(tiny) - 3} more {_plural(noun)}" if len(tiny) > 3 else ""
            yield DataFinding(
                kind="tiny-class",
                about=f"tiny {noun if len(tiny) == 1 else _plural(noun)}",
                level="warning" if split == "train" else "note",
                text=f"Fewer than {TINY} photos in {split}: {listed}{more}.",
                advice="Add training photos." if split == "train" else "Figures on so few photos are unreliable.",
            )


def _check_imbalance(train: Mapping[str, int], noun: str) -> Iterator[DataFinding]:
    present = {name: number for name, number in train.items() if number}
    if len(present) < 2:
        return
    most, least = max(present, key=lambda name: present[name]), min(present, key=lambda name: present[name])
    ratio = present[most] / present[least]
    if ratio >= _IMBALANCED:
        numbers = f"{present[most]} and {present[least]}"
        yield DataFinding(
            kind=IMBALANCE,
            about="imbalance",
            level="warning" if ratio >= _VERY_IMBALANCED else "note",
            text=f"'{most}' has {ratio:.0f} times as many training photos as '{least}': {numbers}.",
            advice=_RARE_LABELS if noun == "label" else _RARE_CLASSES,
        )
