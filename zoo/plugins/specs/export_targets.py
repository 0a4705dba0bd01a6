"""Targets of exports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.events import Observer, ignore
from zoo.plugins.specs.base import Spec


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest:
    """The argument of `ExportTargetSpec.export`.

    Attributes:
        run: The folder of a finished run.
        to: The file or folder to write, or None for the default beside the run's own files.
        options: An instance of `ExportTargetSpec.options`.
        observer: Called with events.
        registry: The plugins to open the run with, a `zoo.Registry`; None for those of the environment.
    """

    run: Path
    to: Path | None
    options: Any
    observer: Observer = ignore
    registry: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportTargetSpec(Spec):
    """A target of ``zoo export RUN --to NAME``.

    Attributes:
        export: Writes the files, checks on photos of the run that they give its answers, and returns their path.
            Nothing is written if the check fails.
    """

    export: Callable[[ExportRequest], Path] | str
