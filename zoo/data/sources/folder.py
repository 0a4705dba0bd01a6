"""Reads photos that lie in class folders, with or without train, val and test folders above them."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import DataError, close_matches
from zoo.plugins.specs import ImageSet, Sample
from zoo.utils.paths import typed_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

PARTS = {
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
    "Understood are class folders (PATH/cat/1.jpg, PATH/dog/2.jpg), the same below train, val and test "
    "(PATH/train/cat/1.jpg), and a CSV file of path,label."
)
# By part and class name: the files, and what to call them.
Labelled = dict[str, dict[str, list[tuple[Path, str]]]]


def read_folder(path: Path, *, strict: bool = True) -> ImageSet:
    """Reads class folders alone (all of it becomes `train`), or train, val and test folders that hold class folders.

    Images are found at any depth below a class folder. The parts may also be called training, valid, validation and
    testing, in any case. Classes are matched between the parts by name, in sorted order. Hidden files, files that are
    no images by their suffix, and links that lead out of the folder are left out and listed in `ImageSet.skipped`;
    linked folders are not entered.

    Args:
        path: Of the folder.
        strict: As in `build`.

    Raises:
        DataError: No such folder, no class folders, or a layout that is not understood; and what `build` refuses.
    """
    root = typed_path(path).resolve()
    if not root.is_dir():
        reason = "is not a folder" if root.exists() else "does not exist"
        raise DataError(f"The folder {path} {reason}.", hint="Check the path given as data.")
    walk = _Walk(root)
    files, folders = walk.children(root)
    parts = _parts(root, folders)
    if parts:
        walk.skip_all(files)
        _refuse_mixture(walk, [folder for folder in folders if folder not in parts.values()], parts["train"])
        labelled = {part: _classes(walk, folder, *walk.children(folder)) for part, folder in parts.items()}
    else:
        _refuse_wrapper(walk, files, folders)
        labelled = {"train": _classes(walk, root, files, folders)}
    return build(name=slug(root.name), labelled=labelled, skipped=walk.skipped, where=str(path), strict=strict)


def build(*, name: str, labelled: Labelled, skipped: Iterable[str], where: str, strict: bool = True) -> ImageSet:
    """Numbers the classes by name and checks that the parts agree.

    Args:
        name: Of the set, fit for a file name.
        labelled: By part and class name: the files, and what to call them.
        skipped: What was left out.
        where: What to call the data in messages.
        strict: Whether to refuse what cannot be trained on. If not, the classes are those of all parts together, and
            some may be without images.

    Raises:
        DataError: Fewer than two classes, an empty class, or a class that train lacks.
    """
    known = labelled["train"] if strict else {label for images in labelled.values() for label in images}
    numbers = {label: number for number, label in enumerate(sorted(known))}
    if strict:
        _check(labelled, numbers, where)
    samples = {
        part: tuple(
            Sample(file, numbers[label], called)
            for label in sorted(images)
            for file, called in sorted(images[label], key=lambda image: image[1])
        )
        for part, images in labelled.items()
    }
    return ImageSet(
        name=name,
        classes=tuple(numbers),
        train=samples["train"],
        val=samples.get("val", ()),
        test=samples.get("test", ()),
        skipped=tuple(sorted(skipped)),
    )


def slug(name: str) -> str:
    """Returns a name fit for a file name: ``"My Photos (1)"`` becomes ``"my-photos-1"``."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9_]+", "-", plain).strip("-")[:40].strip("-") or "data"


def printable(name: str) -> str:
    """Returns a file name that can be printed and written to a file, even one whose bytes are no UTF-8."""
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")


class _Walk:
    """Walks below one folder and remembers what it left out."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.skipped: list[str] = []

    def children(self, folder: Path) -> tuple[list[Path], list[Path]]:
        """Returns the files and the folders in a folder that are not hidden."""
        files: list[Path] = []
        folders: list[Path] = []
        try:
            with os.scandir(folder) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    child = folder / entry.name
                    if reason := self._unwanted(entry, child):
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
            if is_image(file):
                yield file
            else:
                self._skip(file, "not an image")
        for inner in folders:
            yield from self.images(inner)

    def name(self, path: Path) -> str:
        return printable(path.relative_to(self.root).as_posix())

    def skip_all(self, files: Iterable[Path]) -> None:
        for file in files:
            self._skip(file, "outside the class folders" if is_image(file) else "not an image")

    def _unwanted(self, entry: os.DirEntry[str], child: Path) -> str:
        # __MACOSX: what macOS adds to its archives, a hidden twin of every file.
        if entry.name.startswith(".") or entry.name == "__MACOSX":
            return "hidden"
        if entry.is_symlink():
            if entry.is_dir():
                return "a link to a folder"
            if not child.resolve().is_relative_to(self.root):
                return "a link that leads out of the folder"
        return "" if entry.is_dir() or entry.is_file() else "not a file"

    def _skip(self, path: Path, reason: str) -> None:
        self.skipped.append(f"{self.name(path)}: {reason}")


def is_image(file: Path) -> bool:
    """Tells by its suffix whether a file is an image."""
    return file.suffix.lower() in IMAGE_SUFFIXES


def _parts(root: Path, folders: Iterable[Path]) -> dict[str, Path]:
    """Returns the folders of train, val and test, in this order; none where the root holds class folders alone."""
    parts: dict[str, Path] = {}
    for folder in folders:
        part = PARTS.get(folder.name.lower(), "")
        if part in parts:
            names = f"'{parts[part].name}' and '{folder.name}'"
            raise DataError(f"{root}: {names} are both the {part} part.", hint="Keep one of the two.")
        if part:
            parts[part] = folder
    if parts and "train" not in parts:
        names = ", ".join(folder.name for folder in parts.values())
        raise DataError(f"{root} has {names}, but no train folder.", hint=LAYOUTS)
    return {part: parts[part] for part in ("train", "val", "test") if part in parts}


def _refuse_mixture(walk: _Walk, others: Iterable[Path], train: Path) -> None:
    for folder in others:
        for image in walk.images(folder):
            raise DataError(
                f"{walk.root} holds a {train.name} folder and, beside it, images in '{folder.name}' ({image.name}).",
                hint=f"Move class folders into {train.name}/, or list path,label in a CSV file.",
            )


def _refuse_wrapper(walk: _Walk, files: Iterable[Path], folders: list[Path]) -> None:
    if len(folders) == 1 and not any(map(is_image, files)):
        inner = [folder.name for folder in _Walk(walk.root).children(folders[0])[1]]
        if len(inner) > 1 or {name.lower() for name in inner} & PARTS.keys():
            raise DataError(
                f"{walk.root} holds nothing but the folder '{folders[0].name}', and that holds {', '.join(inner[:5])}.",
                hint=f"Did you mean {folders[0]}?",
            )


def _classes(walk: _Walk, folder: Path, files: list[Path], classes: list[Path]) -> dict[str, list[tuple[Path, str]]]:
    """Returns the images of each class folder of one part."""
    direct = [file for file in files if is_image(file)]
    if not classes:
        found = f"{len(direct)} images ({direct[0].name}, ...)" if direct else "no images"
        raise DataError(f"{folder} holds {found} and no class folders.", hint=LAYOUTS)
    walk.skip_all(files)
    labelled: dict[str, list[tuple[Path, str]]] = {}
    for inner in classes:
        # macOS writes names in another Unicode form than Linux: one class must not become two.
        label = printable(unicodedata.normalize("NFC", inner.name))
        labelled.setdefault(label, []).extend((image, walk.name(image)) for image in walk.images(inner))
    return labelled


def _check(labelled: Labelled, numbers: Mapping[str, int], where: str) -> None:
    for part, images in labelled.items():
        _check_part(part, images, numbers, where)
    if len(numbers) < 2:
        raise DataError(f"{where}: a classifier needs two classes, there is only '{min(numbers)}'.", hint=LAYOUTS)


def _check_part(part: str, images: Mapping[str, list[tuple[Path, str]]], known: Mapping[str, int], where: str) -> None:
    for label, files in sorted(images.items()):
        if label not in known:
            near = close_matches(label, known, limit=1)
            hint = f"Did you mean '{near[0]}'?" if near else f"The classes of train: {', '.join(list(known)[:20])}."
            raise DataError(f"{where}: {part} has the class '{label}', which train lacks.", hint=hint)
        if not files:
            hint = "Put images there, or delete the folder."
            raise DataError(f"{where}: the class '{label}' has no images in {part}.", hint=hint)
