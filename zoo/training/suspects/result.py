"""The suspects of a dataset: ranked, as text, as a sheet of photos, and as lists that training takes."""

from __future__ import annotations

import functools
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from zoo.data.check.suspect import Suspect
from zoo.data.sources.corrections import Correction, write_corrections
from zoo.data.sources.exclusions import Exclusion, write_exclusions
from zoo.utils.paths import parse_path

if TYPE_CHECKING:
    import os
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from zoo.metrics.label_errors import LabelJudgement
    from zoo.plugins.specs import Sample

_SHOWN = 10  # suspects that a notebook shows


@dataclass(frozen=True, kw_only=True)
class Suspects:
    """The result of `zoo.find_suspects`.

    Attributes:
        name: Name of the dataset.
        backbone: Whose features were used.
        classes: Class names, in the order of the labels.
        samples: The N photos that were judged, of all splits.
        splits: The split of each.
        probabilities: float64 ``(N, C)``: each photo as predicted without it, its group and its near duplicates.
        judgement: What they say about the labels.
        unjudged: Number of photos that could not be held out, because no other group has their class.
        seconds: How long it took.
    """

    name: str
    backbone: str
    classes: tuple[str, ...]
    samples: tuple[Sample, ...] = field(repr=False)
    splits: tuple[str, ...] = field(repr=False)
    probabilities: NDArray[np.float64] = field(repr=False)
    judgement: LabelJudgement = field(repr=False)
    unjudged: int = 0
    seconds: float = 0.0

    @functools.cached_property
    def ranking(self) -> tuple[Suspect, ...]:
        """All photos, the most suspicious first; the last ones are above suspicion."""
        order = self.judgement.order.tolist()
        return tuple(self._describe(row, rank) for rank, row in enumerate(order, start=1))

    @property
    def suspects(self) -> tuple[Suspect, ...]:
        """The photos whose labels are probably wrong, the most suspicious first."""
        return self.ranking[: self.judgement.count]

    def counts(self) -> dict[str, tuple[int, int]]:
        """Returns the number of suspects and that of all photos of each split."""
        suspects, photos = Counter(each.split for each in self.suspects), Counter(self.splits)
        return {split: (suspects[split], total) for split, total in photos.items()}

    def write_sheet(self, path: str | os.PathLike[str], *, count: int = 24) -> Path:
        """Writes a sheet of the first suspects as PNG: each photo with what it looks like and its label.

        Raises:
            RunError: The file cannot be written.
        """
        from zoo.report.suspects import write_suspects  # matplotlib takes a second

        total = len(self.suspects)
        return write_suspects(
            parse_path(path), self.suspects[:count], title=f"{self.name}: labels that may be wrong", total=total
        )

    def write_exclusions(self, path: str | os.PathLike[str]) -> Path:
        """Writes a list of the suspects that ``--exclude`` takes: of those that stay on it, none is trained on.

        Raises:
            DataError: There is such a file, and it is not an exclusion list.
            RunError: The file cannot be written.
        """
        rows = [Exclusion(each.name, each.split, each.label, each.reason) for each in self.suspects]
        return write_exclusions(parse_path(path), rows)

    def write_corrections(self, path: str | os.PathLike[str]) -> Path:
        """Writes the suspects with the classes that they look like, as ``--labels`` takes them.

        Raises:
            DataError: There is such a file, and it has no corrections.
            RunError: The file cannot be written.
        """
        rows = [Correction(each.name, each.suggested, each.split, each.label, each.reason) for each in self.suspects]
        return write_corrections(parse_path(path), rows)

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values, fit for JSON; of the photos, the suspects."""
        return {
            "name": self.name,
            "backbone": self.backbone,
            "photos": len(self.samples),
            "unjudged": self.unjudged,
            "estimated_errors": round(self.judgement.estimated_errors, 1),
            "splits": {split: {"suspects": few, "photos": all_} for split, (few, all_) in self.counts().items()},
            "suspects": [each.to_dict() for each in self.suspects],
            "seconds": round(self.seconds, 3),
        }

    def _describe(self, row: int, rank: int) -> Suspect:
        sample, suggested = self.samples[row], int(self.judgement.suggested[row])
        label = sample.labels[0]
        return Suspect(
            rank=rank,
            sample=sample,
            split=self.splits[row],
            label=self.classes[label],
            suggested=self.classes[suggested],
            label_probability=float(self.probabilities[row, label]),
            suggested_probability=float(self.probabilities[row, suggested]),
        )

    def _repr_html_(self) -> str:
        from zoo.utils.markup import block, heading, line, table

        rows = [(each.rank, each.name, each.split, each.reason) for each in self.suspects[:_SHOWN]]
        more = len(self.suspects) - len(rows)
        return block(
            heading(self.name, f"{len(self.suspects):,} of {len(self.samples):,} labels may be wrong"),
            table(("rank", "photo", "split", "reason"), rows, right=(0,)),
            *([line(f"and {more:,} more")] if more else []),
        )
