"""Finished runs of trainers, and the folder that keeps them."""

from __future__ import annotations

import hashlib
import json
import os
from collections import defaultdict
from datetime import UTC, datetime
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

from _sets import class_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class Result(NamedTuple):
    """One finished run.

    Attributes:
        seconds: From the start of its process to the end.
        cpu_seconds: Processor time, which other programs on the machine disturb less.
        accuracy: Test accuracy, 0 to 1, as the trainer reports it.
        predictions: Predicted class of each test photo.
        load: The machine's load when the run began; an idle machine has 0.
    """

    seconds: float
    cpu_seconds: float
    accuracy: float
    predictions: Mapping[str, str]
    load: float

    def is_right(self, name: str) -> bool:
        """Returns whether the class of a test photo is predicted."""
        return self.predictions[name] == class_of(name)

    def balanced_accuracy(self) -> float:
        """Returns the mean of the classes' accuracies."""
        classes = defaultdict(list)
        for name in self.predictions:
            classes[class_of(name)].append(self.is_right(name))
        return fmean(fmean(each) for each in classes.values())

    def predicted_accuracy(self) -> float:
        """Returns the accuracy of the predictions."""
        return fmean(map(self.is_right, self.predictions))


class Store:
    """The finished runs, one JSON file each.

    Args:
        folder: Folder of the files.
        any_code: Whether results of other versions of the code count.

    Attributes:
        folder: Folder of the files.
        others: Number of results found that are of other versions of the code.
    """

    def __init__(self, folder: Path, *, any_code: bool = False) -> None:
        self.folder = folder
        self.others = 0
        self._any_code = any_code
        folder.mkdir(parents=True, exist_ok=True)

    def find(self, key: Mapping[str, Any], code: str) -> Result | None:
        """Returns the result of a run, or None if it is not finished."""
        file = self._file(key, code)
        if not file.is_file() and self._any_code:
            others = sorted(self.folder.glob(self._file(key, "*").name), key=lambda each: each.stat().st_mtime)
            self.others += bool(others)
            file = others[-1] if others else file
        if not file.is_file():
            return None
        values = json.loads(file.read_text("utf-8"))
        return Result(**{field: values[field] for field in Result._fields})

    def add(self, key: Mapping[str, Any], code: str, values: Mapping[str, Any]) -> None:
        """Writes a result: the fields of `Result`, and whatever else explains the run."""
        file = self._file(key, code)
        unfinished = file.with_suffix(f".{os.getpid()}")
        content = {"key": key, "code": code, "created": datetime.now(UTC).isoformat(timespec="seconds"), **values}
        unfinished.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
        unfinished.rename(file)

    def _file(self, key: Mapping[str, Any], code: str) -> Path:
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        return self.folder / f"{digest[:24]}-{code[:8]}.json"
