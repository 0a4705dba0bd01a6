"""Caches the ONNX graphs of runs in the cache folder, so that a run is exported only once. Imports no torch."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import RunError, ZooError
from zoo.plugins.calls import resolve_callable
from zoo.plugins.code_digests import code_digests
from zoo.plugins.kinds import BACKBONE, HEAD
from zoo.runs.familiarity import PROTOTYPES
from zoo.runs.manifest import hash_file
from zoo.runs.open import load_config
from zoo.utils.files import atomic_write, read_regular_file
from zoo.utils.paths import home

if TYPE_CHECKING:
    from zoo.plugins.registry import Registry
    from zoo.runs.run import RunFolder

MAX_BYTES = 1 << 30  # of all graphs
_DIGEST_BYTES = hashlib.sha256().digest_size


def graph_key(run: RunFolder, registry: Registry) -> str | None:
    """Returns the name of a run's graph in the cache, in hex; None if the run cannot be loaded.

    It depends on everything that the graph is made from: the weights, the record of the run, the code of the zoo and of
    the plugins, and the versions of all installed packages.
    """
    try:
        load_config(run)
        offers = registry.find(BACKBONE, run.backbone), registry.find(HEAD, run.head)
        builders = [resolve_callable(offer.spec.build) for offer in offers]
        values: dict[str, Any] = {
            "weights": hash_file(run.weights_path),
            "run": [run.backbone, run.head, dict(run.config), run.classes, asdict(run.preprocess)],
            "activation": run.record.activation,
            "temperature": [] if run.calibration is None else run.calibration.temperature,
            "familiarity": None if run.familiarity is None else hash_file(run.path / PROTOTYPES),
            "code": [code_digests(builder) for builder in builders],
            "packages": _installed_packages(),
        }
    except (ZooError, OSError):
        return None
    if any(len(digests) < 2 for digests in values["code"]):  # code in a notebook may change without a trace
        return None
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()


def read_graph(key: str) -> bytes | None:
    """Returns the graph that is cached under a key; None if there is none, or its file is damaged."""
    path = _folder() / f"{key}.onnx"
    try:
        content = read_regular_file(path, max_bytes=MAX_BYTES)
    except OSError:
        return None
    digest, graph = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    if hashlib.sha256(graph).digest() != digest:
        return None
    with suppress(OSError):
        os.utime(path)  # the graphs that were not used for the longest time are deleted first
    return graph


def write_graph(key: str, graph: bytes) -> None:
    """Caches a graph, and deletes others if all together exceed `MAX_BYTES`.

    If the graph alone exceeds it, or the cache folder is not writable, it does nothing, and the next process exports
    the run again.
    """
    content = hashlib.sha256(graph).digest() + graph
    if len(content) > MAX_BYTES:
        return
    with suppress(OSError, RunError):
        _folder().mkdir(parents=True, exist_ok=True)
        _make_room(len(content))
        with atomic_write(_folder() / f"{key}.onnx") as aside:
            aside.write_bytes(content)


def _make_room(needed: int) -> None:
    files = sorted(((path, path.stat()) for path in _folder().iterdir()), key=lambda pair: pair[1].st_mtime)
    excess = needed + sum(info.st_size for _, info in files) - MAX_BYTES
    for path, info in files:
        if excess <= 0:
            return
        path.unlink(missing_ok=True)
        excess -= info.st_size


def _folder() -> Path:
    return home() / "graphs"


def _installed_packages() -> list[str]:
    """Returns the names of all metadata folders, which contain the versions: reading the metadata would take longer."""
    return sorted(path.name for folder in sys.path for path in Path(folder).glob("*.*-info"))
