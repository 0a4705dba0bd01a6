"""The values that the dataset doctor hands out: photos, twins, findings and the report. Imports no numpy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from zoo.data.check.header import Header
    from zoo.data.check.signature import Signature

Level = Literal["problem", "warning", "note"]
LEVELS: tuple[Level, ...] = ("problem", "warning", "note")
# By how much a part is to be kept as it is: of two photos the one in the earlier part stays.
PARTS = ("test", "val", "train")


@dataclass(frozen=True, slots=True, kw_only=True)
class Photo:
    """What was found out about one photo.

    Attributes:
        name: As its sample has it; unique within the dataset.
        part: ``"train"``, ``"val"`` or ``"test"``.
        label: Name of its class.
        source: A file, or the bytes of one.
        size: In bytes; 0 where it cannot be read.
        digest: SHA-256 of its bytes, in hex; empty where it cannot be read.
        header: None where it does not begin like an image.
        signature: By which it is recognised; None where it was not decoded, or cannot be.
        error: Why it cannot be read, or empty.
    """

    name: str
    part: str
    label: str
    source: Path | bytes
    size: int = 0
    digest: str = ""
    header: Header | None = None
    signature: Signature | None = None
    error: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Returns what tells which photo it is, fit for JSON."""
        return {"name": self.name, "part": self.part, "class": self.label}


class Pair(NamedTuple):
    """Two photos of the same.

    Attributes:
        kept: The one that would stay.
        other: The one that would go.
        distance: Bits of 128 in which their hashes differ; None for copies, equal to the byte.
    """

    kept: Photo
    other: Photo
    distance: int | None

    @property
    def exact(self) -> bool:
        """Whether the two are equal to the byte."""
        return self.distance is None

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values, fit for JSON."""
        return {"kept": self.kept.to_dict(), "other": self.other.to_dict(), "distance": self.distance}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was found.

    Attributes:
        kind: What, for programs: ``"leak"``; see docs/data.md for all.
        about: What, in a word or two: ``"test in train"``.
        level: ``"problem"``: results would be wrong, or photos are lost; ``"warning"``: they may be worse than
            expected; ``"note"``: something to know.
        text: One sentence.
        advice: What to do about it; empty where there is nothing to do.
        photos: Which ones, where it is about single photos; with what is to be told of each.
        pairs: Which ones, where it is about photos that are the same.
    """

    kind: str
    about: str
    level: Level
    text: str
    advice: str = ""
    photos: tuple[tuple[Photo, str], ...] = ()
    pairs: tuple[Pair, ...] = ()

    def to_dict(self, *, most: int | None = None) -> dict[str, Any]:
        """Returns plain values, fit for JSON.

        Args:
            most: How many photos and pairs to list; all by default.
        """
        return {
            "kind": self.kind,
            "level": self.level,
            "about": self.about,
            "text": self.text,
            "advice": self.advice,
            "count": len(self.photos) or len(self.pairs),
            "photos": [{**photo.to_dict(), "why": why} for photo, why in self.photos[:most]],
            "pairs": [pair.to_dict() for pair in self.pairs[:most]],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the dataset doctor found.

    Attributes:
        name: Of the dataset.
        counts: Photos by part and class name.
        findings: The worst first.
        photos: All photos.
        near: Whether near duplicates were looked for.
        note: What the dataset says of itself.
        seconds: How long it took.
    """

    name: str
    counts: Mapping[str, Mapping[str, int]]
    findings: tuple[Finding, ...]
    photos: tuple[Photo, ...] = field(repr=False)
    near: bool = True
    note: str = ""
    seconds: float = 0.0

    @property
    def worst(self) -> Level | None:
        """The level of the worst finding; None where there is none."""
        return next((level for level in LEVELS if self.count(level)), None)

    def count(self, level: Level) -> int:
        """Returns how many findings are of a level."""
        return sum(finding.level == level for finding in self.findings)

    def of_kind(self, *kinds: str) -> list[Finding]:
        """Returns the findings of some kinds."""
        return [finding for finding in self.findings if finding.kind in kinds]

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values, fit for JSON."""
        return {
            "name": self.name,
            "note": self.note,
            "photos": len(self.photos),
            "near": self.near,
            "counts": {part: dict(classes) for part, classes in self.counts.items()},
            "worst": self.worst,
            "seconds": round(self.seconds, 3),
            "findings": [finding.to_dict() for finding in self.findings],
        }


def are(number: int) -> str:
    """Returns ``is`` or ``are``."""
    return "is" if number == 1 else "are"


def counted(number: int, what: str) -> str:
    """Returns ``1 photo`` or ``1,200 photos``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"
