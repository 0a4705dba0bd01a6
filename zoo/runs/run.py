"""The run folder: creates, lists and reads runs, without torch.

``run.json``           the configuration, the software and hardware, and the ``results``
``photos.json``        the name and a short hash of every photo, by split
``model.safetensors``  the weights of the best epoch: ``backbone.*`` and ``head.*``
``metrics.jsonl``      one `EpochResult` per line
``familiarity.safetensors``  prototypes of the training photos (`zoo.models.prototypes`), when the run is finished
``checkpoint.pt``      the state to resume from (`zoo.training.checkpoint`); deleted when the run is finished
``curves.png``, ``confusion.png``, ``reliability.png``, ``mistakes.png``; with several labels ``precision_recall.png``
``predictions.csv``    the probabilities of the photos of a fold, in a run that holds one out (`zoo.runs.predictions`)
``manifest.json``      the size and the SHA-256 of every file (`zoo.runs.manifest`), written when the run is finished
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from zoo.errors import RunError
from zoo.runs.familiarity import PROTOTYPES, FamiliarityRecord, read_prototypes
from zoo.runs.history import History
from zoo.runs.lock import is_locked
from zoo.runs.record import PHOTOS, RECORD, PhotoRecord, RunRecord, read_photos, read_record
from zoo.utils.files import atomic_write, check_json, read_regular_file, replace_nonfinite
from zoo.utils.paths import parse_path

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from zoo.metrics.calibration import Calibration
    from zoo.metrics.costs import CostDecision
    from zoo.preprocess import Preprocess

T = TypeVar("T")
WEIGHTS = "model.safetensors"
METRICS = "metrics.jsonl"
CHECKPOINT = "checkpoint.pt"
PICTURES = ("curves.png", "confusion.png", "mistakes.png", "precision_recall.png", "reliability.png")
PREDICTIONS = "predictions.csv"
FILES = (RECORD, PHOTOS, WEIGHTS, METRICS, CHECKPOINT, PREDICTIONS, PROTOTYPES, *PICTURES, "manifest.json")
RUNS = Path("runs")
_UNDECIDED = 0.5
_MAX_STEM_BYTES = 200  # file systems limit names to 255 bytes


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A run folder, with what is recorded in it. `zoo.inference.run.Run` adds what can be done with it.

    Attributes:
        path: The folder.
        record: The content of ``run.json``.
        origin: Where a copy is from, ``"hf:anna/hotdog@3f2c..."``; empty for a run of this machine.

    Raises:
        RunError: A property that the record lacks is read.
    """

    path: Path
    record: RunRecord = field(repr=False)
    origin: str = field(default="", compare=False, kw_only=True)

    @property
    def name(self) -> str:
        """The name of the folder, even if the path is ``"."``."""
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
        """How pixels become the input of the network."""
        return self._require("preprocess", self.record.preprocess)

    @property
    def multi_label(self) -> bool:
        """Whether a photo has any number of labels."""
        return self.record.multi_label

    @property
    def thresholds(self) -> tuple[float, ...]:
        """The threshold of each class, 0.5 until they are chosen at the end of training; empty with one class each."""
        if not self.multi_label:
            return ()
        return self.record.thresholds or (_UNDECIDED,) * len(self.classes)

    @property
    def decision(self) -> CostDecision | None:
        """How to decide between two classes whose mistakes do not cost the same; None for the most probable."""
        return self.record.decision

    @property
    def calibration(self) -> Calibration | None:
        """How the probabilities are calibrated; None until training is finished, and in runs of earlier versions."""
        return self.record.calibration

    @property
    def familiarity(self) -> FamiliarityRecord | None:
        """How unfamiliar photos are recognised; None if the run does not recognise them."""
        return self.record.familiarity

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the data; empty if not recorded."""
        return self.record.data.fingerprint

    @property
    def leaks(self) -> tuple[str, ...]:
        """A sentence for each leak of test photos into training; empty if the data was not checked."""
        return self.record.data.leaks

    @property
    def results(self) -> Mapping[str, Any]:
        """The final metrics; empty while the run is unfinished."""
        return self.record.results

    @property
    def status(self) -> str:
        """The status of the record; ``"stopped"`` if that is ``"training"``, but no process trains the run any more."""
        stopped = self.record.status == "training" and not is_locked(self.path)
        return "stopped" if stopped else self.record.status

    @property
    def finished(self) -> bool:
        """Whether training is finished."""
        return self.record.status == "finished"

    @property
    def weights_path(self) -> Path:
        """The file with the weights of the best epoch."""
        return self.path / WEIGHTS

    @property
    def history(self) -> History:
        """The rows of `metrics`, which a notebook shows as a table; ``history.to_pandas()`` is one of pandas."""
        return History(self.metrics())

    def refuse_copy(self, hint: str) -> None:
        """Raises an error if the run is the copy of one on a hub, in which nothing may be changed.

        Args:
            hint: What to do instead.

        Raises:
            RunError: It is such a copy.
        """
        if self.origin:
            raise RunError(f"{self.origin} is the copy of a run on a hub, which stays as it is.", hint=hint)

    def photos(self) -> PhotoRecord:
        """Reads and returns the names and hashes of all photos; the file grows with the dataset.

        Raises:
            RunError: The file cannot be read.
        """
        return read_photos(self.path)

    def prototypes(self) -> NDArray[np.float16] | None:
        """Reads and returns the prototypes, float16 ``(K, D)``; None if the run does not recognise unfamiliar photos.

        Raises:
            RunError: The file is missing, broken or of another run.
        """
        return None if self.familiarity is None else read_prototypes(self.path, self.familiarity)

    def metrics(self) -> list[dict[str, Any]]:
        """Returns the rows of ``metrics.jsonl``, without a last line that is incomplete.

        Raises:
            RunError: The file cannot be read, or has an invalid line before the last one.
        """
        path = self.path / METRICS
        try:
            content = read_regular_file(path)
            check_json(content)
            lines = content.decode("utf-8").splitlines()
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:  # ValueError: not UTF-8, or too many values
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
                    raise RunError(f"{path}: line {number} is not the result of an epoch: {error}.") from error
        return rows

    def _repr_html_(self) -> str:
        from zoo.runs.notebook import show_run

        return show_run(self.record, name=self.name, status=self.status, path=self.path)

    def _require(self, key: str, value: T | None) -> T:
        if value:
            return value
        raise RunError(
            f"{self.path / RECORD} has no '{key}'.", hint="It may have been edited by hand, or by another program."
        )


def read_run(folder: Path) -> RunFolder:
    """Returns the run in a folder.

    Raises:
        RunError: Its record cannot be read.
    """
    return RunFolder(folder, read_record(folder))


def is_run(folder: Path) -> bool:
    """Returns whether a folder contains the record of a run, readable or not."""
    try:
        return (folder / RECORD).is_file()
    except OSError:  # the name is too long, or the parent folder is not accessible
        return False


def list_runs(runs: str | os.PathLike[str] = RUNS) -> list[RunFolder]:
    """Returns the runs in a folder, oldest first, without those whose record cannot be read.

    In a listing, values of the wrong type are replaced by their defaults; opening the run by name reports them.
    """
    found = []
    for record in parse_path(runs).glob(f"*/{RECORD}"):
        try:
            found.append(RunFolder(record.parent, read_record(record.parent, strict=False)))
        except RunError:
            continue
    return sorted(found, key=lambda run: (not run.record.created, run.record.created, run.name))


def create_run(runs: Path, *, stem: str) -> Path:
    """Creates a new folder ``<stem>-<n>`` in `runs` and returns it; n is one more than the highest existing number.

    Args:
        runs: The folder of the runs, which need not exist.
        stem: The first part of the name; characters that are not suitable for folder names become dashes.

    Raises:
        RunError: The folder cannot be written to.
    """
    stem = re.sub(r"[^\w.+-]+", "-", stem).strip("-.").encode()[:_MAX_STEM_BYTES].decode(errors="ignore") or "run"
    try:
        runs.mkdir(parents=True, exist_ok=True)
        used = [int(m[1]) for p in runs.iterdir() if (m := re.fullmatch(re.escape(stem) + r"-([0-9]{1,9})", p.name))]
        number = max(used, default=0) + 1
        while True:
            folder = runs / f"{stem}-{number}"
            try:
                folder.mkdir()
            except FileExistsError:  # another process has just created it
                number += 1
                continue
            return folder
    except OSError as error:
        raise RunError(
            f"Cannot create a run folder in {runs}: {error.strerror}.", hint="Choose another folder with --runs DIR."
        ) from error


def append_metrics(folder: Path, row: Mapping[str, Any]) -> None:
    """Appends the result of an epoch to ``metrics.jsonl``; NaN and infinities, which JSON lacks, become null.

    Removes rows of the same and of later epochs, which a run that was killed and resumed has left.

    Raises:
        RunError: The file cannot be read or written.
    """
    earlier = [known for known in RunFolder(folder, RunRecord()).metrics() if known["epoch"] < row["epoch"]]
    with atomic_write(folder / METRICS) as path:
        path.write_text(
            "".join(json.dumps(replace_nonfinite(each)) + "\n" for each in (*earlier, row)), encoding="utf-8"
        )
