"""Finds the run that a user means: by the path of its folder, its name, a tag, or a reference to a hub."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.config import FinetuneConfig
from zoo.errors import ConfigError, RunError, UnknownNameError, ZooError, did_you_mean
from zoo.plugins.entry_points import BUILT_IN, DISTRIBUTION
from zoo.plugins.hubs import fetch_model
from zoo.plugins.kinds import BACKBONE
from zoo.plugins.registry import get_card
from zoo.runs.cross_validation import is_cross_validation
from zoo.runs.record import RECORD
from zoo.runs.run import RUNS, RunFolder, is_run, read_run
from zoo.runs.tag_history import is_tag
from zoo.runs.tags import open_tagged
from zoo.utils.installer import install_command
from zoo.utils.paths import describe_missing_path, is_path_like, missing_path_advice, parse_path

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from zoo.plugins.registry import Registry
    from zoo.plugins.specs import FetchedModel, WeightsInfo
    from zoo.runs.record import RunRecord

_LISTED_RUNS = 5  # in the hint of an error
_MAX_QUOTED = 200  # characters of a name in a message
_BEFORE = {
    "groups": "none"
}  # what records of earlier versions lack, with the value that repeats what these versions did
_OWN = (DISTRIBUTION, *BUILT_IN)  # the names of built-in plugins in records of this version and of earlier ones
_DISTRIBUTION = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_VERSION = re.compile(r"[0-9A-Za-z.+!_-]*")
_RELEASE = re.compile(r"[0-9]+(\.[0-9]+)*")  # other versions are often on no index


def open_run(reference: str | os.PathLike[str], *, runs: str | os.PathLike[str] = RUNS) -> RunFolder:
    """Returns a run.

    Args:
        reference: The path of the run folder, the name of a run below `runs`, a tag (``hotdog@3``), or a run on a hub
            (``hf:anna/hotdog``), of which a copy is opened.
        runs: The folder of the runs.

    Raises:
        RunError: There is no such run, or its record cannot be read; the hint lists close matches.
        IntegrityError: The run of the tag, or the copy, was changed.
    """
    return _open_run(
        reference, parse_path(runs), missing="There is no run '{name}', neither as a folder nor in {runs}/."
    )


def _open_run(reference: str | os.PathLike[str], runs: Path, *, missing: str) -> RunFolder:
    path = _to_path(reference)
    if (run := find_run(reference, runs=runs)) is not None:
        return run
    name = os.fspath(reference)
    if is_cross_validation(runs / path):
        path = runs / path
    if _is_file(path):
        raise RunError(
            f"{path} is a file, not a run folder.",
            hint="Exported files are opened by 'zoo predict' and 'zoo evaluate', and in Python by zoo_export.load().",
        )
    if os.path.isdir(path):  # noqa: PTH112  pathlib raises where a name is too long
        hint = "Pass the folder or the name of a run; 'zoo runs' lists them."
        if is_cross_validation(path):
            hint = f"It is a cross-validation; its runs are {path / 'fold-1'}, fold-2 and so on."
        raise RunError(f"The folder {path} is not a run: it contains no {RECORD}.", hint=hint)
    known = list_run_names(runs)
    hint = did_you_mean(Path(name).name, known) or missing_path_advice(name)
    if known and not hint:
        hint = f"The last runs in {runs}/ are {', '.join(known[-_LISTED_RUNS:])}."
    if is_path_like(name):
        raise RunError(describe_missing_path(name), hint=hint or "Check the path; 'zoo runs' lists the runs.")
    shown = name if len(name) <= _MAX_QUOTED else f"{name[:_MAX_QUOTED]}..."
    raise RunError(missing.format(name=shown, runs=runs), hint=hint)


def find_run(reference: str | os.PathLike[str], *, runs: Path = RUNS) -> RunFolder | None:
    """Returns a run as `open_run` does, or None if nothing has that path or name.

    Raises:
        RunError: There is no such tag, the record cannot be read, or a hub does not have the run.
        IntegrityError: The run of the tag, or the copy from a hub, was changed.
    """
    for folder in (_to_path(reference), runs / reference):
        if is_run(folder):
            return read_run(folder)
    name = os.fspath(reference)
    if is_tag(name):
        return open_tagged(name, runs=runs)
    fetched = fetch_model(name, "run")
    return None if fetched is None else read_fetched(fetched)


def read_fetched(fetched: FetchedModel) -> RunFolder:
    """Returns the run in a folder that was fetched from a hub.

    Raises:
        RunError: The folder is not a run, or its record cannot be read.
    """
    return replace(read_run(fetched.path), origin=fetched.origin)


def list_run_names(runs: Path = RUNS) -> list[str]:
    """Returns the names of all runs in a folder, readable or not, sorted."""
    return sorted(record.parent.name for record in runs.glob(f"*/{RECORD}"))


def locate_path(reference: str | os.PathLike[str], *, runs: Path = RUNS) -> Path:
    """Returns the path that a user means: an existing file or folder, or else the folder of a run (see `open_run`).

    Raises:
        RunError: There is no such path, run or tag.
    """
    path = _to_path(reference)
    if _exists(path):
        return path
    if (fetched := fetch_model(reference, "run")) is not None:
        return fetched.path
    missing = "There is no file or folder '{name}', and no run of that name in {runs}/."
    return _open_run(reference, runs, missing=missing).path


def load_config(run: RunFolder, **changes: Any) -> FinetuneConfig:
    """Returns the configuration of a run, with some fields changed.

    Raises:
        RunError: The configuration cannot be read; it was edited by hand, or written by another version.
    """
    try:
        return FinetuneConfig(**{**_BEFORE, **run.config, **changes})
    except (TypeError, ConfigError) as error:
        raise RunError(f"{run.path}: 'config' in run.json is not readable: {error}") from error


@contextmanager
def explained_missing_plugin(run: RunFolder, registry: Registry) -> Iterator[None]:
    """Makes an `UnknownNameError` in the block say which distribution to install, if a plugin of the run is missing.

    Args:
        run: The run whose backbone, head or dataset is looked up in the block.
        registry: The plugins.

    Raises:
        UnknownNameError: A plugin that the run was made with is not installed, or no longer offers the name.
    """
    try:
        yield
    except UnknownNameError as error:
        installed = {plugin.qualifier: plugin for plugin in registry.plugins}
        for distribution, version in _recorded_plugins(run).items():
            plugin, needed = installed.get(distribution), _describe_need(run, distribution, installed)
            if not needed:
                continue
            if plugin is None:
                reason = "which is not installed"
            elif not plugin.error and version not in ("", plugin.version):
                reason = f"but {plugin.version} is installed"
            else:
                continue
            requirement = f"{distribution}=={version}" if _RELEASE.fullmatch(version) else distribution
            raise UnknownNameError(
                f"The run {run.name} needs the {needed} of the plugin {distribution} {version}".rstrip()
                + f", {reason}.",
                hint=f"If you trust the run, install the plugin: {install_command(requirement)}",
            ) from error
        raise


def _describe_need(run: RunFolder, qualifier: str, installed: Collection[str]) -> str:
    """Returns what a run needs of a plugin, ``"backbone 'acme/net'"``; empty if that is unknown.

    A plugin that offers none of the parts that the record names offers the dataset.
    """
    parts = [(kind, name) for kind, names in run.record.parts.items() for name in names]
    parts += [("head", run.head), ("backbone", run.backbone)]
    names = {name.partition("/")[0]: f"{kind} '{name}'" for kind, name in parts}
    if qualifier in names:
        return names[qualifier]
    complete = all(name in BUILT_IN or name in installed for name in names)
    return f"dataset '{run.record.config.get('data')}'" if complete else ""


def _recorded_plugins(run: RunFolder) -> dict[str, str]:
    """Returns the versions of the third-party distributions that a run was made with, by their names."""
    found = {}
    for key, version in run.record.plugins.items():
        distribution = key.partition(":")[0]
        # Nothing but a name may get into the command of the hint: the record may come from a stranger.
        if distribution not in _OWN and _DISTRIBUTION.fullmatch(distribution) and _VERSION.fullmatch(str(version)):
            found[distribution] = str(version)
    return found


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # as in `_exists`
        return False


def _to_path(reference: str | os.PathLike[str]) -> Path:
    if not isinstance(reference, str | os.PathLike) or not isinstance(os.fspath(reference), str):
        raise RunError(
            f"A run cannot be opened by {type(reference).__name__}.",
            hint="Pass the path of its folder, its name or a tag.",
        )
    return Path(os.path.expanduser(reference))  # noqa: PTH111  pathlib raises if there is no such user


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that is too long, or contains a null byte
        return False


def find_weights_info(record: RunRecord, registry: Registry) -> WeightsInfo | None:
    """Returns the pretrained weights that a run started from; None if it started from others, or they are unknown."""
    if record.config.get("weights") != "pretrained":
        return None
    try:
        return get_card(registry.find(BACKBONE, record.backbone)).weights
    except ZooError:
        return None
