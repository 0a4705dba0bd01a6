"""Targets of exports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.events import Observer, ignore
from zoo.plugins.specs.base import Spec

PHOTOS = 64  # compared by default: takes seconds for a small network


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest:
    """The argument of `ExportTargetSpec.export`.

    Attributes:
        run: The folder of a finished run.
        to: The file or folder to write, or None for one in the run folder, under a name that the target chooses.
        options: An instance of `ExportTargetSpec.options`.
        verify: Whether to compare what is written with the run.
        data: Photos to compare on: a dataset, a folder or a CSV file; None for the validation photos of the run.
        photos: How many of them to compare.
        observer: Called with events.
        registry: The plugins to open the run with, a `zoo.Registry`; None for those of the environment.
    """

    run: Path
    to: Path | None
    options: Any
    verify: bool = True
    data: str | None = None
    photos: int = PHOTOS
    observer: Observer = ignore
    registry: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportTargetSpec(Spec):
    """A target of ``zoo export RUN --to NAME``.

    Attributes:
        export: Writes a file or a folder, and returns its path. If `ExportRequest.verify` is set, it first checks on
            photos that what it writes gives the answers of the run, as `zoo_export.load_reference` does. If they
            differ, or if the target cannot express the run, it raises a `ZooError` and leaves nothing behind.
        usage: Lines that say what to do with the result, such as commands, in which ``{path}`` is its path.
    """

    export: Callable[[ExportRequest], Path] | str
    usage: tuple[str, ...] = ()
