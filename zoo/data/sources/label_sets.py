"""Makes a multi-label `ImageSet` of photos and the names of their labels, and checks that the splits agree."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zoo.data.check.classes import fold_name
from zoo.data.sources.left_out import LostFile, describe_left_out, warn_of_losses
from zoo.data.sources.walk import UNLABELLED, SkippedFile, judge_suffix
from zoo.errors import DataError, did_you_mean
from zoo.plugins.specs import SPLITS, ImageSet, Sample

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path


@dataclass(slots=True, kw_only=True)
class LabelledPhoto:
    """A photo with the names of its labels.

    Attributes:
        where: Where it is listed, for messages: ``"photos.csv, line 3"``.
        file: The file.
        name: The name of its sample.
        split: ``"train"``, ``"val"`` or ``"test"``.
        labels: All different; None if the list says nothing about them.
    """

    where: str
    file: Path
    name: str
    split: str
    labels: tuple[str, ...] | None


def check_label_names(photo: LabelledPhoto) -> None:
    """Checks that a photo has no label twice, not even in two spellings.

    Raises:
        DataError: It has.
    """
    names: dict[str, str] = {}
    for label in photo.labels or ():
        other = names.get(folded := fold_name(label))
        names[folded] = label
        if other is not None:
            twice = f"'{label}' twice" if other == label else f"'{other}' and '{label}', two spellings of one"
            raise DataError(f"{photo.where}: {photo.file.name} has the label {twice}.", hint="Delete one of the two.")


def build_label_sets(
    photos: Sequence[LabelledPhoto],
    *,
    name: str,
    where: str,
    names: Collection[str] = (),
    empty_means_none: bool = True,
    strict: bool = True,
    known: Collection[str] | None = None,
) -> ImageSet:
    """Numbers the labels in the order of their names, and checks that each can be learned.

    Photos in formats that cannot be read are left out. So are those of a test split that has no labels at all.

    Args:
        photos: All photos.
        name: Of the dataset, fit for a file name.
        where: Names the data in error messages.
        names: Labels that the data declares besides those of the photos.
        empty_means_none: Whether a photo of which the list says nothing has no label; otherwise it is left out.
        strict: As in `zoo.data.sources.folder.build_image_set`.
        known: As in `zoo.data.sources.folder.build_image_set`.

    Raises:
        DataError: There are fewer than two labels, there is no training photo, or no training photo has one of the
            labels.
    """
    unlabelled = {"test"} if not empty_means_none or not _has_labels(photos, "test") else set()
    kept: list[LabelledPhoto] = []
    skipped: list[tuple[LabelledPhoto, SkippedFile]] = []
    for photo in photos:
        missing = photo.labels is None and photo.split in unlabelled
        if reason := UNLABELLED if missing else judge_suffix(photo.file.name):
            skipped.append((photo, SkippedFile(photo.file, photo.name, reason, 1)))
        else:
            kept.append(photo)
    counts = Counter((photo.split, label) for photo in kept for label in photo.labels or ())
    declared = {*names, *(label for photo in photos for label in photo.labels or ())}
    if strict and known is None:
        _check_labels(kept, skipped, counts, declared, where)
    classes = sorted(declared if known is None else {label for _, label in counts})
    numbers = {label: number for number, label in enumerate(classes)}
    samples: dict[str, list[Sample]] = {split: [] for split in SPLITS}
    for photo in sorted(kept, key=lambda photo: photo.name):
        labels = tuple(sorted(numbers[label] for label in photo.labels or ()))
        samples[photo.split].append(Sample(photo.file, labels, photo.name))
    files = [file for _, file in skipped]
    lost = (LostFile(file, photo.split, label) for photo, file in skipped for label in photo.labels or ())
    return ImageSet(
        name=name,
        classes=tuple(classes),
        train=tuple(samples["train"]),
        val=tuple(samples["val"]),
        test=tuple(samples["test"]),
        note=_describe_unlabelled(kept),
        skipped=tuple(sorted(f"{file.name}: {file.reason}" for file in files)),
        left_out=describe_left_out(files, kept=len(kept)),
        warnings=(*_warn_of_spellings(kept), *warn_of_losses(lost, counts)),
        multi_label=True,
    )


def _has_labels(photos: Sequence[LabelledPhoto], split: str) -> bool:
    return any(photo.labels is not None for photo in photos if photo.split == split)


def _check_labels(
    kept: Sequence[LabelledPhoto],
    skipped: Sequence[tuple[LabelledPhoto, SkippedFile]],
    counts: Counter[tuple[str, str]],
    names: Collection[str],
    where: str,
) -> None:
    if not any(photo.split == "train" for photo in (*kept, *(photo for photo, _ in skipped))):
        raise DataError(f"{where} lists no images of the split 'train'.", hint="The splits are train, val and test.")
    trained = [label for label in sorted(names) if counts["train", label]]
    for label in sorted({*names} - {*trained}):
        lost = [file for photo, file in skipped if photo.split == "train" and label in (photo.labels or ())]
        near = did_you_mean(label, trained)
        hint = describe_left_out(lost, kept=0) or near or "Add training photos that have it, or delete the label."
        first = next((photo for photo in kept if label in (photo.labels or ())), None)
        if first is None:
            raise DataError(f"{where}: no photo has the label '{label}'.", hint=hint)
        raise DataError(f"{first.where}: no training photo has the label '{label}' of {first.split}.", hint=hint)
    if len(names) < 2:
        found = f"only '{min(names)}'" if names else "none"
        raise DataError(
            f"{where}: multi-label data needs at least two labels, but there is {found}.",
            hint="For a single yes or no, use two classes: a column 'label' with two different values.",
        )


def _warn_of_spellings(photos: Sequence[LabelledPhoto]) -> Iterator[str]:
    """Yields a warning for labels that differ only in case, spaces or dashes."""
    first: dict[str, LabelledPhoto] = {}
    for photo in photos:
        for label in photo.labels or ():
            first.setdefault(label, photo)
    spellings: dict[str, list[str]] = {}
    for label in first:
        spellings.setdefault(fold_name(label), []).append(label)
    for labels in spellings.values():
        if len(labels) > 1:
            listed = " and ".join(f"'{label}' ({first[label].where})" for label in labels)
            yield f"{listed} differ only in case, spaces or dashes, and count as separate labels."


def _describe_unlabelled(photos: Sequence[LabelledPhoto]) -> str:
    count = sum(not photo.labels for photo in photos)
    verb = "has" if count == 1 else "have"
    return f"{count:,} of {len(photos):,} photos {verb} no label." if count else ""
