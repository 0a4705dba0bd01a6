"""The run folder: written aside and renamed, read back without torch.

``run.json``           what was asked for, what it was done with, and under ``results`` what came of it
``model.safetensors``  the weights of the best epoch: ``backbone.*`` and ``head.*``
``metrics.jsonl``      one `EpochResult` a line
``curves.png``, ``confusion.png``, ``mistakes.png``
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import RunError, did_you_mean
from zoo.specs import Preprocess

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FORMAT = 1
RECORD = "run.json"
WEIGHTS = "model.safetensors"
METRICS = "metrics.jsonl"
RUNS = Path("runs")


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
        """The folder's name."""
        return self.path.name

    @property
    def config(self) -> Mapping[str, Any]:
        """The fields of `FinetuneConfig`."""
        return self._part("config")

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the outputs."""
        return tuple(self._part("classes"))

    @property
    def preprocess(self) -> Preprocess:
        """How pixels become the network's input."""
        return preprocess_from_dict(self._part("preprocess"), where=str(self.path / RECORD))

    @property
    def results(self) -> Mapping[str, Any]:
        """The final figures; empty while the run is unfinished."""
        return self.record.get("results") or {}

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
        try:
            lines = (self.path / METRICS).read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        rows = []
        for number, line in enumerate(lines, start=1):
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError as error:
                if number < len(lines):
                    raise RunError(f"{self.path / METRICS}: line {number} is not JSON: {error}.") from error
        return rows

    def _part(self, key: str) -> Any:
        try:
            return self.record[key]
        except KeyError:
            raise RunError(f"{self.path / RECORD} has no '{key}'.", hint="It is not a run folder of the zoo.") from None


def open_run(reference: str | Path, *, runs: Path = RUNS) -> Run:
    """Returns the run of a folder's path, or of a run's name below `runs`.

    Raises:
        RunError: No such run, or the folder is not a readable run; the hint lists close names.
    """
    for folder in (Path(reference), runs / reference):
        if (folder / RECORD).is_file():
            return Run(folder, _read_record(folder / RECORD))
    known = [run.name for run in list_runs(runs)]
    hint = did_you_mean(str(reference), known) or (f"There is: {', '.join(known[-5:])}." if known else "")
    raise RunError(f"There is no run '{reference}', neither as a folder nor below {runs}/.", hint=hint)


def list_runs(runs: Path = RUNS) -> list[Run]:
    """Returns the runs below a folder, oldest first; folders that are no runs are left out."""
    if not runs.is_dir():
        return []
    found = []
    for record in runs.glob(f"*/{RECORD}"):
        try:
            found.append(Run(record.parent, _read_record(record)))
        except RunError:
            continue  # A listing shows what can be read; opening the run by name tells what is wrong with it.
    return sorted(found, key=lambda run: (str(run.record.get("created", "")), run.name))


def create_run(runs: Path, *, stem: str) -> Path:
    """Makes and returns a new folder ``<stem>-<n>`` below `runs`; n is the first free number.

    Raises:
        RunError: The folder cannot be written to.
    """
    try:
        runs.mkdir(parents=True, exist_ok=True)
        taken = [int(m[1]) for p in runs.iterdir() if (m := re.fullmatch(re.escape(stem) + r"-(\d+)", p.name))]
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
    """Writes ``run.json``, whole or not at all."""
    with written_aside(folder / RECORD) as aside:
        aside.write_text(json.dumps({"format": FORMAT, **record}, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def append_metrics(folder: Path, row: Mapping[str, Any]) -> None:
    """Adds one row to ``metrics.jsonl``; NaN is written as null."""
    clean = {k: None if isinstance(v, float) and v != v else v for k, v in row.items()}
    with (folder / METRICS).open("a", encoding="utf-8") as file:
        file.write(json.dumps(clean, allow_nan=False) + "\n")


@contextmanager
def written_aside(target: Path) -> Iterator[Path]:
    """Gives a path to write to, in the same folder; renames it to `target` when the block ends well.

    Raises:
        RunError: The disk is full, or the folder cannot be written to. `target` is then as it was.
    """
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=target.suffix)
    os.close(handle)
    aside = Path(name)
    try:
        yield aside
        aside.chmod(0o644)
        aside.replace(target)
    except OSError as error:
        raise RunError(f"Cannot write {target}: {error.strerror or error}.", hint="Is the disk full?") from error
    finally:
        aside.unlink(missing_ok=True)


def preprocess_to_dict(preprocess: Preprocess) -> dict[str, Any]:
    """Returns the fields as plain values, fit for JSON."""
    return asdict(preprocess)


def preprocess_from_dict(values: Mapping[str, Any], *, where: str) -> Preprocess:
    """Returns the `Preprocess` of plain values.

    Raises:
        RunError: A field is missing, unknown or of the wrong form; the message names `where`.
    """
    try:
        return Preprocess(
            size=(int(values["size"][0]), int(values["size"][1])),
            resize=int(values["resize"]),
            resize_mode=values["resize_mode"],
            interpolation=values["interpolation"],
            mean=_three(values["mean"]),
            std=_three(values["std"]),
        )
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise RunError(f"{where}: 'preprocess' is not readable: {error!r}.") from error


def _three(values: Any) -> tuple[float, float, float]:
    red, green, blue = map(float, values)
    return red, green, blue


def _read_record(path: Path) -> Mapping[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise RunError(f"{path} cannot be read: {error}.", hint="Was the run cut off, or edited by hand?") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise RunError(f"{path} is no run record of format {FORMAT}.", hint="Was it written by a newer version?")
    return record
