"""Reads photos from class folders, with or without train, val and test folders above them."""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from zoo.data.images.formats import advise, describe_unreadable, has_image_suffix, unreadable_format
from zoo.data.sources.held_out import refuse_held_out
from zoo.data.sources.layout import LAYOUTS, find_layout
from zoo.data.sources.left_out import LostFile, describe_left_out, select_unreadable, warn_of_losses
from zoo.data.sources.walk import FOLDER_LINK, HIDDEN, PhotoWalk
from zoo.errors import DataError, ImageError, close_matches
from zoo.plugins.specs import ImageSet, Sample
from zoo.utils.paths import parse_path

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from zoo.data.sources.walk import SkippedFile

# By split and class name: the files, each with the name of its sample.
LabelledFiles = dict[str, dict[str, list[tuple[Path, str]]]]


def read_folder(path: Path, *, strict: bool = True, known: Collection[str] | None = None) -> ImageSet:
    """Reads class folders (all photos become `train`), or train, val and test folders that contain class folders.

    Images may be at any depth below a class folder. Split folders may have many names, in any case and in several
    languages (see `zoo.data.sources.split_names`), and may also be inside the class folders. Classes are sorted, and
    matched across splits by name. What `zoo.data.sources.walk` leaves out is listed in `ImageSet.skipped`; links to
    folders are not followed. Photos without labels, as in Kaggle's test folders, are left out with a note.

    Args:
        path: The folder.
        strict: As in `build_image_set`.
        known: As in `build_image_set`.

    Raises:
        DataError: The folder does not exist, has no class folders or has an unsupported layout; or `build_image_set`
            refuses its content.
    """
    root = parse_path(path).resolve()
    if not root.is_dir():
        reason = "is not a folder" if root.exists() else "does not exist"
        raise DataError(f"The folder {path} {reason}.", hint="Check the path passed as data.")
    walk = PhotoWalk(root)
    layout = find_layout(walk, known=known)
    labelled: LabelledFiles = {split: {} for split in layout.folders}
    owners: dict[Path, tuple[str, str]] = {}
    for split, classes in layout.folders.items():
        for label, folders in classes.items():
            photos = [photo for folder in folders for photo in walk.photos(folder)]
            for folder in folders:
                owners[folder] = split, label
                refuse_held_out(walk, folder)
            labelled[split][label] = [(photo, walk.name(photo)) for photo in photos]
    skipped = [_find_owner(file, owners, layout.parents) for file in walk.skipped]
    images = build_image_set(
        name=slugify(root.name), labelled=labelled, skipped=skipped, where=str(path), strict=strict, known=known
    )
    return dataclasses.replace(images, note=" ".join(layout.notes), warnings=(*layout.warnings, *images.warnings))


def build_image_set(
    *,
    name: str,
    labelled: LabelledFiles,
    skipped: Iterable[LostFile],
    where: str,
    strict: bool = True,
    known: Collection[str] | None = None,
) -> ImageSet:
    """Numbers the classes in the order of their names and checks that the splits agree.

    Args:
        name: Of the dataset, fit for a file name.
        labelled: By split and class name: the files, each with the name of its sample.
        skipped: The files that were left out.
        where: Names the data in error messages.
        strict: Whether to refuse data that cannot be trained on. Otherwise the classes are those of all splits, and
            some may have no images.
        known: The classes of a trained model, if the photos are only to be evaluated. Then any number of classes will
            do, and those without images do not count.

    Raises:
        DataError: There are fewer than two classes, a class is empty, or `train` lacks a class.
    """
    skipped = tuple(skipped)
    if known is not None:
        labelled = {split: {label: files for label, files in each.items() if files} for split, each in labelled.items()}
    train_decides = strict and known is None
    names = labelled["train"] if train_decides else {label for images in labelled.values() for label in images}
    numbers = {label: number for number, label in enumerate(sorted(names))}
    if train_decides:
        _check(labelled, numbers, where, skipped)
    samples = {
        split: tuple(
            Sample(file, numbers[label], sample_name)
            for label in sorted(images)
            for file, sample_name in sorted(images[label], key=lambda image: image[1])
        )
        for split, images in labelled.items()
    }
    counts = {(split, label): len(files) for split, images in labelled.items() for label, files in images.items()}
    return ImageSet(
        name=name,
        classes=tuple(numbers),
        train=samples.get("train", ()),
        val=samples.get("val", ()),
        test=samples.get("test", ()),
        skipped=tuple(sorted(f"{lost.file.name}: {lost.file.reason}" for lost in skipped)),
        left_out=describe_left_out((lost.file for lost in skipped), kept=sum(counts.values())),
        warnings=tuple(warn_of_losses(skipped, counts)),
    )


def _find_owner(file: SkippedFile, owners: Mapping[Path, tuple[str, str]], parents: Mapping[Path, str]) -> LostFile:
    """Returns a file that was left out with the split and the class that it would belong to."""
    for outer in file.path.parents:
        if outer in owners:
            return LostFile(file, *owners[outer])
    if file.path.parent in parents and file.reason in (FOLDER_LINK, HIDDEN) and not has_image_suffix(file.name):
        return LostFile(file, parents[file.path.parent], file.path.name)
    return LostFile(file)


class FoundPhotos(NamedTuple):
    """The photos in a folder, without labels.

    Attributes:
        photos: All that can be read, sorted by path.
        left_out: As in `ImageSet`.
        unreadable: Photos that are left out because of their format, each with its error.
        errors: The subfolders that cannot be read.
    """

    photos: list[Path]
    left_out: str
    unreadable: dict[Path, ImageError]
    errors: list[DataError]


def list_photos(folder: Path) -> FoundPhotos:
    """Returns the photos at any depth below a folder, found as those for training are.

    Raises:
        DataError: The folder itself cannot be read.
    """
    walk = PhotoWalk(folder, tolerant=True)
    photos = sorted(walk.photos(folder))
    left_out = describe_left_out(walk.skipped, kept=len(photos))
    unreadable = {file.path: _format_error(file.path) for file in select_unreadable(walk.skipped)}
    return FoundPhotos(photos, left_out, unreadable, walk.unreadable)


def _format_error(photo: Path) -> ImageError:
    kind = unreadable_format(photo.name)
    return ImageError(f"{photo}: {describe_unreadable(kind)}.", hint=advise(kind))


def slugify(name: str) -> str:
    """Returns a name that is fit for a file name: ``"My Photos (1)"`` becomes ``"my-photos-1"``."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9_]+", "-", plain).strip("-")[:40].strip("-") or "data"


def _check(labelled: LabelledFiles, numbers: Mapping[str, int], where: str, skipped: Sequence[LostFile]) -> None:
    for split, images in labelled.items():
        _check_split(split, images, numbers, where, skipped)
    if len(numbers) < 2:
        raise DataError(f"{where}: a classifier needs two classes, but there is only '{min(numbers)}'.", hint=LAYOUTS)


def _check_split(
    split: str,
    images: Mapping[str, list[tuple[Path, str]]],
    known: Mapping[str, int],
    where: str,
    skipped: Sequence[LostFile],
) -> None:
    for label, files in sorted(images.items()):
        if label not in known:
            near = close_matches(label, known, limit=1)
            hint = f"Did you mean '{near[0]}'?" if near else f"The classes of train: {', '.join(list(known)[:20])}."
            raise DataError(f"{where}: {split} has the class '{label}', which train lacks.", hint=hint)
        if not files:
            files_left_out = (lost.file for lost in skipped if (lost.split, lost.label) == (split, label))
            hint = describe_left_out(files_left_out, kept=0) or "Put images there, or delete the folder."
            raise DataError(
                f"{where}: the class '{label}' has no images in {split}.",
                hint=hint,
            )
