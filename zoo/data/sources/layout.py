"""Recognises how the photos of a folder are arranged: class folders, split folders, or splits inside the classes.

Photos that the user held out are never trained on: whatever looks like splits is understood, or refused by name.
"""

from __future__ import annotations

import contextlib
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.data.images.formats import has_image_suffix
from zoo.data.sources.held_out import TABLE_HINT, check_lists, check_names, refuse_same_content
from zoo.data.sources.label_columns import TableOptions
from zoo.data.sources.left_out import describe_left_out
from zoo.data.sources.split_names import is_neutral_name, is_unlabelled_name, parse_split, parse_split_name
from zoo.data.sources.table_columns import find_columns
from zoo.data.sources.walk import UNLABELLED, PhotoWalk, escape_undecodable
from zoo.errors import DataError
from zoo.plugins.specs import SPLITS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

LAYOUTS = (
    "Supported layouts: class folders (PATH/cat/1.jpg, PATH/dog/2.jpg), class folders below train, val and test "
    "(PATH/train/cat/1.jpg), and a CSV file of path,label."
)
# By split and class: the folders with the photos.
ClassFolders = dict[str, dict[str, list[Path]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where the photos of each split and class are.

    Attributes:
        folders: By split and class name: the folders.
        parents: The folders that contain the class folders, each with its split.
        notes: Sentences about photos without labels.
        warnings: Sentences about what may be meant otherwise.
    """

    folders: ClassFolders
    parents: dict[Path, str]
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def find_layout(walk: PhotoWalk, *, known: Collection[str] | None = None) -> Layout:
    """Returns how the photos below the root of a walk are arranged.

    Args:
        walk: Records what is left out.
        known: The classes of a trained model, if the photos are only to be evaluated: there may then be no training
            split, and photos in class folders alone are test photos.

    Raises:
        DataError: The layout is not supported, or may be meant in two ways.
    """
    try:
        layout = _find_layout(walk, known)
    except DataError as error:  # what was left out may be what is missing
        left_out = describe_left_out(walk.skipped, kept=0)
        raise DataError(error.message, hint=f"{left_out} {error.hint}".strip()) from None
    layout.warnings.extend(
        f"The folder {file.name} looks like a split, but is left out: it is {file.reason}."
        for file in walk.skipped
        if file.path.parent == walk.root and file.photos and file.reason != UNLABELLED and parse_split(file.path.name)
    )
    return layout


def _find_layout(walk: PhotoWalk, known: Collection[str] | None) -> Layout:
    files, folders = walk.children(walk.root)
    if splits := _find_splits(walk.root, folders):
        return _read_splits(walk, splits, known)
    _refuse_wrapper(walk, files, folders, known)
    if nested := _find_nested_splits(walk, folders):
        _skip_files(walk, files)
        _require_train(walk.root, nested, known)
        return Layout(folders=nested, parents={walk.root: "train"})
    split = "train" if known is None else "test"
    classes = _find_classes(walk, walk.root, known)
    warnings = check_lists(walk, files) + check_names(walk, folders) if known is None else []
    return Layout(folders={split: classes}, parents={walk.root: split}, warnings=warnings)


def class_name(folder: Path) -> str:
    """Returns the name of the class of a folder: macOS writes names in another Unicode form than Linux."""
    return escape_undecodable(unicodedata.normalize("NFC", folder.name))


def _find_splits(root: Path, folders: Iterable[Path]) -> dict[str, Path]:
    """Returns the folders of the splits, in the order train, val, test; empty if there are none.

    These have names for splits alone (one of the usual English words, or at least two), or names with one rest:
    ``seg_train`` and ``seg_test``.
    """
    groups: dict[tuple[str, ...], dict[Path, str]] = {}
    plain = False
    for folder in folders:
        if (found := parse_split_name(folder.name)) is not None:
            groups.setdefault(found.rest, {})[folder] = found.split
            plain = plain or found.plain
    pairs = [group for rest, group in groups.items() if len(set(group.values())) > 1 or (plain and not rest)]
    if not pairs:
        return {}
    if len(pairs) > 1:
        names = ", ".join(f"'{folder.name}'" for group in pairs for folder in group)
        raise DataError(
            f"{root}: {names} look like splits of several classes.",
            hint=f"Arrange them as train/CLASS/1.jpg and test/CLASS/2.jpg, {TABLE_HINT}.",
        )
    splits: dict[str, Path] = {}
    for folder, split in pairs[0].items():
        if split in splits:
            names = f"'{splits[split].name}' and '{folder.name}'"
            raise DataError(f"{root}: {names} are both the {split} split.", hint="Keep one of the two.")
        splits[split] = folder
    return {split: splits[split] for split in SPLITS if split in splits}


def _read_splits(walk: PhotoWalk, splits: Mapping[str, Path], known: Collection[str] | None) -> Layout:
    _require_train(walk.root, splits, known)
    files, folders = walk.children(walk.root)
    _skip_files(walk, files)
    layout = Layout(folders={}, parents={})
    for split, outer in splits.items():
        train = layout.folders.get("train", {})
        folder = _unwrap(walk, outer, split, {*train, *(known or ())})
        if split == "test" and (unlabelled := _find_unlabelled(walk, folder, {*train, *(known or ())})):
            _leave_out_unlabelled(walk, unlabelled, layout)
            continue
        layout.folders[split] = _find_classes(walk, folder, known)
        layout.parents[folder] = split
    others = [folder for folder in folders if folder not in splits.values()]
    _check_others(walk, others, splits, layout)
    if not layout.folders:
        raise DataError(f"{walk.root} contains no photos with labels.", hint=LAYOUTS)
    return layout


def _require_train(root: Path, splits: Mapping[str, object], known: Collection[str] | None) -> None:
    if known is None and "train" not in splits:
        names = ", ".join(each.name if isinstance(each, Path) else split for split, each in splits.items())
        raise DataError(f"{root} contains {names}, but no train folder.", hint=LAYOUTS)


def _unwrap(walk: PhotoWalk, folder: Path, split: str, classes: Collection[str]) -> Path:
    """Returns the folder with the class folders, as of archives that unpack to ``train/train`` or ``train/images``."""
    while True:
        files, folders = walk.children(folder)
        if len(folders) != 1 or folders[0].name in classes or any(has_image_suffix(file.name) for file in files):
            return folder
        inner = parse_split_name(folders[0].name)
        if not (inner.split == split if inner is not None else is_neutral_name(folders[0].name)):
            return folder
        _skip_files(walk, files)
        folder = folders[0]


def _find_unlabelled(walk: PhotoWalk, folder: Path, classes: Collection[str]) -> Path | None:
    """Returns the folder of photos without labels that a split consists of, as Kaggle publishes it; or None."""
    files, folders = walk.children(folder)
    direct = any(has_image_suffix(file.name) for file in files)
    if direct and not any(walk.has_photos(inner) for inner in folders):
        return folder
    if not direct and len(folders) == 1 and is_unlabelled_name(folders[0].name) and folders[0].name not in classes:
        return folders[0]
    return None


def _leave_out_unlabelled(walk: PhotoWalk, folder: Path, layout: Layout) -> None:
    count = sum(1 for _ in walk.photos(folder))
    walk.skip(folder, UNLABELLED, photos=count)
    layout.notes.append(
        f"{walk.name(folder)} contains no class folders: its {count:,} photos have no labels and are left out."
    )


def _check_others(walk: PhotoWalk, others: Iterable[Path], splits: Mapping[str, Path], layout: Layout) -> None:
    """Checks the folders beside the splits: photos there belong to none."""
    for folder in others:
        if (image := next(walk.photos(folder), None)) is None:
            continue
        if is_unlabelled_name(folder.name):
            _leave_out_unlabelled(walk, folder, layout)
            continue
        first = next(iter(splits.values())).name
        raise DataError(
            f"{walk.root} contains a {first} folder and, beside it, images in '{folder.name}' ({image.name}).",
            hint=f"Move class folders into {first}/, or list path,label in a CSV file.",
        )


def _refuse_wrapper(
    walk: PhotoWalk, files: Iterable[Path], folders: Sequence[Path], known: Collection[str] | None
) -> None:
    """Refuses a folder whose only content is the folder with the data, as some archives unpack to."""
    if any(has_image_suffix(file.name) for file in files) or (known and any(f.name in known for f in folders)):
        return
    full = folders if len(folders) == 1 else [folder for folder in folders if walk.has_photos(folder)]
    if len(full) != 1:
        return
    inner = [folder.name for folder in walk.children(full[0])[1]]
    if (len(inner) > 1 and len(folders) == 1) or any(map(parse_split, inner)):
        raise DataError(
            f"{walk.root} contains only the folder '{full[0].name}', which contains {', '.join(inner[:5])}.",
            hint=f"Did you mean {full[0]}?",
        )


def _find_nested_splits(walk: PhotoWalk, folders: Sequence[Path]) -> ClassFolders:
    """Returns the folders of ``cat/train`` and ``cat/test``, by split and class; empty if there are no such folders.

    Raises:
        DataError: Only some of the classes contain splits.
    """
    nested: ClassFolders = {}
    without = []
    for folder in filter(walk.has_photos, folders):
        files, inner = walk.children(folder)
        splits = {each: _nested_split(folder, each) for each in inner if walk.has_photos(each)}
        if any(has_image_suffix(file.name) for file in files) or not splits or not all(splits.values()):
            without.append(folder)
            continue
        for each, split in splits.items():
            nested.setdefault(split, {}).setdefault(class_name(folder), []).append(each)
    if not nested or not (len(nested) > 1 or _has_plain(nested)):
        return {}
    if without:
        first = next(each for classes in nested.values() for found in classes.values() for each in found)
        raise DataError(
            f"{walk.root}: {walk.name(first)} looks like a split of the class '{first.parent.name}', "
            f"but '{without[0].name}' has no such splits.",
            hint=f"Give every class the same split folders, {TABLE_HINT}.",
        )
    return {split: nested[split] for split in SPLITS if split in nested}


def _nested_split(folder: Path, inner: Path) -> str:
    """Returns the split of a folder in a class folder: of ``cat/train``, and of ``cat/cat_train``."""
    found, outer = parse_split_name(inner.name), parse_split_name(f"train {folder.name}")
    return found.split if found is not None and (not found.rest or (outer and found.rest == outer.rest)) else ""


def _has_plain(nested: ClassFolders) -> bool:
    folders = (each for classes in nested.values() for found in classes.values() for each in found)
    return any((found := parse_split_name(each.name)) is not None and found.plain for each in folders)


def _find_classes(walk: PhotoWalk, folder: Path, known: Collection[str] | None) -> dict[str, list[Path]]:
    """Returns the class folders in a folder, by class name.

    Raises:
        DataError: There are none, or they look like splits.
    """
    files, folders = walk.children(folder)
    if not folders:
        direct = [file for file in files if has_image_suffix(file.name)]
        content = f"{len(direct)} images ({direct[0].name}, ...)" if direct else "no images"
        raise DataError(f"{folder} contains {content} and no class folders.", hint=_suggest_tables(walk) or LAYOUTS)
    _skip_files(walk, files)
    if known is None or not {each.name for each in folders} <= {*known}:
        refuse_same_content(walk, folder, folders)
    classes: dict[str, list[Path]] = {}
    for inner in folders:
        classes.setdefault(class_name(inner), []).append(inner)
    return classes


def _suggest_tables(walk: PhotoWalk) -> str:
    """Returns the tables in a folder that have labels, as advice; empty if there are none."""
    tables = [file for file in walk.children(walk.root)[0] if file.suffix.lower() == ".csv"]
    named = []
    for table in tables:
        with contextlib.suppress(DataError):  # a table of something else
            find_columns(table, TableOptions())
            named.append(table)
    listed = " or ".join(str(table) for table in named if parse_split(table.stem) not in ("val", "test"))
    return f"The labels may be in a table: pass {listed}." if listed else ""


def _skip_files(walk: PhotoWalk, files: Iterable[Path]) -> None:
    for photo in walk.select_photos(files):
        walk.skip(photo, "outside the class folders", photos=1)
