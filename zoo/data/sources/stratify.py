"""Draws a share of photos with several labels so that it has the same share of each label.

Iterative stratification, after Sechidis, Tsoumakas and Vlahavas, "On the Stratification of Multi-label Data", 2011: the
label with the fewest photos left is dealt with first, because later there may be none left to choose from. It differs
in which photos of that label are drawn: the first ones, so that one photo more hardly moves the others, and photos with
one label each are drawn as those of single-label data.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_NONE = -1  # the label of photos without labels, which get their share, too


def draw_stratified(labels: Sequence[Sequence[int]], share: float) -> list[bool]:
    """Returns which photos are drawn, depending on nothing but the arguments.

    Of each label with at least two photos, one is drawn and one is not, unless that is impossible because of its other
    labels. The only photo of a label is not drawn.

    Args:
        labels: The labels of each photo, from 0, in the order in which they are to be drawn: shuffle them first.
        share: The share of photos to draw, between 0 and 1.
    """
    photos: dict[int, list[int]] = {}
    sets = [tuple(each) or (_NONE,) for each in labels]
    for number, each in enumerate(sets):
        for label in each:
            photos.setdefault(label, []).append(number)
    wanted = {label: _count_wanted(len(each), share) for label, each in photos.items()}
    drawn: list[bool | None] = [None] * len(sets)
    left = Counter({label: len(each) for label, each in photos.items()})
    while left:
        rarest = min(left, key=lambda label: (left[label], len(photos[label]), label))
        for number in photos[rarest]:
            if drawn[number] is None:
                drawn[number] = wanted[rarest] > 0
                for label in sets[number]:
                    wanted[label] -= bool(drawn[number])
                    left[label] -= 1
        left = +left  # those that are left
    return _repair([bool(each) for each in drawn], sets, photos)


def take_stratified(labels: Sequence[Sequence[int]], count: int) -> list[int]:
    """Returns the indices of a number of photos with each label in proportion, and at least one photo of each label.

    A smaller number selects some of the photos of a larger one.

    Args:
        labels: As for `draw_stratified`.
        count: How many photos to take: at least the number of labels.
    """
    taken: list[int] = []
    seen: set[int] = set()
    totals = Counter(label for each in labels for label in each)
    for rarest in sorted(totals, key=lambda label: (totals[label], label)):
        if rarest not in seen:
            taken.append(next(number for number, each in enumerate(labels) if rarest in each))
            seen.update(labels[taken[-1]])
    first = set(taken)
    others = [number for number in range(len(labels)) if number not in first]
    # Halves of halves: a larger number takes the whole half of which a smaller one takes a part.
    while len(taken) < count and others:
        drawn = draw_stratified([labels[number] for number in others], 0.5)
        half = [number for number, each in zip(others, drawn, strict=True) if each] or others
        if len(half) <= count - len(taken):
            taken += half
            others = [number for number, each in zip(others, drawn, strict=True) if not each] if any(drawn) else []
        elif len(half) > 1 and any(drawn):
            others = half
        else:
            taken += half[: count - len(taken)]
    return taken[:count]


def _count_wanted(photos: int, share: float) -> int:
    """Returns how many photos of a label to draw: at least one, and not all; halves upwards."""
    return min(max(int(photos * share + 0.5), 1), photos - 1)


def _repair(drawn: list[bool], sets: Sequence[Sequence[int]], photos: Mapping[int, Sequence[int]]) -> list[bool]:
    """Moves a photo of each label of which all or none are drawn, if all other labels of that photo stay on both sides.

    Args:
        drawn: Which photos are drawn.
        sets: The labels of each photo.
        photos: The photos of each label.
    """
    counts = Counter(label for each, is_drawn in zip(sets, drawn, strict=True) if is_drawn for label in each)

    def is_movable(number: int) -> bool:
        rest = (counts[label] if drawn[number] else len(photos[label]) - counts[label] for label in sets[number])
        return min(rest) > 1

    for label, numbers in photos.items():
        if len(numbers) > 1 and counts[label] in (0, len(numbers)):
            number = next(filter(is_movable, numbers), None)
            if number is not None:
                drawn[number] = not drawn[number]
                counts.update(dict.fromkeys(sets[number], 1 if drawn[number] else -1))
    return drawn
