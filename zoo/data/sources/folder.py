"""Reads photos from class folders, with or without train, val and test folders above them."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import DataError, close_matches
from zoo.plugins.specs import ImageSet, Sample
from zoo.utils.paths import parse_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

# By folder name, or by the value of a CSV column, in lower case.
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
IMAGE_SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .gif .webp .avif .bmp .dib .tif .tiff .ppm .pgm .pbm .pnm .jp2 .tga .ico".split()  # noqa: SIM905
)
LAYOUTS = (
    "Supported layouts: class folders (PATH/cat/1.jpg, PATH/dog/2.jpg), class folders below train, val and test "
    "(PATH/train/cat/1.jpg), and a CSV file of path,label."
)
# By split and class name: the files, each with the name of its sample.
LabelledFiles = dict[str, dict[str, list[tuple[Path, str]]]]


def read_folder(path: Path, *, strict: bool = True) -> ImageSet:
    """Reads class folders (all photos become `train`), or train, val and test folders that contain class folders.

    Images may be at any depth below a class folder. The split folders may also be named training, valid, validation
    and testing, in any case. Classes are sorted, and matched across splits by name. Hidden files, files without an
    image suffix, and links that point outside the folder are skipped and listed in `ImageSet.skipped`; links to folders
    are not followed.

    Args:
        path: The folder.
        strict: As in `build_image_set`.

    Raises:
        DataError: The folder does not exist, has no class folders or has an unsupported layout; or `build_image_set`
            refuses its content.
    """
    root = parse_path(path).resolve()
    if not root.is_dir():
        reason = "is not a folder" if root.exists() else "does not exist"
        raise DataError(f"The folder {path} {reason}.", hint="Check the path passed as data.")
    walk = _Walk(root)
    files, folders = walk.children(root)
    splits = _find_splits(root, folders)
    if splits:
        walk.skip_all(files)
        _refuse_mixture(walk, [folder for folder in folders if folder not in splits.values()], splits["train"])
        labelled = {split: _read_classes(walk, folder, *walk.children(folder)) for split, folder in splits.items()}
    else:
        _refuse_wrapper(walk, files, folders)
        labelled = {"train": _read_classes(walk, root, files, folders)}
    return build_image_set(
        name=slugify(root.name), labelled=labelled, skipped=walk.skipped, where=str(path), strict=strict
    )


def build_image_set(
    *, name: str, labelled: LabelledFiles, skipped: Iterable[str], where: str, strict: bool = True
) -> ImageSet:
    """Numbers the classes in the order of their names and checks that the splits agree.

    Args:
        name: Of the dataset, fit for a file name.
        labelled: By split and class name: the files, each with the name of its sample.
        skipped: The files that were left out, each with a reason.
        where: Names the data in error messages.
        strict: Whether to refuse data that cannot be trained on. Otherwise the classes are those of all splits, and
            some may have no images.

    Raises:
        DataError: There are fewer than two classes, a class is empty, or `train` lacks a class.
    """
    known = labelled["train"] if strict else {label for images in labelled.values() for label in images}
    numbers = {label: number for number, label in enumerate(sorted(known))}
    if strict:
        _check(labelled, numbers, where)
    samples = {
        split: tuple(
            Sample(file, numbers[label], sample_name)
            for label in sorted(images)
            for file, sample_name in sorted(images[label], key=lambda image: image[1])
        )
        for split, images in labelled.items()
    }
    return ImageSet(
        name=name,
        classes=tuple(numbers),
        train=samples["train"],
        val=samples.get("val", ()),
        test=samples.get("test", ()),
        skipped=tuple(sorted(skipped)),
    )


def slugify(name: str) -> str:
    """Returns a name that is fit for a file name: ``"My Photos (1)"`` becomes ``"my-photos-1"``."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9_]+", "-", plain).strip("-")[:40].strip("-") or "data"


def escape_undecodable(name: str) -> str:
    """Returns a file name as valid text, with bytes that are not UTF-8 as escape sequences."""
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")


class _Walk:
    """Walks below one folder and records what it skips."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.skipped: list[str] = []

    def children(self, folder: Path) -> tuple[list[Path], list[Path]]:
        """Returns the visible files and folders in a folder."""
        files: list[Path] = []
        folders: list[Path] = []
        try:
            with os.scandir(folder) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    child = folder / entry.name
                    if reason := self._reason_to_skip(entry, child):
                        self._skip(child, reason)
                    else:
                        (folders if entry.is_dir() else files).append(child)
        except OSError as error:
            raise DataError(f"{folder} cannot be read ({error.strerror}).", hint="Check its permissions.") from None
        return files, folders

    def images(self, folder: Path) -> Iterator[Path]:
        """Yields the images at any depth below a folder."""
        files, folders = self.children(folder)
        for file in files:
            if _has_image_suffix(file):
                yield file
            else:
                self._skip(file, "not an image")
        for inner in folders:
            yield from self.images(inner)

    def name(self, path: Path) -> str:
        return escape_undecodable(path.relative_to(self.root).as_posix())

    def skip_all(self, files: Iterable[Path]) -> None:
        for file in files:
            self._skip(file, "outside the class folders" if _has_image_suffix(file) else "not an image")

    def _reason_to_skip(self, entry: os.DirEntry[str], child: Path) -> str:
        # macOS adds __MACOSX to its archives, with a hidden companion of every file.
        if entry.name.startswith(".") or entry.name == "__MACOSX":
            return "hidden"
        if entry.is_symlink():
            if entry.is_dir():
                return "a link to a folder"
            if not child.resolve().is_relative_to(self.root):
                return "a link that points outside the folder"
        return "" if entry.is_dir() or entry.is_file() else "not a file"

    def _skip(self, path: Path, reason: str) -> None:
        self.skipped.append(f"{self.name(path)}: {reason}")


def _has_image_suffix(file: Path) -> bool:
    return file.suffix.lower() in IMAGE_SUFFIXES


def _find_splits(root: Path, folders: Iterable[Path]) -> dict[str, Path]:
    """Returns the train, val and test folders, in this order; empty if the root has none of them."""
    splits: dict[str, Path] = {}
    for folder in folders:
        split = SPLIT_NAMES.get(folder.name.lower(), "")
        if split in splits:
            names = f"'{splits[split].name}' and '{folder.name}'"
            raise DataError(f"{root}: {names} are both the {split} split.", hint="Keep one of the two.")
        if split:
            splits[split] = folder
    if splits and "train" not in splits:
        names = ", ".join(folder.name for folder in splits.values())
        raise DataError(f"{root} contains {names}, but no train folder.", hint=LAYOUTS)
    return {split: splits[split] for split in ("train", "val", "test") if split in splits}


def _refuse_mixture(walk: _Walk, others: Iterable[Path], train: Path) -> None:
    for folder in others:
        for image in walk.images(folder):
            raise DataError(
                f"{walk.root} contains a {train.name} folder and, beside it, images in '{folder.name}' ({image.name}).",
                hint=f"Move class folders into {train.name}/, or list path,label in a CSV file.",
            )


def _refuse_wrapper(walk: _Walk, files: Iterable[Path], folders: list[Path]) -> None:
    """Refuses a folder whose only content is the folder with the data, as some archives unpack to."""
    if len(folders) == 1 and not any(map(_has_image_suffix, files)):
        inner = [folder.name for folder in _Walk(walk.root).children(folders[0])[1]]
        if len(inner) > 1 or {name.lower() for name in inner} & SPLIT_NAMES.keys():
            raise DataError(
                f"{walk.root} contains only the folder '{folders[0].name}', which contains {', '.join(inner[:5])}.",
                hint=f"Did you mean {folders[0]}?",
            )


def _read_classes(
    walk: _Walk, folder: Path, files: list[Path], classes: list[Path]
) -> dict[str, list[tuple[Path, str]]]:
    """Returns the images of each class folder of one split."""
    direct = [file for file in files if _has_image_suffix(file)]
    if not classes:
        content = f"{len(direct)} images ({direct[0].name}, ...)" if direct else "no images"
        raise DataError(f"{folder} contains {content} and no class folders.", hint=LAYOUTS)
    walk.skip_all(files)
    labelled: dict[str, list[tuple[Path, str]]] = {}
    for inner in classes:
        # macOS writes names in another Unicode form than Linux: one class must not become two.
        label = escape_undecodable(unicodedata.normalize("NFC", inner.name))
        labelled.setdefault(label, []).extend((image, walk.name(image)) for image in walk.images(inner))
    return labelled


def _check(labelled: LabelledFiles, numbers: Mapping[str, int], where: str) -> None:
    for split, images in labelled.items():
        _check_split(split, images, numbers, where)
    if len(numbers) < 2:
        raise DataError(f"{where}: a classifier needs two classes, but there is only '{min(numbers)}'.", hint=LAYOUTS)


def _check_split(
    split: str, images: Mapping[str, list[tuple[Path, str]]], known: Mapping[str, int], where: str
) -> None:
    for label, files in sorted(images.items()):
        if label not in known:
            near = close_matches(label, known, limit=1)
            hint = f"Did you mean '{near[0]}'?" if near else f"The classes of train: {', '.join(list(known)[:20])}."
            raise DataError(f"{where}: {split} has the class '{label}', which train lacks.", hint=hint)
        if not files:
            hint = "Put images there, or delete the folder."
            raise DataError(f"{where}: the class '{label}' has no images in {split}.", hint=hint)
