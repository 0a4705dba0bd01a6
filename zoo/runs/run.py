"""The run folder: created, listed, and read back without torch.

``run.json``           what was asked for, what it was done with, and under ``results`` what came of it
``photos.json``        which photo is in which split
``model.safetensors``  the weights of the best epoch: ``backbone.*`` and ``head.*``
``metrics.jsonl``      one `EpochResult` a line
``checkpoint.pt``      what a stopped run is resumed from (`zoo.training.checkpoint`); deleted when the run is finished
``curves.png``, ``confusion.png``, ``mistakes.png``
``manifest.json``      size and SHA-256 of every file (`zoo.runs.manifest`), written when the run is finished
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from zoo.errors import RunError
from zoo.runs.record import PHOTOS, RECORD, PhotoRecord, RunRecord, finite, read_photos, read_record
from zoo.utils.files import atomic_write, read_regular_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zoo.preprocess import Preprocess

T = TypeVar("T")
WEIGHTS = "model.safetensors"
METRICS = "metrics.jsonl"
CHECKPOINT = "checkpoint.pt"
PICTURES = ("curves.png", "confusion.png", "mistakes.png")
FILES = (RECORD, PHOTOS, WEIGHTS, METRICS, CHECKPOINT, *PICTURES, "manifest.json")
RUNS = Path("runs")
_STEM_BYTES = 200  # File systems take names of up to 255 bytes.


@dataclass(frozen=True, slots=True)
class Run:
    """A run folder.

    Attributes:
        path: The folder.
        record: The content of ``run.json``.
    """

    path: Path
    record: RunRecord

    @property
    def name(self) -> str:
        """The folder's name, also where the path is ``"."``."""
        return self.path.resolve().name

    @property
    def config(self) -> Mapping[str, Any]:
        """The fields of `FinetuneConfig`."""
        return self._require("config", self.record.config)

    @property
    def backbone(self) -> str:
        """Qualified name of the backbone."""
        return self._require("backbone", self.record.backbone)

    @property
    def head(self) -> str:
        """Qualified name of the head."""
        return self._require("head", self.record.head)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the outputs."""
        return self._require("classes", self.record.classes)

    @property
    def preprocess(self) -> Preprocess:
        """How pixels become the network's input."""
        return self._require("preprocess", self.record.preprocess)

    @property
    def fingerprint(self) -> str:
        """Of the data; empty where none was recorded."""
        return self.record.data.fingerprint

    @property
    def leaks(self) -> tuple[str, ...]:
        """What was found of test photos that were trained on, a sentence each; empty where nobody has looked."""
        return self.record.data.leaks

    @property
    def results(self) -> Mapping[str, Any]:
        """The final figures; empty while the run is unfinished."""
        return self.record.results

    @property
    def finished(self) -> bool:
        """Whether training came to its end."""
        return self.record.status == "finished"

    @property
    def weights_path(self) -> Path:
        """The weights of the best epoch."""
        return self.path / WEIGHTS

    def photos(self) -> PhotoRecord:
        """Returns which photos the run was trained and scored on. Reads a file as large as the dataset is."""
        return read_photos(self.path)

    def metrics(self) -> list[dict[str, Any]]:
        """Returns the rows of ``metrics.jsonl``; a last line that was cut off is left out."""
        path = self.path / METRICS
        try:
            lines = read_regular_file(path).decode("utf-8").splitlines()
        except FileNotFoundError:
            return []
        except (OSError, UnicodeDecodeError) as error:
            raise RunError(f"{path} cannot be read: {error}.") from error
        rows = []
        for number, line in enumerate(lines, start=1):
            try:
                row = json.loads(line)
                if not isinstance(row, dict) or not isinstance(row.get("epoch"), int):
                    raise ValueError("it has no 'epoch'")
                rows.append(row)
            except (ValueError, RecursionError) as error:
                if number < len(lines):
                    raise RunError(f"{path}: line {number} is not the row of an epoch: {error}.") from error
        return rows

    def _require(self, key: str, value: T | None) -> T:
        if value:
            return value
        raise RunError(f"{self.path / RECORD} has no '{key}'.", hint="Was it edited by hand, or by another tool?")


def read_run(folder: Path) -> Run:
    """Returns the run in a folder; raises `RunError` where its record cannot be read."""
    return Run(folder, read_record(folder))


def is_run(folder: Path) -> bool:
    """Returns whether a folder holds the record of a run, readable or not."""
    try:
        return (folder / RECORD).is_file()
    except OSError:  # A reference may be longer than a file's name can be, or lie in a folder that is closed to us.
        return False


def list_runs(runs: Path = RUNS) -> list[Run]:
    """Returns the runs below a folder, oldest first; folders whose record cannot be read at all are left out.

    A listing shows what can be read, with defaults for values of the wrong type; opening the run by name reports them.
    """
    found = []
    for record in runs.glob(f"*/{RECORD}"):
        try:
            found.append(Run(record.parent, read_record(record.parent, strict=False)))
        except RunError:
            continue
    return sorted(found, key=lambda run: (run.record.created, run.name))


def create_run(runs: Path, *, stem: str) -> Path:
    """Makes and returns a new folder ``<stem>-<n>`` below `runs`; n is one more than the highest there.

    Characters of `stem` that do not belong into a folder's name become dashes.

    Raises:
        RunError: The folder cannot be written to.
    """
    stem = re.sub(r"[^\w.+-]+", "-", stem).strip("-.").encode()[:_STEM_BYTES].decode(errors="ignore") or "run"
    try:
        runs.mkdir(parents=True, exist_ok=True)
        taken = [int(m[1]) for p in runs.iterdir() if (m := re.fullmatch(re.escape(stem) + r"-([0-9]{1,9})", p.name))]
        number = max(taken, default=0) + 1
        while True:
            folder = runs / f"{stem}-{number}"
            try:
                folder.mkdir()
            except FileExistsError:  # another process was faster
                number += 1
                continue
            return folder
    except OSError as error:
        raise RunError(
            f"Cannot make a run folder below {runs}: {error.strerror}.", hint="Choose another with --runs DIR."
        ) from error


def append_metrics(folder: Path, row: Mapping[str, Any]) -> None:
    """Adds the row of an epoch to ``metrics.jsonl``; NaN and infinities, which JSON lacks, are written as null.

    Rows of the same epoch and of later ones, left by a run that was killed and resumed, are dropped.
    """
    earlier = [known for known in Run(folder, RunRecord()).metrics() if known["epoch"] < row["epoch"]]
    with atomic_write(folder / METRICS) as path:
        path.write_text("".join(json.dumps(finite(each)) + "\n" for each in (*earlier, row)), encoding="utf-8")
