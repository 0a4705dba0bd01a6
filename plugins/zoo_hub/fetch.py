"""Fetches models from the Hub: runs, exported files and weights."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
from typing import TYPE_CHECKING

from zoo.errors import RunError
from zoo.plugins.specs import FetchedModel
from zoo.runs.familiarity import PROTOTYPES
from zoo.runs.manifest import MANIFEST
from zoo.runs.record import PHOTOS, RECORD
from zoo.runs.run import METRICS, WEIGHTS
from zoo.utils.paths import cache_folder
from zoo_hub.repository import Repository, endpoint, parse_repository
from zoo_hub.snapshot import Connection, Snapshot, download_unlisted, matches, open_snapshot

if TYPE_CHECKING:
    from pathlib import Path

    from zoo.plugins.specs import FetchRequest

RUN = "zoo"  # the folder of the run in a repository
ONNX = "model.onnx"
SHARED_PICTURES = ("curves.png", "confusion.png", "precision_recall.png", "reliability.png")
# What is read of a run; a repository may contain anything besides.
RUN_FILES = (RECORD, WEIGHTS, PHOTOS, METRICS, PROTOTYPES, *SHARED_PICTURES, MANIFEST)


def fetch(request: FetchRequest) -> FetchedModel:
    """Returns the local copy of a model; see `zoo.plugins.specs.HubSpec.fetch`.

    Raises:
        ConfigError: The reference is not of the form ``user/name@revision``.
        RunError: There is no such repository, it has nothing of the kind, or it is neither in the cache nor reachable.
        IntegrityError: A file was changed or cut.
    """
    repository = parse_repository(request.reference)
    endpoint()  # raises if huggingface_hub is missing
    connection = Connection()
    snapshot = open_snapshot(repository, connection)
    if snapshot is not None:
        path, pinned = _select(snapshot, request), snapshot.repository
    elif request.wanted == "weights":
        path, pinned = download_unlisted(repository, WEIGHTS, connection)
    else:
        raise _no_run(repository)
    return FetchedModel(path=path, origin=f"hf:{pinned.id}@{pinned.revision}")


def _select(snapshot: Snapshot, request: FetchRequest) -> Path:
    has_file = ONNX in snapshot.manifest
    without_torch = request.wanted == "model" and importlib.util.find_spec("torch") is None
    if has_file and (request.wanted == "file" or without_torch):
        return snapshot.download(ONNX)
    if request.wanted == "file":
        raise RunError(f"{snapshot.repository} has no {ONNX}.", hint="It was pushed with --no-onnx.")
    if f"{RUN}/{RECORD}" not in snapshot.manifest:
        raise _no_run(snapshot.repository)
    return _copy_run(snapshot)


def _no_run(repository: Repository) -> RunError:
    return RunError(
        f"{repository} has no run of the zoo.",
        hint="'zoo push RUN user/name' publishes one. Weights of other repositories: --weights hf:user/name.",
    )


def _copy_run(snapshot: Snapshot) -> Path:
    """Returns a run folder with the files of a run, linked to those in the cache of huggingface_hub if possible.

    The cache itself consists of links, which the zoo does not take for files of a run.
    """
    repository = snapshot.repository
    folder = cache_folder("hubs", "/".join(("hf", repository.user, repository.revision, repository.name)))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in RUN_FILES:
            entry = snapshot.manifest.get(f"{RUN}/{name}")
            if entry is not None and not matches(folder / name, entry):
                _place(snapshot.download(f"{RUN}/{name}"), folder / name)
    except OSError as error:
        raise RunError(
            f"{repository} cannot be copied to {folder}: {error.strerror or error}.",
            hint="Is the disk full? The variable ZOO_HOME names another folder.",
        ) from error
    return folder


def _place(source: Path, target: Path) -> None:
    """Makes a file appear under another name, complete: other processes may do the same."""
    aside = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    try:
        try:
            os.link(source.resolve(), aside)
        except OSError:  # another disk, or a file system without links
            shutil.copyfile(source, aside)
        aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)
