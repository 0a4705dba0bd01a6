"""Valid contents of the JSON files of a run and of the list of tags, and an untrained run."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING

from zoo.preprocess import preprocess_to_dict
from zoo.runs.manifest import MANIFEST
from zoo.runs.record import PHOTOS, RECORD, RunRecord
from zoo.runs.run import METRICS
from zoo.runs.tag_history import TAGS

if TYPE_CHECKING:
    from pathlib import Path

    from zoo.plugins.registry import Registry

CREATED = "2026-01-01T00:00:00+00:00"
SCORES = {"accuracy": 0.9, "interval": [0.8, 0.95], "count": 8}
VALID_FILES = {
    RECORD: {
        "format": 1,
        "status": "finished",
        "created": CREATED,
        "backbone": "acme/tiny",
        "head": "heads/linear",
        "config": {"backbone": "tiny", "head": "linear", "data": "dogs", "recipe": "default"},
        "classes": ["cat", "dog"],
        "preprocess": {
            "size": [8, 8],
            "resize": 8,
            "resize_mode": "shorter",
            "interpolation": "bilinear",
            "mean": [0.5, 0.5, 0.5],
            "std": [0.5, 0.5, 0.5],
        },
        "data": {"name": "dogs", "fingerprint": "abc", "split": {"train": ["a"], "val": ["b"]}},
        "results": {"test": SCORES, "val": SCORES, "seconds": 19.0},
    },
    PHOTOS: {
        "format": 2,
        "split": {"train": ["a.png", "b.png"], "val": ["c.png"]},
        "digests": {"train": "0123456789abcdef", "val": "01234567"},
    },
    METRICS: {"epoch": 1, "train_loss": 1.0, "val_loss": None, "best": True},
    MANIFEST: {"format": 1, "files": {"run.json": {"sha256": "0" * 64, "size": 3}}},
    TAGS: {
        "format": 1,
        "history": [{"name": "hotdog@1", "run": "r-1", "created": CREATED, "weights": "w", "at": "x", "by": "y"}],
    },
}


def record_of(**values) -> RunRecord:
    """Returns the record that a `run.json` with these values contains; values of the wrong type are left out."""
    return RunRecord.from_json(values, where="run.json", strict=False)


def write_json_record(folder: Path, values: dict, *, version: int = 1) -> None:
    """Writes a `run.json` as another version of the zoo, or someone else, may have written it."""
    (folder / RECORD).write_text(json.dumps({"format": version, **values}), encoding="utf-8")


@functools.cache
def make_untrained_run() -> tuple[Registry, bytes, bytes]:
    """Returns a registry, and the record and the weights of an untrained run made with it."""
    import safetensors.torch
    from fakes import CLASSES, FakePlugin, make_registry

    from zoo.config import make_config
    from zoo.models.build import assemble, resolve_preprocess
    from zoo.models.offers import find_offers
    from zoo.plugins.registry import get_card

    registry = make_registry(FakePlugin())
    config = make_config("small", data="colours", head="flat", weights="none")
    offers = find_offers(config, registry)
    preprocess = resolve_preprocess(config, get_card(offers.backbone).preprocess)
    model = assemble(config, offers, classes=len(CLASSES), preprocess=preprocess)
    names = {"backbone": "fake/small", "head": "fake/flat", "classes": CLASSES}
    values = {"config": config.to_dict(), "preprocess": preprocess_to_dict(model.preprocess)}
    record = json.dumps({**VALID_FILES[RECORD], **names, **values}).encode()
    return registry, record, safetensors.torch.save(model.classifier.state_dict())
