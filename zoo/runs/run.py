"""The run folder: written aside and renamed, read back without torch.

``run.json``           what was asked for, what it was done with, and under ``results`` what came of it
``model.safetensors``  the weights of the best epoch: ``backbone.*`` and ``head.*``
``metrics.jsonl``      one `EpochResult` a line
``checkpoint.pt``      what a stopped run goes on from (`zoo.training.checkpoint`); gone when it is finished
``curves.png``, ``confusion.png``, ``mistakes.png``
``manifest.json``      size and SHA-256 of every file, as `zoo.runs.manifest` writes it when the run is finished
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.errors import RunError
from zoo.preprocess import Preprocess, preprocess_from_dict
from zoo.utils.files import atomic_write, read_plain

FORMAT = 1
RECORD = "run.json"
WEIGHTS = "model.safetensors"
METRICS = "metrics.jsonl"
CHECKPOINT = "checkpoint.pt"
DIGITS = 8  # of the hash of a photo, as `zoo.data.sources.fingerprint.fingerprint_images` gives it
FILES = (RECORD, WEIGHTS, METRICS, CHECKPOINT, "curves.png", "confusion.png", "mistakes.png", "manifest.json")
RUNS = Path("runs")
MAX_CLASSES = 100_000
_STEM_BYTES = 200  # File systems take names of up to 255 bytes.


@dataclass(frozen=True, slots=True)
class Run:
    """A run folder.

    Attributes:
        path: The folder.
        record: The content of ``run.json``.
    """

    path: Path
    record: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The folder's name, also where the path is ``"."``."""
        return self.path.resolve().name

    @property
    def config(self) -> Mapping[str, Any]:
        """The fields of `FinetuneConfig`."""
        return dict(self._part("config", dict))

    @property
    def backbone(self) -> str:
        """Qualified name of the backbone."""
        return str(self._part("backbone", str))

    @property
    def head(self) -> str:
        """Qualified name of the head."""
        return str(self._part("head", str))

    @property
    def fingerprint(self) -> str:
        """Of the data, as `zoo.data.sources.fingerprint` makes it; empty where none was written down."""
        return str(self._part("data", dict).get("fingerprint", ""))

    @property
    def split(self) -> Mapping[str, list[str]]:
        """Names of the photos of each part; empty where none were written down."""
        split = self._part("data", dict).get("split", {})
        return (
            {part: names for part, names in split.items() if isinstance(names, list)} if isinstance(split, dict) else {}
        )

    @property
    def leaks(self) -> tuple[str, ...]:
        """What was found of test photos that were trained on, a sentence each; empty where nobody has looked."""
        check = self._part("data", dict).get("check")
        found = check.get("findings") if isinstance(check, dict) else None
        rows = [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []
        return tuple(str(row.get("text", "")) for row in rows if row.get("kind") == "leak")

    @property
    def digests(self) -> Mapping[str, list[str]]:
        """Of each part the short hashes of its photos, in the order of `split`; empty where none were written down."""
        joined = self._part("data", dict).get("digests", {})
        return {
            part: [text[start : start + DIGITS] for start in range(0, len(text), DIGITS)]
            for part, text in (joined.items() if isinstance(joined, dict) else ())
            if isinstance(text, str)
        }

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the outputs."""
        names = tuple(map(str, self._part("classes", list)))
        if len(names) > MAX_CLASSES or len(set(names)) < len(names):
            raise RunError(
                f"{self.path / RECORD} has an unreadable 'classes': {len(names):,} names, {len(set(names)):,} of them "
                f"different; at most {MAX_CLASSES:,} can be.",
                hint="Was it edited by hand, or by another tool?",
            )
        return names

    @property
    def preprocess(self) -> Preprocess:
        """How pixels become the network's input."""
        return preprocess_from_dict(self._part("preprocess", dict), where=str(self.path / RECORD))

    @property
    def results(self) -> Mapping[str, Any]:
        """The final figures; empty while the run is unfinished."""
        return dict(self._part("results", dict)) if self.record.get("results") else {}

    @property
    def finished(self) -> bool:
        """Whether training came to its end."""
        return self.record.get("status") == "finished"

    @property
    def weights_path(self) -> Path:
        """The weights of the best epoch."""
        return self.path / WEIGHTS

    def metrics(self) -> list[dict[str, Any]]:
        """Returns the rows of ``metrics.jsonl``; a last line that was cut off is left out."""
        path = self.path / METRICS
        try:
            lines = read_plain(path).decode("utf-8").splitlines()
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

    def _part(self, key: str, kind: type[Any]) -> Any:
        value = self.record.get(key)
        if not isinstance(value, kind):
            what = "no" if value is None else "an unreadable"
            raise RunError(
                f"{self.path / RECORD} has {what} '{key}'.", hint="Was it edited by hand, or by another tool?"
            )
        return value


def is_run(folder: Path) -> bool:
    """Returns whether a folder holds the record of a run, readable or not."""
    try:
        return (folder / RECORD).is_file()
    except OSError:  # A reference may be longer than a file's name can be, or lie in a folder that is closed to us.
        return False


def list_runs(runs: Path = RUNS) -> list[Run]:
    """Returns the runs below a folder, oldest first; folders that are no runs are left out."""
    found = []
    for record in runs.glob(f"*/{RECORD}"):
        try:
            found.append(Run(record.parent, read_record(record)))
        except RunError:
            continue  # A listing shows what can be read; opening the run by name tells what is wrong with it.
    return sorted(found, key=lambda run: (str(run.record.get("created", "")), run.name))


def create_run(runs: Path, *, stem: str) -> Path:
    """Makes and returns a new folder ``<stem>-<n>`` below `runs`; n is one more than the highest there.

    Of `stem`, which may hold names from elsewhere, what does not belong into a folder's name becomes a dash.

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


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Writes ``run.json``, whole or not at all; NaN and infinities, which JSON lacks, are written as null."""
    with atomic_write(folder / RECORD) as aside:
        aside.write_text(json.dumps(_finite({"format": FORMAT, **record}), indent=2) + "\n", encoding="utf-8")


def append_metrics(folder: Path, row: Mapping[str, Any]) -> None:
    """Adds the row of an epoch to ``metrics.jsonl``; NaN and infinities are written as null.

    Rows of the same epoch and of later ones, left by a run that was killed and resumed, are dropped.
    """
    earlier = [known for known in Run(folder, {}).metrics() if known["epoch"] < row["epoch"]]
    with atomic_write(folder / METRICS) as aside:
        aside.write_text("".join(json.dumps(_finite(each)) + "\n" for each in (*earlier, row)), encoding="utf-8")


def _finite(value: Any) -> Any:
    """Returns a JSON value with None in place of NaN and infinities, however deep."""
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_run(folder: Path) -> Run:
    """Returns the run in a folder; raises `RunError` where its record cannot be read."""
    return Run(folder, read_record(folder / RECORD))


def read_record(path: Path) -> Mapping[str, Any]:
    """Returns the content of a ``run.json``; raises `RunError` where it cannot be read."""
    try:
        record = json.loads(read_plain(path).decode("utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # ValueError: not UTF-8, not JSON, a number beyond reason
        raise RunError(f"{path} cannot be read: {error}.", hint="Was the run cut off, or edited by hand?") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise RunError(f"{path} is no run record of format {FORMAT}.", hint="Was it written by a newer version?")
    return record
