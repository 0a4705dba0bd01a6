"""Describes a run as plain values."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from zoo.config import make_config
from zoo.errors import ZooError
from zoo.runs.exports import read_exports
from zoo.runs.tags import tags_by_run
from zoo.utils.files import replace_nonfinite

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zoo.metrics.calibration import Calibration
    from zoo.metrics.costs import CostDecision
    from zoo.preprocess import Preprocess
    from zoo.runs.exports import ExportRecord
    from zoo.runs.familiarity import FamiliarityRecord
    from zoo.runs.run import RunFolder

_CHOSEN = ("weights", "freeze")  # a recipe has other values for some of these
_GIVEN = ("backbone", "data", "recipe", *_CHOSEN)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDescription:
    """A run.

    Attributes:
        name: The name of its folder.
        path: The path of its folder.
        origin: Where the copy was fetched from; empty for a run of this machine.
        tags: Its tags.
        status: As in `RunFolder.status`.
        created: Start of the run, ISO 8601.
        backbone: Qualified name.
        head: Qualified name.
        classes: Class names, in the order of the outputs.
        decision: How to decide between two classes whose mistakes do not cost the same; None for the most probable.
        multi_label: Whether a photo has any number of labels.
        thresholds: The threshold of each class, in the order of the outputs; empty with one class per photo.
        calibration: How the probabilities were calibrated, and what prediction sets are made from; None if not
            recorded.
        familiarity: How unfamiliar photos are recognised; None if they are not.
        preprocess: How pixels become the input of the network; None if not recorded.
        weights: One line about the initial weights.
        data: The name, the note, the fingerprint and the number of photos of each split; problems under ``leaks``.
        settings: The fields of `FinetuneConfig`.
        changed: Those that differ from the recipe, and initial weights and frozen stages; None if the recipe is not
            known here.
        results: The final figures: of each split ``accuracy`` with its ``interval``, or ``mean_ap`` with others; empty
            if the run is unfinished.
        plugins: Versions of the plugins that the run was made with.
        packages: Versions of packages.
        hardware: The device, the precision and what was chosen automatically.
        files: The size in bytes of each file in the folder.
        exports: What it was exported to, and by which version of which plugin.
        kind: ``"run"``.
    """

    name: str
    path: str
    origin: str
    tags: tuple[str, ...]
    status: str
    created: str
    backbone: str
    head: str
    classes: tuple[str, ...]
    decision: CostDecision | None
    multi_label: bool
    thresholds: tuple[float, ...]
    calibration: Calibration | None
    familiarity: FamiliarityRecord | None
    preprocess: Preprocess | None
    weights: str
    data: Mapping[str, Any]
    settings: Mapping[str, Any]
    changed: Mapping[str, Any] | None
    results: Mapping[str, Any]
    plugins: Mapping[str, str]
    packages: Mapping[str, str]
    hardware: Mapping[str, Any]
    files: Mapping[str, int]
    exports: tuple[ExportRecord, ...]
    kind: str = "run"

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as plain values, fit for JSON."""
        values: dict[str, Any] = replace_nonfinite(asdict(self))
        return {"kind": values.pop("kind"), **values}


def describe_run(run: RunFolder) -> RunDescription:
    """Describes a run. Imports neither torch nor its plugins.

    Raises:
        RunError: The tags or the record of exports cannot be read.
    """
    record, folder = run.record, run.path.resolve()
    data = record.data
    return RunDescription(
        name=run.name,
        path=str(run.path),
        origin=run.origin,
        tags=tuple(tags_by_run(folder.parent).get(run.name, ())),
        status=run.status,
        created=record.created,
        backbone=record.backbone,
        head=record.head,
        classes=record.classes,
        decision=record.decision,
        multi_label=record.multi_label,
        thresholds=record.thresholds,
        calibration=record.calibration,
        familiarity=record.familiarity,
        preprocess=record.preprocess,
        weights=" ".join(filter(None, (record.weights, record.partly_random))),
        data={
            "name": data.name or str(record.config.get("data", "")),
            "note": data.note,
            "fingerprint": data.fingerprint,
            "counts": dict(data.counts),
            "leaks": list(data.leaks),
        },
        settings=dict(record.config),
        changed=_find_changes(record.config),
        results=dict(record.results),
        plugins=dict(record.plugins),
        packages=dict(record.packages),
        hardware=dict(record.hardware),
        files={
            path.relative_to(folder).as_posix(): path.lstat().st_size
            for path in sorted(folder.rglob("*"))
            if not path.is_dir()
        },
        exports=read_exports(folder),
    )


def _find_changes(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """Returns the settings that differ from those of the recipe with nothing else set."""
    try:
        usual = make_config(**{name: config[name] for name in _GIVEN if name in config}).to_dict()
    except (ZooError, TypeError):  # a recipe of a plugin that is not installed, or an edited record
        return None
    return {name: value for name, value in config.items() if name in _CHOSEN or value != usual.get(name)}
