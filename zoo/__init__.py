"""A plugin-based model zoo for image classifiers: fine-tune any backbone with any head on your photos.

    import zoo
    run = zoo.finetune("resnet18", data="hotdog")
    zoo.load(run.path).predict("photo.jpg")

Importing `zoo` is cheap: every name is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.config import FinetuneConfig, make_config
    from zoo.data.check.examine import check_data
    from zoo.inference.evaluate import evaluate
    from zoo.inference.predictor import PhotoPredictor, Prediction
    from zoo.inference.run_predictor import Predictor, load
    from zoo.plugins.contracts import Backbone, Features, Head, Stage, StagedBackbone
    from zoo.plugins.hookspecs import hookimpl
    from zoo.plugins.registry import load_registry
    from zoo.plugins.specs import (
        BackboneCard,
        BackboneFamily,
        BackboneRequest,
        BackboneSpec,
        CheckSpec,
        DatasetRequest,
        DatasetSpec,
        Finding,
        FormatRequest,
        FormatSpec,
        HeadRequest,
        HeadSpec,
        ImageSet,
        Sample,
        WeightsInfo,
    )
    from zoo.preprocess import Preprocess
    from zoo.runs.open import open_run
    from zoo.runs.run import Run, list_runs
    from zoo.training.compare import compare
    from zoo.training.finetune import finetune, resume

_LAZY = {
    "Backbone": "zoo.plugins.contracts",
    "Features": "zoo.plugins.contracts",
    "Head": "zoo.plugins.contracts",
    "Stage": "zoo.plugins.contracts",
    "StagedBackbone": "zoo.plugins.contracts",
    "BackboneCard": "zoo.plugins.specs",
    "BackboneFamily": "zoo.plugins.specs",
    "BackboneRequest": "zoo.plugins.specs",
    "BackboneSpec": "zoo.plugins.specs",
    "CheckSpec": "zoo.plugins.specs",
    "DatasetRequest": "zoo.plugins.specs",
    "DatasetSpec": "zoo.plugins.specs",
    "Finding": "zoo.plugins.specs",
    "FormatRequest": "zoo.plugins.specs",
    "FormatSpec": "zoo.plugins.specs",
    "HeadRequest": "zoo.plugins.specs",
    "HeadSpec": "zoo.plugins.specs",
    "ImageSet": "zoo.plugins.specs",
    "Preprocess": "zoo.preprocess",
    "Sample": "zoo.plugins.specs",
    "WeightsInfo": "zoo.plugins.specs",
    "hookimpl": "zoo.plugins.hookspecs",
    "FinetuneConfig": "zoo.config",
    "PhotoPredictor": "zoo.inference.predictor",
    "Prediction": "zoo.inference.predictor",
    "Predictor": "zoo.inference.run_predictor",
    "Run": "zoo.runs.run",
    "check_data": "zoo.data.check.examine",
    "compare": "zoo.training.compare",
    "evaluate": "zoo.inference.evaluate",
    "finetune": "zoo.training.finetune",
    "list_runs": "zoo.runs.run",
    "load": "zoo.inference.run_predictor",
    "load_registry": "zoo.plugins.registry",
    "make_config": "zoo.config",
    "open_run": "zoo.runs.open",
    "resume": "zoo.training.finetune",
}

__all__ = [
    "Backbone",
    "BackboneCard",
    "BackboneFamily",
    "BackboneRequest",
    "BackboneSpec",
    "CheckSpec",
    "DatasetRequest",
    "DatasetSpec",
    "Features",
    "Finding",
    "FinetuneConfig",
    "FormatRequest",
    "FormatSpec",
    "Head",
    "HeadRequest",
    "HeadSpec",
    "ImageSet",
    "PhotoPredictor",
    "Prediction",
    "Predictor",
    "Preprocess",
    "Run",
    "Sample",
    "Stage",
    "StagedBackbone",
    "WeightsInfo",
    "check_data",
    "compare",
    "evaluate",
    "finetune",
    "hookimpl",
    "list_runs",
    "load",
    "load_registry",
    "make_config",
    "open_run",
    "resume",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'zoo' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
