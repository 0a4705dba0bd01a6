"""What of the record of a run is published: nothing that names photos, folders or servers of its owner."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.data.sources.resolve import resolve_data
from zoo.errors import ZooError
from zoo.plugins.specs import UNSTORED
from zoo.runs.record import RunRecord
from zoo.utils.paths import path_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zoo.plugins.registry import Offer, Registry
    from zoo.plugins.specs import DatasetSpec
    from zoo.runs.run import RunFolder

# Fields of the configuration that decide no result, and may contain addresses or keys.
_PRIVATE: dict[str, Any] = {"tracker": [], "tracker_options": {}, "exclude": None, "labels": None}
_PATHS = ("data", "weights", "recipe", "exclude", "labels", "groups")


def find_dataset(run: RunFolder, registry: Registry) -> Offer[DatasetSpec] | None:
    """Returns the dataset that a run was trained on if a plugin offers it; None for photos of the owner."""
    name = str(run.config.get("data", ""))
    if name.startswith(UNSTORED):
        return None
    try:
        source = resolve_data(name, registry=registry, options=run.config.get("data_options", {}))
        return source.offer if source.path is None else None
    except ZooError:  # a folder that was moved, or a plugin that is missing
        return None


def make_public(run: RunFolder, registry: Registry) -> RunRecord:
    """Returns the record of a run without what is private.

    That is the names of photos, and the folders of files: only their last part remains. Of the findings of the data
    check only leaks remain, because they decide how far the results can be trusted.
    """
    record = run.record
    findings = [{"kind": "leak", "text": text} for text in record.data.leaks]
    data = replace(
        record.data, skipped=(), check={"findings": findings} if findings else {}, cache={}, unreadable={}, changed={}
    )
    config = {**record.config, **{name: value for name, value in _PRIVATE.items() if name in record.config}}
    if find_dataset(run, registry) is None and not str(config.get("data", "")).startswith(UNSTORED):
        config["data"] = path_text(Path(Path(str(config.get("data", ""))).name))
    public = replace(record, data=data, config=config, saved={}, other_plugins={}).to_json()
    return RunRecord.from_json(_shorten_paths(public, _private_paths(record.config)), where="the published record")


def _private_paths(config: Mapping[str, Any]) -> dict[str, str]:
    """Returns the paths that a record may contain, with what replaces them; longer ones first."""
    found: dict[str, str] = {}
    for name in _PATHS:
        text = str(config.get(name) or "")
        if "/" in text or "\\" in text:
            path = Path(text)
            if path.is_absolute() or path.exists():
                found |= {str(path.absolute()): path.name, text: path.name}
    home = Path.home()
    if home != home.parent:  # as in some containers
        found[str(home)] = "~"
    return dict(sorted(found.items(), key=lambda pair: -len(pair[0])))


def _shorten_paths(value: Any, paths: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _shorten_paths(each, paths) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_shorten_paths(each, paths) for each in value]
    if isinstance(value, str):
        for path, name in paths.items():
            value = value.replace(path, name)
    return value
