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
    from zoo.comparison import compare
    from zoo.config import FinetuneConfig, make_config
    from zoo.contracts import Backbone, Features, Head, Stage, StagedBackbone
    from zoo.data.check.examine import check_data
    from zoo.evaluation import evaluate
    from zoo.finetuning.finetune import finetune, resume
    from zoo.hookspecs import hookimpl
    from zoo.plugins import load_registry
    from zoo.prediction import PhotoPredictor, Prediction
    from zoo.predictor import Predictor, load
    from zoo.run import Run, list_runs, open_run
    from zoo.specs import (
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
        Preprocess,
        Sample,
        WeightsInfo,
    )

_LAZY = {
    "Backbone": "zoo.contracts",
    "Features": "zoo.contracts",
    "Head": "zoo.contracts",
    "Stage": "zoo.contracts",
    "StagedBackbone": "zoo.contracts",
    "BackboneCard": "zoo.specs",
    "BackboneFamily": "zoo.specs",
    "BackboneRequest": "zoo.specs",
    "BackboneSpec": "zoo.specs",
    "CheckSpec": "zoo.specs",
    "DatasetRequest": "zoo.specs",
    "DatasetSpec": "zoo.specs",
    "Finding": "zoo.specs",
    "FormatRequest": "zoo.specs",
    "FormatSpec": "zoo.specs",
    "HeadRequest": "zoo.specs",
    "HeadSpec": "zoo.specs",
    "ImageSet": "zoo.specs",
    "Preprocess": "zoo.specs",
    "Sample": "zoo.specs",
    "WeightsInfo": "zoo.specs",
    "hookimpl": "zoo.hookspecs",
    "FinetuneConfig": "zoo.config",
    "PhotoPredictor": "zoo.prediction",
    "Prediction": "zoo.prediction",
    "Predictor": "zoo.predictor",
    "Run": "zoo.run",
    "check_data": "zoo.data.check.examine",
    "compare": "zoo.comparison",
    "evaluate": "zoo.evaluation",
    "finetune": "zoo.finetuning.finetune",
    "list_runs": "zoo.run",
    "load": "zoo.predictor",
    "load_registry": "zoo.plugins",
    "make_config": "zoo.config",
    "open_run": "zoo.run",
    "resume": "zoo.finetuning.finetune",
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
