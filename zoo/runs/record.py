"""The record of a run as a typed value, with one writer and one reader.

``run.json`` is small: the configuration, the software and hardware, and the results. ``photos.json`` has the name and a
short hash of every photo of every split, and is read only on request. Records of format 1, which have both in
``run.json``, can still be read.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from zoo.errors import RunError
from zoo.metrics.calibration import Calibration
from zoo.metrics.costs import CostDecision, decision_from_dict
from zoo.plugins.specs import Activation
from zoo.preprocess import Preprocess, preprocess_from_dict
from zoo.runs.familiarity import FamiliarityRecord
from zoo.utils.files import (
    LFS_HINT,
    LFS_POINTER,
    MAX_VALUES,
    atomic_write,
    parse_json,
    read_regular_file,
    replace_nonfinite,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

T = TypeVar("T")
FORMAT = 2
READABLE = (1, FORMAT)
RECORD = "run.json"
PHOTOS = "photos.json"
HASH_DIGITS = 8  # hex digits of a photo's hash; see `zoo.data.sources.fingerprint`
MAX_CLASSES = 100_000
_MAX_PHOTO_VALUES = 25_000_000  # of photos.json: each photo has a name
# Where they are empty.
_OMITTED = (
    *("saved", "changed", "diverged", "probe", "partly_random", "parts", "requested", "other_plugins", "balance"),
    *("multi_label", "thresholds", "decision", "calibration", "familiarity"),
)
_LEAKS = ("leak", "group-leak")  # findings of test photos in training
_EDITED = "It may have been edited by hand, or by another program."


@dataclass(frozen=True, slots=True, kw_only=True)
class DataRecord:
    """The data of a run.

    Attributes:
        name: Name of the dataset.
        note: A sentence that readers of the results must know about the data, or empty.
        fingerprint: See `zoo.data.sources.fingerprint`; empty if not recorded.
        counts: Number of photos per split.
        skipped: The names of skipped files, each with the reason.
        corrected: Number of photos whose label a file of corrections changed.
        check: The result of the data check: ``near`` and ``findings``.
        cache: Where the decoded photos of each split were cached, and why there.
        unreadable: A message for each photo that could not be read, by split.
        changed: The names of the photos that changed during training, by split.
    """

    name: str = ""
    note: str = ""
    fingerprint: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()
    corrected: int = 0
    check: Mapping[str, Any] = field(default_factory=dict)
    cache: Mapping[str, Any] = field(default_factory=dict)
    unreadable: Mapping[str, Sequence[str]] = field(default_factory=dict)
    changed: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def leaks(self) -> tuple[str, ...]:
        """A sentence for each leak of test photos into training that the data check found."""
        found = self.check.get("findings")
        rows = [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []
        return tuple(str(row.get("text", "")) for row in rows if row.get("kind") in _LEAKS)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """The content of ``run.json``.

    Attributes:
        status: ``"training"``, ``"interrupted"`` or ``"finished"``.
        created: Start of the run, ISO 8601.
        backbone: Qualified name.
        head: Qualified name.
        parts: Qualified names of what plugins gave besides, by kind: ``{"loss": ["losses/focal"]}``.
        activation: What turns logits into probabilities, ``"softmax"`` or ``"sigmoid"``: that of the loss.
        multi_label: Whether a photo has any number of labels.
        thresholds: The probability from which a photo is decided to have a label, for each class; empty with one class
            per photo, and until training is finished.
        decision: How to decide between two classes whose mistakes do not cost the same; None for the most probable.
        calibration: How the probabilities were calibrated, and what prediction sets are made from; None until training
            is finished.
        familiarity: How unfamiliar photos are recognised; None in unfinished runs, in those of earlier versions, and
            where the configuration turns it off.
        config: The fields of `FinetuneConfig`.
        requested: The fields that the run replaced by what it chose, such as ``"auto"``, as they were requested.
        classes: Class names, in the order of the outputs.
        preprocess: How pixels become the input of the network; None if not recorded.
        weights: One line about the initial weights of the backbone.
        partly_random: A sentence on layers that a file of weights did not fill; empty if there are none.
        data: The data.
        packages: Versions of the packages that affect the results.
        plugins: Versions of the plugins, by key (``"zoo-tinynet:tinynet"``).
        other_plugins: Versions of the plugins that decide no result once a run has started: of its recipe and its
            trackers.
        sources: Digests of the source code, by package.
        hardware: The device, the precision, and what was chosen automatically.
        balance: What was done about classes of different size: ``weights`` of the loss, ``positive_weights`` of the
            loss of a label in photos that have it, average ``draws`` of a photo in an epoch and ``logit_offsets`` in
            the loss, each by class.
        probe: The head options and the strength of the penalty that a probe chose, and what they were compared with.
        activation_cache: Which activations of the frozen stages were cached, and why others were not.
        results: The final metrics; empty while the run is unfinished.
        saved: ``epoch`` and ``step`` of the checkpoint; empty if there is none.
        changed: The changes, for each time that the run was resumed in spite of changes.
        diverged: Each time that training diverged: ``message``; ``lr``, the learning rate of the configuration; and
            ``restart``, whether the checkpoint is of no use either. Once the run was resumed, ``then``: the fields of
            the configuration with which it was.
    """

    status: str = "training"
    created: str = ""
    backbone: str = ""
    head: str = ""
    parts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    activation: Activation = "softmax"
    multi_label: bool = False
    thresholds: tuple[float, ...] = ()
    decision: CostDecision | None = None
    calibration: Calibration | None = None
    familiarity: FamiliarityRecord | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    requested: Mapping[str, Any] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    preprocess: Preprocess | None = None
    weights: str = ""
    partly_random: str = ""
    data: DataRecord = field(default_factory=DataRecord)
    packages: Mapping[str, str] = field(default_factory=dict)
    plugins: Mapping[str, str] = field(default_factory=dict)
    other_plugins: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    hardware: Mapping[str, Any] = field(default_factory=dict)
    balance: Mapping[str, Any] = field(default_factory=dict)
    probe: Mapping[str, Any] = field(default_factory=dict)
    activation_cache: Mapping[str, Any] = field(default_factory=dict)
    results: Mapping[str, Any] = field(default_factory=dict)
    saved: Mapping[str, int] = field(default_factory=dict)
    changed: tuple[Mapping[str, Any], ...] = ()
    diverged: tuple[Mapping[str, Any], ...] = ()

    @property
    def unresolved_divergence(self) -> Mapping[str, Any]:
        """The last entry of `diverged`, if the run was not resumed since; otherwise empty."""
        return self.diverged[-1] if self.diverged and "then" not in self.diverged[-1] else {}

    @property
    def overrides(self) -> dict[str, Any]:
        """The fields of the configuration that were changed when the run was resumed after it had diverged."""
        return {name: value for each in self.diverged for name, value in each.get("then", {}).items()}

    def with_hardware(self, **values: Any) -> RunRecord:
        """Returns the record with some values of `hardware` changed."""
        return replace(self, hardware={**self.hardware, **values})

    def with_data(self, **values: Any) -> RunRecord:
        """Returns the record with some fields of `data` changed."""
        return replace(self, data=replace(self.data, **values))

    def to_json(self) -> dict[str, Any]:
        """Returns the content of ``run.json``; NaN and infinities, which JSON lacks, become None."""
        values = {"format": FORMAT, **_to_json(self)}
        return {key: value for key, value in values.items() if value or key not in _OMITTED}

    @classmethod
    def from_json(cls, values: Mapping[str, Any], *, where: str, strict: bool = True) -> RunRecord:
        """Returns the record for the content of ``run.json``, of any format.

        Args:
            values: The content of the file.
            where: The path of the file, for messages.
            strict: Whether a value of the wrong type is an error; otherwise it is replaced by its default.

        Raises:
            RunError: A value has the wrong type; the message names it.
        """
        read = _Reader(values, where, strict=strict)
        return cls(
            status=read.get("status", str, "?"),
            created=read.get("created", str, ""),
            backbone=read.get("backbone", str, ""),
            head=read.get("head", str, ""),
            parts=_parts(read),
            activation=_activation(read),
            multi_label=read.get("multi_label", bool, False),
            thresholds=_thresholds(read),
            decision=_decision(read),
            calibration=_calibration(read),
            familiarity=_familiarity(read),
            config=read.get("config", dict, {}),
            requested=read.get("requested", dict, {}),
            classes=_classes(read),
            preprocess=_preprocess(read),
            weights=read.get("weights", str, ""),
            partly_random=read.get("partly_random", str, ""),
            data=_data(_Reader(read.get("data", dict, {}), where, strict=strict)),
            packages=read.get("packages", dict, {}),
            plugins=read.get("plugins", dict, {}),
            other_plugins=read.get("other_plugins", dict, {}),
            sources=read.get("sources", dict, {}),
            hardware=rename_hardware(read.get("hardware", dict, {})),
            balance=read.get("balance", dict, {}),
            probe=read.get("probe", dict, {}),
            activation_cache=read.get("activation_cache", dict, read.get("kept", dict, {})),  # kept: format 1
            results=read.get("results", dict, {}),
            saved=read.get("saved", dict, {}),
            changed=tuple(read.get("changed", list, [])),
            diverged=_diverged(read),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoRecord:
    """The content of ``photos.json``: the photos of a run.

    Attributes:
        names: The names of the photos, by split; empty if not recorded.
        hashes: The short hashes of the photos, by split, in the same order; empty if not recorded.
    """

    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    hashes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def by_name(self, split: str) -> dict[str, str]:
        """Returns the short hash of each photo of a split by its name; empty text if the hash was not recorded."""
        names, hashes = self.names.get(split, ()), self.hashes.get(split, ())
        return {name: hashes[index] if index < len(hashes) else "" for index, name in enumerate(names)}


def format_record(record: RunRecord) -> str:
    """Returns the text of ``run.json``."""
    return json.dumps(record.to_json(), indent=2) + "\n"


def write_record(folder: Path, record: RunRecord) -> None:
    """Writes ``run.json`` atomically.

    Raises:
        RunError: The folder cannot be written to.
    """
    with atomic_write(folder / RECORD) as path:
        path.write_text(format_record(record), encoding="utf-8")


def write_photos(folder: Path, photos: PhotoRecord) -> None:
    """Writes ``photos.json`` atomically.

    Raises:
        RunError: The folder cannot be written to.
    """
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
        RunError: The file cannot be read, or is of a newer format.
    """
    path = folder / RECORD
    return RunRecord.from_json(_read_json(path), where=str(path), strict=strict)


def read_photos(folder: Path) -> PhotoRecord:
    """Returns the photos of a run; empty if they were not recorded.

    Raises:
        RunError: The file cannot be read, or is of a newer format.
    """
    path = folder / PHOTOS
    if not path.exists():  # format 1
        path = folder / RECORD
    values = _read_json(path, most=_MAX_PHOTO_VALUES)
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


def rename_hardware(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns ``hardware`` with the current names; format 1 used ``part_size`` for ``micro_batch_size``."""
    return {"micro_batch_size" if key == "part_size" else key: value for key, value in values.items()}


class _Reader:
    """Reads values from a mapping that may contain anything, and checks their types."""

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


def _parts(read: _Reader) -> dict[str, tuple[str, ...]]:
    rows = read.get("parts", dict, {})
    if all(isinstance(names, list) and all(isinstance(name, str) for name in names) for names in rows.values()):
        return {kind: tuple(names) for kind, names in rows.items()}
    read.refuse(f"{read.where} has an unreadable 'parts'.")
    return {}


def _activation(read: _Reader) -> Activation:
    value = read.get("activation", str, "")
    for known in get_args(Activation):
        if value == known:
            return known  # type: ignore[no-any-return]
    if value:
        read.refuse(f"{read.where} has an unreadable 'activation': '{value:.80}'.")
    # Not recorded before losses were plugins, when this was the only one of sigmoids.
    return "sigmoid" if read.get("config", dict, {}).get("loss") == "bce" else "softmax"


def _thresholds(read: _Reader) -> tuple[float, ...]:
    values = read.get("thresholds", list, [])
    if all(isinstance(value, int | float) and 0 <= value <= 1 for value in values) and (
        not values or len(values) == len(read.get("classes", list, []))
    ):
        return tuple(float(value) for value in values)
    read.refuse(f"{read.where} has unreadable 'thresholds': not a number from 0 to 1 for each class.")
    return ()


def _decision(read: _Reader) -> CostDecision | None:
    values = read.get("decision", dict, {})
    if not values:
        return None
    try:
        return decision_from_dict(values, classes=_classes(read))
    except ValueError as error:
        read.refuse(f"{read.where} has an unreadable 'decision': {error}.")
        return None


def _calibration(read: _Reader) -> Calibration | None:
    values: dict[str, Any] = read.get("calibration", dict, {})
    if not values:
        return None
    try:
        return Calibration.from_json(values, classes=len(read.get("classes", list, [])))
    except ValueError as error:
        read.refuse(f"{read.where} has an unreadable 'calibration': {error}.")
        return None


def _familiarity(read: _Reader) -> FamiliarityRecord | None:
    values: dict[str, Any] = read.get("familiarity", dict, {})
    try:
        return FamiliarityRecord.from_dict(values) if values else None
    except ValueError as error:
        read.refuse(f"{read.where} has an unreadable 'familiarity': {error}.")
        return None


def _preprocess(read: _Reader) -> Preprocess | None:
    values: dict[str, Any] = read.get("preprocess", dict, {})
    if not values:
        return None
    try:
        return preprocess_from_dict(values, where=read.where)
    except RunError as error:
        read.refuse(error.message)
        return None


def _diverged(read: _Reader) -> tuple[Mapping[str, Any], ...]:
    rows = read.get("diverged", list, [])
    if all(
        isinstance(row, dict)
        and isinstance(row.get("message"), str)
        and isinstance(row.get("lr"), int | float)
        and isinstance(row.get("then", {}), dict)
        for row in rows
    ):
        return tuple(rows)
    read.refuse(f"{read.where} has an unreadable 'diverged'.")
    return ()


def _data(read: _Reader) -> DataRecord:
    return DataRecord(
        name=read.get("name", str, ""),
        note=read.get("note", str, ""),
        fingerprint=read.get("fingerprint", str, ""),
        counts=read.get("counts", dict, {}),
        skipped=tuple(map(str, read.get("skipped", list, []))),
        corrected=read.get("corrected", int, 0),
        check=read.get("check", dict, {}),
        cache=read.get("cache", dict, {}),
        unreadable=read.get("unreadable", dict, {}),
        changed=read.get("changed", dict, {}),
    )


def _to_json(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: _to_json(getattr(value, each.name)) for each in fields(value)}
    return replace_nonfinite(value)


def _read_json(path: Path, *, most: int = MAX_VALUES) -> dict[str, Any]:
    content = b""
    try:
        content = read_regular_file(path)
        values = parse_json(content, most=most)
    except (OSError, ValueError, RecursionError) as error:  # ValueError: not UTF-8, not JSON, a number beyond reason
        if content.startswith(LFS_POINTER):
            raise RunError(f"{path} is a Git LFS pointer, not the record of a run.", hint=LFS_HINT) from error
        raise RunError(f"{path} cannot be read: {error}.", hint="It may be truncated or edited by hand.") from error
    if not isinstance(values, dict) or values.get("format") not in READABLE:
        known = " or ".join(map(str, READABLE))
        raise RunError(
            f"{path} is not a run record of format {known}.", hint="A newer version of the zoo may have written it."
        )
    return values
