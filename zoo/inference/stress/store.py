"""The folder of a stress test: what a model answered for each kind of change, written photo block by photo block."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.errors import RunError
from zoo.utils.files import atomic_write, parse_json, read_regular_file, remove_temporary_files

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

SETTINGS = "settings.json"
_ANSWERS = "answers"  # the subfolder
MISSING = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What a model answered for the first photos of an order, at each strength of a kind of change.

    Attributes:
        predicted: int32 ``(N, strengths)``: the predicted class, `MISSING` for photos that were not measured.
        confidence: float32 ``(N, strengths)``: its probability.
    """

    predicted: NDArray[np.int32]
    confidence: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.predicted)

    @classmethod
    def empty(cls, photos: int, strengths: int) -> Answers:
        """Returns the answers of photos none of which is measured."""
        shape = (photos, strengths)
        return cls(predicted=np.full(shape, MISSING, np.int32), confidence=np.zeros(shape, np.float32))

    def first(self, photos: int) -> Answers:
        """Returns the answers for the first photos."""
        return Answers(predicted=self.predicted[:photos], confidence=self.confidence[:photos])

    def extend(self, more: Answers) -> Answers:
        """Returns these answers followed by others."""
        return Answers(
            predicted=np.concatenate([self.predicted, more.predicted]),
            confidence=np.concatenate([self.confidence, more.confidence]),
        )


class StressFolder:
    """The results of one model in a folder. Each write replaces one file in one step.

    Args:
        path: The folder; see `open_folder`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, kind: str, *, strengths: int) -> Answers:
        """Returns the answers for a kind of change so far; none if there is no file of them.

        Raises:
            RunError: The file is damaged.
        """
        file = self._file(kind)
        try:
            # From memory: numpy leaves the file of a damaged archive open.
            with np.load(io.BytesIO(read_regular_file(file)), allow_pickle=False) as content:
                answers = Answers(predicted=content["predicted"], confidence=content["confidence"])
        except FileNotFoundError:
            return Answers.empty(0, strengths)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise RunError(f"{file} cannot be read: {error}.", hint="Delete it to measure this kind again.") from error
        shape = answers.predicted.shape
        if len(shape) != 2 or shape != answers.confidence.shape or shape[1] != strengths:
            raise RunError(
                f"{file} has answers of the shape {shape}, not (photos, {strengths}).",
                hint="Delete it to measure this kind again.",
            )
        return answers

    def write(self, kind: str, answers: Answers) -> None:
        """Replaces the answers for a kind of change.

        Raises:
            RunError: The file cannot be written.
        """
        with atomic_write(self._file(kind)) as temporary:
            np.savez(temporary, predicted=answers.predicted, confidence=answers.confidence)

    def _file(self, kind: str) -> Path:
        return self.path / _ANSWERS / f"{kind}.npz"


def find_folder(runs: Path, stem: str, settings: Mapping[str, Any]) -> StressFolder:
    """Returns the folder ``stem-1``, ``stem-2`` and so on that was made with the same settings, or a new one.

    Args:
        runs: The folder of the runs.
        stem: The beginning of its name.
        settings: Everything that decides about the answers, as JSON values.

    Raises:
        RunError: A folder cannot be read or created.
    """
    number = 1
    while (path := runs / f"{stem}-{number}").exists():
        if (path / SETTINGS).is_file() and _read_settings(path) == _plain(settings):
            return open_folder(path, settings)
        number += 1
    return open_folder(path, settings)


def open_folder(path: Path, settings: Mapping[str, Any]) -> StressFolder:
    """Returns a folder for a stress test, which is created if it is new.

    Raises:
        RunError: It has the results of other settings, or something else; or it cannot be created.
    """
    try:
        (path / _ANSWERS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"Cannot create {path}: {error.strerror}.", hint="Pass another folder with --output.") from error
    if not (path / SETTINGS).exists():
        with atomic_write(path / SETTINGS) as temporary:
            temporary.write_text(json.dumps(_plain(settings), indent=2) + "\n", "utf-8")
    found, wanted = _read_settings(path), _plain(settings)
    if different := [name for name in wanted if found.get(name) != wanted[name]]:
        raise RunError(
            f"{path} has the results of a test with another {different[0].replace('_', ' ')}.",
            hint="Pass another folder with --output, or delete this one.",
        )
    for file in (path / _ANSWERS).glob("*.npz"):
        remove_temporary_files(path / _ANSWERS, [file.name])
    return StressFolder(path)


def _read_settings(path: Path) -> dict[str, Any]:
    file = path / SETTINGS
    try:
        values = parse_json(read_regular_file(file))
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{file} cannot be read: {error}.", hint="Delete the folder to test anew.") from error
    return values if isinstance(values, dict) else {}


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns settings as they are after they were written and read."""
    plain: dict[str, Any] = json.loads(json.dumps(settings))
    return plain
