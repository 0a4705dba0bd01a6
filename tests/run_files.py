"""Valid contents of the JSON files of a run and of the list of tags, and an untrained run."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING

from zoo.preprocess import preprocess_to_dict
from zoo.runs.manifest import MANIFEST
from zoo.runs.record import RECORD, RunRecord
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
    METRICS: {"epoch": 1, "train_loss": 1.0, "val_loss": None, "best": True},
    MANIFEST: {"format": 1, "files": {"run.json": {"sha256": "0" * 64, "size": 3}}},
    TAGS: {
        "format": 1,
        "history": [{"name": "hotdog@1", "run": "r-1", "created": CREATED, "weights": "w", "at": "x", "by": "y"}],
    },
}


@functools.cache
def make_untrained_run() -> tuple[Registry, bytes, bytes]:
    """Returns a registry, and the record and the weights of an untrained run made with it."""
    import safetensors.torch
    from fakes import CLASSES, FakePlugin, make_registry

    from zoo.config import make_config
    from zoo.models.build import assemble, preprocess_for
    from zoo.models.offers import find_offers
    from zoo.plugins.registry import card_of

    registry = make_registry(FakePlugin())
    config = make_config("small", data="colours", head="flat", weights="none")
    offers = find_offers(config, registry)
    preprocess = preprocess_for(config, card_of(offers.backbone).preprocess)
    model = assemble(config, offers, classes=len(CLASSES), preprocess=preprocess)
    names = {"backbone": "fake/small", "head": "fake/flat", "classes": CLASSES}
    values = {"config": config.to_dict(), "preprocess": preprocess_to_dict(model.preprocess)}
    record = json.dumps({**VALID_FILES[RECORD], **names, **values}).encode()
    return registry, record, safetensors.torch.save(model.classifier.state_dict())
