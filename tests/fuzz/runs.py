"""Targets for the files of run folders: records, lists, weights and checkpoints, with valid ones and their readers."""

from __future__ import annotations

import io
import json
import re
from typing import TYPE_CHECKING

from run_files import VALID_FILES, make_untrained_run

from zoo.runs.record import PHOTOS, RECORD, RunRecord
from zoo.runs.run import CHECKPOINT, METRICS, WEIGHTS, RunFolder

if TYPE_CHECKING:
    from pathlib import Path

    import torch


def _run_with(name: str, content: bytes, folder: Path) -> Path:
    run = folder / "r-1"
    run.mkdir()
    (run / RECORD).write_text(json.dumps(VALID_FILES[RECORD]))
    (run / name).write_bytes(content)
    return run


def read_record(content: bytes, folder: Path) -> None:
    from zoo.cli.listing import summarize_run
    from zoo.runs.open import load_config, open_run
    from zoo.runs.run import list_runs

    _run_with(RECORD, content, folder)
    for row in map(summarize_run, list_runs(folder)):
        json.dumps(row.to_dict())
    run = open_run(folder / "r-1")
    for attribute in ("backbone", "head", "fingerprint", "leaks", "results", "classes", "preprocess"):
        getattr(run, attribute)
    run.photos()
    load_config(run)


def read_photos(content: bytes, folder: Path) -> None:
    from zoo.runs.open import open_run

    open_run(_run_with(PHOTOS, content, folder)).photos()


def load_run(content: bytes, folder: Path) -> None:
    import numpy as np

    from zoo.inference.run_predictor import load

    registry, _, weights = make_untrained_run()
    run = _run_with(RECORD, content, folder)
    (run / WEIGHTS).write_bytes(weights)
    load(run, device="cpu", registry=registry).predict(np.zeros((20, 24, 3), np.uint8))


def read_metrics(content: bytes, folder: Path) -> None:
    from zoo.runs.open import open_run
    from zoo.runs.run import append_metrics

    run = _run_with(METRICS, content, folder)
    open_run(run).metrics()
    append_metrics(run, {"epoch": 9})


def read_manifest(content: bytes, folder: Path) -> None:
    from zoo.runs.manifest import MANIFEST, check_folder

    check_folder(_run_with(MANIFEST, content, folder))


def read_tags(content: bytes, folder: Path) -> None:
    from zoo.runs.tag_history import TAGS
    from zoo.runs.tags import open_tagged, tags_by_run

    _run_with(METRICS, b"", folder)
    (folder / TAGS).write_bytes(content)
    tags_by_run(folder)
    open_tagged("hotdog@1", runs=folder, check=False)


def _network() -> torch.nn.Module:
    import torch
    from fakes import SmallBackbone

    torch.manual_seed(0)
    return SmallBackbone()


def weights() -> list[bytes]:
    import safetensors.torch

    return [safetensors.torch.save(_network().state_dict())]


def read_weights(content: bytes, folder: Path) -> None:
    from zoo.runs.weights import load_weights

    run = _run_with(WEIGHTS, content, folder)
    load_weights(RunFolder(run, RunRecord(backbone="fake/small", head="fake/flat")), _network())


def pickles() -> list[bytes]:
    import torch

    state = _network().state_dict()
    about = {"epoch": 1, "step": 2, "config": {}, "seconds": 0.5, "machine": {}}
    files = []
    for content in ({"state_dict": state, "about": about}, state, {"about": about}):
        buffer = io.BytesIO()
        torch.save(content, buffer)
        files.append(buffer.getvalue())
    buffer = io.BytesIO()
    torch.save({"state_dict": {"x": torch.ones(8)}, "about": about}, buffer, _use_new_zipfile_serialization=False)
    # The older format names a tensor after its memory address, which differs between processes.
    fixed = b"X\x0c\0\0\0" + b"7" * 12
    return [*files, re.sub(rb"X.\0\0\0\d{12,}", lambda _: fixed, buffer.getvalue(), flags=re.DOTALL)]


def read_checkpoint(content: bytes, folder: Path) -> None:
    from zoo.training.checkpoint import describe_checkpoint

    describe_checkpoint(_run_with(CHECKPOINT, content, folder))


def read_pickle(content: bytes, folder: Path) -> None:
    from zoo.models.weights import read_state_dict

    (folder / "weights.pth").write_bytes(content)
    read_state_dict(folder / "weights.pth")
