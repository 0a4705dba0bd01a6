"""Groups photos that must be in the same fold: those of a group, and duplicates, which would vouch for each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from zoo.data.check.report import DuplicatePair
    from zoo.plugins.specs import Sample


def join_groups(samples: Sequence[Sample], pairs: Iterable[DuplicatePair]) -> tuple[str, ...]:
    """Returns a group for each photo; empty for a photo that is alone.

    Args:
        samples: The photos.
        pairs: Duplicates and near duplicates: each pair is in one group, with the groups of both.
    """
    parents: dict[str, str] = {}

    def find(key: str) -> str:
        while (parent := parents.setdefault(key, key)) != key:
            parents[key] = key = parents[parent]
        return key

    for sample in samples:
        if sample.group:
            parents[find(f"photo {sample.name}")] = find(f"group {sample.group}")
    for pair in pairs:
        parents[find(f"photo {pair.original.name}")] = find(f"photo {pair.duplicate.name}")
    return tuple(find(key) if (key := f"photo {sample.name}") in parents else "" for sample in samples)
