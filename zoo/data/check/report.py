"""The results of the data check: photos, duplicate pairs, findings and the report. Does not import NumPy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from zoo.plugins.specs import NO_LABEL

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from zoo.data.check.header import Header
    from zoo.data.check.perceptual_hash import PerceptualHash

Level = Literal["problem", "warning", "note"]
LEVELS: tuple[Level, ...] = ("problem", "warning", "note")
# By how important it is to keep a split unchanged: of two duplicates the one in the earlier split stays.
SPLITS = ("test", "val", "train")


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedPhoto:
    """A photo and what the check knows about it.

    Attributes:
        name: Name of its sample, unique within the dataset.
        split: ``"train"``, ``"val"`` or ``"test"``.
        labels: Names of its labels: that of its class, or in multi-label data any number of them.
        source: A file, or the bytes of one.
        size: In bytes; 0 if it cannot be read.
        digest: SHA-256 of its bytes, in hex; empty if it cannot be read.
        header: None if it does not start like an image.
        perceptual_hash: None if it was not decoded, cannot be, or is nearly one even colour.
        error: Why it cannot be read, or empty.
    """

    name: str
    split: str
    labels: tuple[str, ...]
    source: Path | bytes
    size: int = 0
    digest: str = ""
    header: Header | None = None
    perceptual_hash: PerceptualHash | None = None
    error: str = ""

    @property
    def label(self) -> str:
        """The labels for readers: ``"fish"``, ``"fish, shark"``, ``"no label"``."""
        return ", ".join(self.labels) or NO_LABEL

    def to_dict(self) -> dict[str, Any]:
        """Returns what identifies the photo, fit for JSON."""
        return {"name": self.name, "split": self.split, "class": self.label, "labels": list(self.labels)}


class DuplicatePair(NamedTuple):
    """Two photos with the same content.

    Attributes:
        original: The one in the more important split.
        duplicate: The other one.
        distance: From 0 to 128, of their hashes; None for identical files.
        turned: Whether they look the same only if one is mirrored or turned.
    """

    original: CheckedPhoto
    duplicate: CheckedPhoto
    distance: int | None
    turned: bool = False

    @property
    def exact(self) -> bool:
        """Whether the files are identical."""
        return self.distance is None

    @property
    def two_labels(self) -> bool:
        """Whether they are in different classes, or have different sets of labels."""
        return self.original.labels != self.duplicate.labels

    @property
    def turned_label(self) -> bool:
        """Whether they are in different classes, but only look the same if one is mirrored or turned.

        A left arrow is a mirrored right arrow: such photos may have two right labels.
        """
        return self.turned and self.two_labels

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values, fit for JSON."""
        return {
            "original": self.original.to_dict(),
            "duplicate": self.duplicate.to_dict(),
            "distance": self.distance,
            "turned": self.turned,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFinding:
    """A single finding about a dataset.

    Attributes:
        kind: For programs: ``"leak"``; docs/data.md lists all kinds.
        about: A short title: ``"test in train"``.
        level: ``"problem"``: results would be wrong, or photos are lost; ``"warning"``: results may be worse than
            expected; ``"note"``: for information.
        text: One or two sentences.
        advice: What to do about it, or empty.
        photos: The photos in question, each with a remark, if the finding is about single photos.
        pairs: The pairs in question, if the finding is about duplicates.
    """

    kind: str
    about: str
    level: Level
    text: str
    advice: str = ""
    photos: tuple[tuple[CheckedPhoto, str], ...] = ()
    pairs: tuple[DuplicatePair, ...] = ()

    def to_dict(self, *, most: int | None = None) -> dict[str, Any]:
        """Returns plain values, fit for JSON.

        Args:
            most: Maximum number of photos and pairs to include; all by default.
        """
        return {
            "kind": self.kind,
            "level": self.level,
            "about": self.about,
            "text": self.text,
            "advice": self.advice,
            "count": len(self.photos) or len(self.pairs),
            "photos": [{**photo.to_dict(), "why": remark} for photo, remark in self.photos[:most]],
            "pairs": [pair.to_dict() for pair in self.pairs[:most]],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class DataReport:
    """The result of a data check.

    Attributes:
        name: Name of the dataset.
        counts: Number of photos by split and class name; a photo with several labels counts for each.
        findings: The most severe first.
        photos: All photos.
        multi_label: Whether a photo may have several labels, or none.
        near: Whether the check looked for near duplicates.
        note: The note of the dataset.
        seconds: Duration of the check.
    """

    name: str
    counts: Mapping[str, Mapping[str, int]]
    findings: tuple[DataFinding, ...]
    photos: tuple[CheckedPhoto, ...] = field(repr=False)
    multi_label: bool = False
    near: bool = True
    note: str = ""
    seconds: float = 0.0

    @property
    def worst(self) -> Level | None:
        """The level of the most severe finding; None without findings."""
        return next((level for level in LEVELS if self.count(level)), None)

    def count(self, level: Level) -> int:
        """Returns the number of findings of a level."""
        return sum(finding.level == level for finding in self.findings)

    def count_table(self) -> list[tuple[str, list[int]]]:
        """Returns the number of photos of each class by split, of multi-label data also of photos without a label."""
        names = list(next(iter(self.counts.values()), {}))
        rows = [(name, [counts[name] for counts in self.counts.values()]) for name in names]
        unlabelled = [sum(photo.split == split and not photo.labels for photo in self.photos) for split in self.counts]
        return [*rows, (NO_LABEL, unlabelled)] if any(unlabelled) else rows

    def of_kind(self, *kinds: str) -> list[DataFinding]:
        """Returns the findings of some kinds."""
        return [finding for finding in self.findings if finding.kind in kinds]

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values, fit for JSON."""
        return {
            "name": self.name,
            "note": self.note,
            "photos": len(self.photos),
            "multi_label": self.multi_label,
            "near": self.near,
            "counts": {split: dict(classes) for split, classes in self.counts.items()},
            "worst": self.worst,
            "seconds": round(self.seconds, 3),
            "findings": [finding.to_dict() for finding in self.findings],
        }


def is_or_are(number: int) -> str:
    """Returns ``is`` or ``are``."""
    return "is" if number == 1 else "are"


def format_count(number: int, noun: str) -> str:
    """Returns ``1 photo`` or ``1,200 photos``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
