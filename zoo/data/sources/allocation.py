"""Divides groups of photos among splits or folds: each group as a whole, and each class as evenly as possible.

The groups are placed one by one, large ones first, where they bring the classes closest to their shares; then single
groups are moved while that helps. The idea is that of scikit-learn's StratifiedGroupKFold, for parts of any size.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

PHOTOS = -1  # counts the photos of a group beside its labels, so that the parts get their share of photos, too
_ROUNDS = 10  # of moving groups
_TOLERANCE = 1e-12


def count_labels(labels: Iterable[Iterable[int]]) -> Counter[int]:
    """Returns how many photos of a group have each label, and under `PHOTOS` how many there are.

    Args:
        labels: The labels of each photo.
    """
    counts: Counter[int] = Counter()
    for each in labels:
        counts.update((PHOTOS, *each))
    return counts


def find_lone_groups(groups: Sequence[Counter[int]]) -> dict[int, int]:
    """Returns the labels that only one group has, each with the number of that group."""
    owners = _find_owners(groups)
    return {label: numbers[0] for label, numbers in owners.items() if len(numbers) == 1 and label != PHOTOS}


def allocate(groups: Sequence[Counter[int]], shares: Sequence[float], *, fixed: Collection[int] = ()) -> list[int]:
    """Returns the part that each group goes to: a number from 0.

    A label that several groups have is in two parts at least, unless that is impossible without splitting a group.

    Args:
        groups: The counts of each group (`count_labels`). Of groups that are equally large, the order decides.
        shares: The share of each part, which sum to one.
        fixed: Numbers of groups that go to the first part.
    """
    parts = _Parts(groups, shares)
    for number in fixed:
        parts.place(number, 0)
    # Groups of about the same size come in the given order, so that seeds give different results.
    movable = [number for number in range(len(groups)) if number not in fixed]
    movable.sort(key=lambda number: -groups[number][PHOTOS].bit_length())
    for number in movable:
        parts.place(number, parts.find_best(number))
    for label in sorted(parts.owners, key=lambda label: len(parts.owners[label])):
        parts.spread(label, set(movable))
    for _ in range(_ROUNDS):
        if not parts.improve(movable):
            break
    return parts.part_of


def allocate_folds(groups: Sequence[Counter[int]], folds: int) -> list[int]:
    """Returns the fold of each group: a number from 0, or -1 for the only group of a label, which is never held out.

    Args:
        groups: As for `allocate`.
        folds: The number of folds, which have equal shares.
    """
    lone = set(find_lone_groups(groups).values())
    movable = [number for number in range(len(groups)) if number not in lone]
    fold_of = [-1] * len(groups)
    for number, part in zip(movable, allocate([groups[each] for each in movable], [1 / folds] * folds), strict=True):
        fold_of[number] = part
    return fold_of


class _Parts:
    """An allocation. Its cost is the sum of squared deviations from the shares, relative to the photos of a label."""

    def __init__(self, groups: Sequence[Counter[int]], shares: Sequence[float]) -> None:
        self.owners = _find_owners(groups)
        self.part_of = [-1] * len(groups)
        self._groups, self._shares = groups, shares
        self._totals: Counter[int] = Counter()
        for group in groups:
            self._totals.update(group)
        self._filled: list[Counter[int]] = [Counter() for _ in shares]

    def place(self, number: int, part: int) -> None:
        """Puts a group into a part, out of the one in which it is."""
        if self.part_of[number] >= 0:
            self._filled[self.part_of[number]].subtract(self._groups[number])
        self._filled[part].update(self._groups[number])
        self.part_of[number] = part

    def find_best(self, number: int) -> int:
        """Returns the part in which a group costs least."""
        return min(range(len(self._shares)), key=lambda part: self._cost(number, part))

    def spread(self, label: int, movable: Collection[int]) -> None:
        """Moves a group with a label if all groups that have it are in one part, but not at the cost of another label.

        Args:
            label: The label.
            movable: The groups that may be moved.
        """
        owners = self.owners[label]
        if len(owners) < 2 or len({self.part_of[owner] for owner in owners}) > 1:
            return
        moves = [
            (self._change(owner, part), owner, part)
            for owner in owners
            if owner in movable
            for part in range(len(self._shares))
            if part != self.part_of[owner] and self._keeps_spread(owner, part)
        ]
        if moves:
            _, owner, part = min(moves)
            self.place(owner, part)

    def improve(self, movable: Sequence[int]) -> bool:
        """Moves single groups if that lowers the cost; returns whether any was moved."""
        moved = False
        for number in movable:
            best = min(range(len(self._shares)), key=lambda part, number=number: self._change(number, part))  # type: ignore[misc]
            if self._change(number, best) < -_TOLERANCE and self._keeps_spread(number, best):
                self.place(number, best)
                moved = True
        return moved

    def _keeps_spread(self, number: int, target: int) -> bool:
        """Returns whether every label of a group that is in two parts stays in two parts when the group moves."""
        for label in self._groups[number]:
            owners = self.owners[label]
            others = {self.part_of[owner] for owner in owners if owner != number}
            if len(others) == 1 and others == {target} and self.part_of[number] != target:
                return False
        return True

    def _change(self, number: int, part: int) -> float:
        """Returns how much the cost changes when a group moves to a part."""
        current = self.part_of[number]
        return 0.0 if part == current else self._cost(number, part) - self._cost(number, current, placed=True)

    def _cost(self, number: int, part: int, *, placed: bool = False) -> float:
        """Returns what a group adds to the cost of a part, up to a constant that is the same for all parts."""
        filled, share, cost = self._filled[part], self._shares[part], 0.0
        for label, count in self._groups[number].items():
            others = filled[label] - count if placed else filled[label]
            cost += count * (2 * others + count) / (share * self._totals[label] ** 2)
        return cost


def _find_owners(groups: Sequence[Counter[int]]) -> dict[int, list[int]]:
    """Returns the numbers of the groups that have each label."""
    owners: dict[int, list[int]] = {}
    for number, group in enumerate(groups):
        for label in group:
            owners.setdefault(label, []).append(number)
    return owners
