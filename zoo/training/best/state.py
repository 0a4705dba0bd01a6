"""The folder of a search: its settings, what was tried so far, and the time used, so that it can be resumed."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.errors import RunError
from zoo.plugins.specs import UNSTORED, ImageSet
from zoo.training.best.attempts import Attempt, Outcome, Source, attempt_from_dict
from zoo.training.scores import Scores
from zoo.utils.files import atomic_write, parse_json, read_regular_file, remove_temporary_files

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FILE, TRIALS, PICTURE, TABLE = "search.json", "trials", "search.png", "search.csv"
_VERSION = 1


@dataclass(slots=True, kw_only=True)
class SearchState:
    """What a search has to remember.

    Attributes:
        folder: Its folder.
        minutes: The time that it may take.
        data: As in `zoo.finetune`; only the name of an `ImageSet` is stored.
        values: Other fields of `FinetuneConfig` that all attempts have in common.
        sources: The backbones to try.
        used: Seconds used so far.
        running: The attempt that was started and did not end.
        outcomes: What was tried.
        run: Name of the chosen run beside the folder, once it is decided.
        finished: Whether the chosen run is complete, and has this name.
    """

    folder: Path
    minutes: float
    data: str | ImageSet
    values: Mapping[str, Any]
    sources: tuple[Source, ...]
    used: float = 0.0
    running: Attempt | None = None
    outcomes: list[Outcome] = field(default_factory=list)
    run: str = ""
    finished: bool = False

    @property
    def number(self) -> int:
        """The number of the next attempt, from 1."""
        return len(self.outcomes) + 1

    def trial_folder(self, number: int) -> Path:
        """Returns the folder in which the run folder of an attempt is created."""
        return self.folder / TRIALS / f"{number:03}"

    def find_run(self, outcome: Outcome) -> Path:
        """Returns the run folder of an outcome."""
        return self.trial_folder(self.outcomes.index(outcome) + 1) / outcome.folder

    def add(self, outcome: Outcome) -> None:
        """Adds what came of the attempt that was running, and saves the state."""
        self.trial_folder(self.number).mkdir(parents=True, exist_ok=True)
        arrays: dict[str, Any] = {}
        for name, scores in outcome.scores.items():
            arrays |= {f"{name}.losses": scores.losses, f"{name}.correct": scores.correct}
        with atomic_write(_scores_file(self.trial_folder(self.number))) as path:
            np.savez(path, **arrays)
        self.outcomes.append(outcome)
        self.running = None
        self.save()

    def save(self) -> None:
        """Writes the state.

        Raises:
            RunError: The file cannot be written.
        """
        plain = {
            "version": _VERSION,
            "minutes": self.minutes,
            "used": self.used,
            "run": self.run,
            "finished": self.finished,
            "data": f"{UNSTORED}{self.data.name}" if isinstance(self.data, ImageSet) else self.data,
            "values": dict(self.values),
            "sources": [asdict(each) for each in self.sources],
            "running": None if self.running is None else asdict(self.running),
            "outcomes": [each.to_dict() for each in self.outcomes],
        }
        with atomic_write(self.folder / FILE) as path:
            path.write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")


def read_state(folder: Path) -> SearchState:
    """Returns the state of a search.

    Raises:
        RunError: The folder has none, or it cannot be read.
    """
    try:
        plain = parse_json(read_regular_file(folder / FILE))
        remove_temporary_files(folder, (FILE,))
        state = SearchState(
            folder=folder,
            minutes=float(plain["minutes"]),
            data=plain["data"],
            values=plain["values"],
            sources=tuple(Source(**each) for each in plain["sources"]),
            used=float(plain["used"]),
            running=None if plain["running"] is None else attempt_from_dict(plain["running"]),
            run=plain["run"],
            finished=plain["finished"],
        )
        for number, values in enumerate(plain["outcomes"], start=1):
            # Those of a finished search are deleted.
            scores = {} if state.finished else _read_scores(_scores_file(state.trial_folder(number)))
            state.outcomes.append(Outcome.from_dict(values, scores))
    except FileNotFoundError as error:
        raise RunError(
            f"{error.filename or folder} does not exist: {folder} is not the folder of a search.",
            hint="'zoo best' prints the folder when it starts.",
        ) from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise RunError(f"{folder / FILE} cannot be read: {error!r}.", hint="Start a new search.") from error
    return state


def create_folder(runs: Path, *, stem: str) -> Path:
    """Creates a new folder for a search, beside the runs.

    Raises:
        RunError: The folder cannot be written to.
    """
    from zoo.runs.run import create_run

    folder = create_run(runs, stem=stem)
    if not os.access(folder, os.W_OK):
        raise RunError(f"{folder} is not writable.", hint="Choose another folder with --runs DIR.")
    return folder


def _scores_file(folder: Path) -> Path:
    return folder / "scores.npz"


def _read_scores(path: Path) -> dict[str, Scores]:
    with np.load(path, allow_pickle=False) as arrays:
        names = dict.fromkeys(key.rpartition(".")[0] for key in arrays.files)
        return {name: Scores(arrays[f"{name}.losses"], arrays[f"{name}.correct"]) for name in names}
