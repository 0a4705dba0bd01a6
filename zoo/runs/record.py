"""The record of a run as a typed value: what `run.json` and `photos.json` hold, with one writer and one reader.

``run.json`` is small and says what was asked for, what it was done with and what came of it. ``photos.json`` beside it
names every photo of every split with a short hash, and is read only where that is asked for. Records of format 1 kept
both in ``run.json``; they are read as they are.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from zoo.errors import RunError
from zoo.preprocess import Preprocess, preprocess_from_dict
from zoo.utils.files import atomic_write, read_regular_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

T = TypeVar("T")
FORMAT = 2
READABLE = (1, FORMAT)
RECORD = "run.json"
PHOTOS = "photos.json"
HASH_DIGITS = 8  # of the hash of a photo, as `zoo.data.sources.fingerprint` makes it
MAX_CLASSES = 100_000
_EDITED = "Was it edited by hand, or by another tool?"


@dataclass(frozen=True, slots=True, kw_only=True)
class DataRecord:
    """What a run was trained on.

    Attributes:
        name: Of the dataset.
        note: What a reader of the results must know about the data, or empty.
        fingerprint: As `zoo.data.sources.fingerprint` makes it; empty where none was recorded.
        counts: Photos of each split.
        skipped: Files left out, each with its reason.
        check: What the data check found: ``near`` and ``findings``.
        cache: Where the decoded photos of each split were kept, and why there.
        unreadable: Of each split, a message for each photo that could not be read.
    """

    name: str = ""
    note: str = ""
    fingerprint: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()
    check: Mapping[str, Any] = field(default_factory=dict)
    cache: Mapping[str, Any] = field(default_factory=dict)
    unreadable: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def leaks(self) -> tuple[str, ...]:
        """What the data check found of test photos that were trained on, a sentence each."""
        found = self.check.get("findings")
        rows = [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []
        return tuple(str(row.get("text", "")) for row in rows if row.get("kind") == "leak")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """What a run was made of, and what came of it.

    Attributes:
        status: ``"training"``, ``"interrupted"`` or ``"finished"``.
        created: When it was begun, ISO 8601.
        backbone: Qualified name.
        head: Qualified name.
        config: The fields of `FinetuneConfig`.
        classes: Names in the order of the outputs.
        preprocess: How pixels become the network's input; None where none was recorded.
        weights: What the backbone started from, in one line.
        data: What it was trained on.
        packages: Versions of the packages that decide results.
        plugins: Versions of the plugins, by key.
        sources: Digests of source code, by package.
        hardware: What it was computed on, in which precision, and what was decided on the way.
        activation_cache: What of the frozen stages' output was cached, and why the rest was not.
        results: The final figures; empty while the run is unfinished.
        saved: ``epoch`` and ``step`` of the checkpoint; empty where there is none.
        changed: What had changed each time that the run was resumed anyway.
    """

    status: str = "training"
    created: str = ""
    backbone: str = ""
    head: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    preprocess: Preprocess | None = None
    weights: str = ""
    data: DataRecord = field(default_factory=DataRecord)
    packages: Mapping[str, str] = field(default_factory=dict)
    plugins: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    hardware: Mapping[str, Any] = field(default_factory=dict)
    activation_cache: Mapping[str, Any] = field(default_factory=dict)
    results: Mapping[str, Any] = field(default_factory=dict)
    saved: Mapping[str, int] = field(default_factory=dict)
    changed: tuple[Mapping[str, Any], ...] = ()

    def with_hardware(self, **values: Any) -> RunRecord:
        """Returns the record with some values of `hardware` changed."""
        return replace(self, hardware={**self.hardware, **values})

    def with_data(self, **values: Any) -> RunRecord:
        """Returns the record with some fields of `data` changed."""
        return replace(self, data=replace(self.data, **values))

    def to_json(self) -> dict[str, Any]:
        """Returns what ``run.json`` holds; NaN and infinities, which JSON lacks, become None."""
        values = {"format": FORMAT, **_plain(self)}
        return {key: value for key, value in values.items() if value or key not in ("saved", "changed")}

    @classmethod
    def from_json(cls, values: Mapping[str, Any], *, where: str, strict: bool = True) -> RunRecord:
        """Returns the record that ``run.json`` holds, of any format.

        Args:
            values: The content of the file.
            where: Its path, for messages.
            strict: Whether a value of the wrong type is an error; else its default stands for it.

        Raises:
            RunError: A value has the wrong type; the message names it.
        """
        read = _Reader(values, where, strict=strict)
        return cls(
            status=read.get("status", str, "?"),
            created=read.get("created", str, ""),
            backbone=read.get("backbone", str, ""),
            head=read.get("head", str, ""),
            config=read.get("config", dict, {}),
            classes=_classes(read),
            preprocess=_preprocess(read),
            weights=read.get("weights", str, ""),
            data=_data(_Reader(read.get("data", dict, {}), where, strict=strict)),
            packages=read.get("packages", dict, {}),
            plugins=read.get("plugins", dict, {}),
            sources=read.get("sources", dict, {}),
            hardware=rename_hardware(read.get("hardware", dict, {})),
            activation_cache=read.get("activation_cache", dict, read.get("kept", dict, {})),  # kept: format 1
            results=read.get("results", dict, {}),
            saved=read.get("saved", dict, {}),
            changed=tuple(read.get("changed", list, [])),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoRecord:
    """Which photos a run was trained and scored on.

    Attributes:
        names: Of the photos of each split; empty where none were recorded.
        hashes: Of each split the short hashes of its photos, in the same order; empty where none were recorded.
    """

    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    hashes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def write_record(folder: Path, record: RunRecord) -> None:
    """Writes ``run.json``, whole or not at all.

    Raises:
        RunError: The folder cannot be written to.
    """
    with atomic_write(folder / RECORD) as path:
        path.write_text(json.dumps(record.to_json(), indent=2) + "\n", encoding="utf-8")


def write_photos(folder: Path, photos: PhotoRecord) -> None:
    """Writes ``photos.json``, whole or not at all; raises as `write_record`."""
    content = {
        "format": FORMAT,
        "split": {split: list(names) for split, names in photos.names.items()},
        "digests": {split: "".join(hashes) for split, hashes in photos.hashes.items()},
    }
    with atomic_write(folder / PHOTOS) as path:
        path.write_text(json.dumps(content, separators=(",", ":")), encoding="utf-8")


def read_record(folder: Path, *, strict: bool = True) -> RunRecord:
    """Returns the record of a run folder.

    Args:
        folder: The run folder.
        strict: As in `RunRecord.from_json`.

    Raises:
        RunError: The file is broken, or a newer version wrote it.
    """
    path = folder / RECORD
    return RunRecord.from_json(_read(path), where=str(path), strict=strict)


def read_photos(folder: Path) -> PhotoRecord:
    """Returns which photos a run was trained and scored on; empty where that was not recorded.

    Raises:
        RunError: A file is broken.
    """
    path = folder / PHOTOS
    if not path.exists():  # format 1
        path = folder / RECORD
    values = _read(path)
    if path.name == RECORD:
        values = values["data"] if isinstance(values.get("data"), dict) else {}
    split, joined = (values[key] if isinstance(values.get(key), dict) else {} for key in ("split", "digests"))
    return PhotoRecord(
        names={key: tuple(map(str, names)) for key, names in split.items() if isinstance(names, list)},
        hashes={
            key: tuple(text[start : start + HASH_DIGITS] for start in range(0, len(text), HASH_DIGITS))
            for key, text in joined.items()
            if isinstance(text, str)
        },
    )


def finite(value: Any) -> Any:
    """Returns a JSON value with None in place of NaN and infinities, however deep."""
    if isinstance(value, Mapping):
        return {key: finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def rename_hardware(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns values of ``hardware`` under their present names: format 1 called the size of a micro-batch otherwise."""
    return {"micro_batch_size" if key == "part_size" else key: value for key, value in values.items()}


class _Reader:
    """Reads values of the right type from a mapping that anybody may have written."""

    def __init__(self, values: Mapping[str, Any], where: str, *, strict: bool) -> None:
        self._values, self.where, self._strict = values, where, strict

    def get(self, key: str, kind: type[T], default: T) -> T:
        value = self._values.get(key)
        if isinstance(value, kind):
            return value
        if value is not None:
            self.refuse(f"{self.where} has an unreadable '{key}'.")
        return default

    def refuse(self, message: str) -> None:
        if self._strict:
            raise RunError(message, hint=_EDITED)


def _classes(read: _Reader) -> tuple[str, ...]:
    names = tuple(map(str, read.get("classes", list, [])))
    if len(names) <= MAX_CLASSES and len(set(names)) == len(names):
        return names
    read.refuse(
        f"{read.where} has an unreadable 'classes': {len(names):,} names, {len(set(names)):,} of them different; "
        f"at most {MAX_CLASSES:,} are allowed."
    )
    return ()


def _preprocess(read: _Reader) -> Preprocess | None:
    values: dict[str, Any] = read.get("preprocess", dict, {})
    if not values:
        return None
    try:
        return preprocess_from_dict(values, where=read.where)
    except RunError as error:
        read.refuse(error.message)
        return None


def _data(read: _Reader) -> DataRecord:
    return DataRecord(
        name=read.get("name", str, ""),
        note=read.get("note", str, ""),
        fingerprint=read.get("fingerprint", str, ""),
        counts=read.get("counts", dict, {}),
        skipped=tuple(map(str, read.get("skipped", list, []))),
        check=read.get("check", dict, {}),
        cache=read.get("cache", dict, {}),
        unreadable=read.get("unreadable", dict, {}),
    )


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    return finite(value)


def _read(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(read_regular_file(path).decode("utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # ValueError: not UTF-8, not JSON, a number beyond reason
        raise RunError(f"{path} cannot be read: {error}.", hint="Was the run cut off, or edited by hand?") from error
    if not isinstance(values, dict) or values.get("format") not in READABLE:
        known = " or ".join(map(str, READABLE))
        raise RunError(f"{path} is not a run record of format {known}.", hint="Was it written by a newer version?")
    return values
