"""Exports a run with the target of a plugin, and records the export. Imports no torch itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import RunError
from zoo.events import Note, Observer, ignore
from zoo.plugins.calls import plugin_failure
from zoo.plugins.kinds import EXPORT_TARGET
from zoo.plugins.registry import Offer, Registry, load_registry
from zoo.plugins.specs import ExportRequest, ExportTargetSpec
from zoo.plugins.specs.export_targets import PHOTOS
from zoo.runs.exports import record_export

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zoo.runs.run import RunFolder


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """The result of an export.

    Attributes:
        path: The file or folder that was written.
        offer: The target.
    """

    path: Path
    offer: Offer[ExportTargetSpec]

    @property
    def usage(self) -> tuple[str, ...]:
        """What to do with the result, a command or a line of code each."""
        return tuple(line.format(path=self.path) for line in self.offer.spec.usage)


def export_run(
    run: RunFolder,
    target: str = "onnx",
    *,
    output: Path | None = None,
    options: Mapping[str, Any] | None = None,
    verify: bool = True,
    data: str | None = None,
    photos: int = PHOTOS,
    observer: Observer = ignore,
    registry: Registry | None = None,
    record: bool = True,
) -> Export:
    """Exports a run to a target, and records in the run folder what was written.

    The copy of a run on a hub stays as it is: it needs an `output`, and gets no record.

    Args:
        run: A run with weights.
        target: The name of an export target.
        output: The file or folder to write; by default one in the run folder.
        options: Values of the options of the target.
        verify: Whether to compare what is written with the run.
        data: Photos to compare on: a dataset, a folder or a CSV file; by default the validation photos of the run.
        photos: How many of them to compare, evenly spaced.
        observer: Receives progress.
        registry: The plugins to use; by default those of the environment.
        record: Whether to record it.

    Raises:
        RunError: The run is the copy of one on a hub, and there is no `output`.
        UnknownNameError: No plugin offers the target.
        ConfigError: An option is unknown or invalid.
        ExportError: The target cannot express the run, or what it would write differs from the run.
        PluginError: The plugin of the target failed.
    """
    if output is None:
        run.refuse_copy("Pass the file or folder to write, with -o.")
    registry = registry or load_registry()
    choice = registry.choose(EXPORT_TARGET, target, options or {})
    request = ExportRequest(
        run=run.path,
        to=output,
        options=choice.options,
        verify=verify,
        data=data,
        photos=photos,
        observer=observer,
        registry=registry,
    )
    path: object = choice.offer.call("exporting to", choice.spec.export, request)
    plugin = choice.offer.plugin
    if not isinstance(path, Path) or not path.exists():
        fault = f"it returned {path!r:.80}, not the path of what it wrote"
        raise plugin_failure(plugin, f"exporting to '{choice.spec.name}'", fault)
    if record and not run.origin:
        _record(run, path, choice.offer, verified=verify, observer=observer)
    return Export(path=path, offer=choice.offer)


def _record(run: RunFolder, path: Path, offer: Offer[ExportTargetSpec], *, verified: bool, observer: Observer) -> None:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    source = {"target": offer.name, "plugin": offer.plugin.key, "version": offer.plugin.version}
    try:
        record_export(run.path, path, **source, verified=verified, exported=now)
    except RunError as error:  # the export itself is complete
        observer(Note(text=f"The export is not recorded in the run folder: {error.message}", warning=True))
