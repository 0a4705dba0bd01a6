"""A plugin-based model zoo for image classifiers: fine-tune any backbone with any head on your photos.

    import zoo
    run = zoo.finetune("resnet18", data="hotdog")
    zoo.load(run.path).predict("photo.jpg")

`import zoo` is cheap: each name is imported from its module on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

# What `zoo` exports, by module. Type checkers cannot read this table, so the imports below repeat it for them.
_EXPORTS = {
    "zoo.display.progress": ("progress",),
    "zoo.config": ("FinetuneConfig", "make_config", "read_settings"),
    "zoo.data.check.examine": ("check_data",),
    "zoo.data.check.suspect": ("Suspect",),
    "zoo.data.sources.load": ("load_images",),
    "zoo.inference.evaluate": ("evaluate",),
    "zoo.inference.paired": ("PairedEvaluation", "evaluate_paired"),
    "zoo.inference.report": ("write_report",),
    "zoo.inference.predictor": ("PhotoPredictor", "Prediction"),
    "zoo.inference.run": ("Run", "list_runs", "open_run"),
    "zoo.inference.run_predictor": ("Predictor", "load"),
    "zoo.metrics.calibration": ("Calibration", "PredictionSets"),
    "zoo.inference.stress.run": ("StressReport", "stress"),
    "zoo.metrics.classification": ("Evaluation",),
    "zoo.metrics.multi_label": ("MultiLabelEvaluation",),
    "zoo.metrics.paired": ("PairedDifference",),
    "zoo.models.installed_weights": ("InstalledWeights",),
    "zoo.plugins.contracts": ("Backbone", "Features", "Head", "Stage", "StagedBackbone"),
    "zoo.plugins.hookspecs": ("hookimpl",),
    "zoo.plugins.criterion": ("Criterion",),
    "zoo.plugins.options": ("NoOptions", "option"),
    "zoo.plugins.registry": ("Registry", "load_registry"),
    "zoo.plugins.servers": ("check_server",),
    "zoo.plugins.specs": (
        "AugmentationRequest",
        "AugmentationSpec",
        "BackboneCard",
        "BackboneFamily",
        "BackboneRequest",
        "BackboneSpec",
        "CheckSpec",
        "DatasetRequest",
        "DatasetSpec",
        "ExportRequest",
        "ExportTargetSpec",
        "Family",
        "FetchRequest",
        "FetchedModel",
        "Finding",
        "FormatRequest",
        "FormatSpec",
        "HeadRequest",
        "HeadSpec",
        "HubSpec",
        "ImageSet",
        "LossRequest",
        "LossSpec",
        "MetricRequest",
        "MetricSpec",
        "MetricValue",
        "OptimizerRequest",
        "OptimizerSpec",
        "RecipeSpec",
        "Sample",
        "ScheduleSpec",
        "Tracker",
        "TrackerRequest",
        "TrackerSpec",
        "WeightsInfo",
    ),
    "zoo.preprocess": ("Preprocess",),
    "zoo.training.best.find_best": ("Search", "find_best", "resume_search"),
    "zoo.training.compare": ("compare",),
    "zoo.training.cross_validation": ("CrossValidation", "cross_validate", "resume_cross_validation"),
    "zoo.training.finetune": ("finetune", "resume"),
    "zoo.training.suspects.find": ("find_suspects",),
    "zoo.training.suspects.result": ("Suspects",),
    "zoo.training.tuning.result": ("StudyTrial", "Tuning"),
    "zoo.training.tuning.tune": ("tune",),
}
_MODULE_OF = {name: module for module, names in _EXPORTS.items() for name in names}

__all__ = [*_MODULE_OF]

if TYPE_CHECKING:
    # One statement per module: sorted by ruff, there would be one per alias.
    # isort: off
    from zoo.display.progress import progress as progress
    from zoo.config import (
        FinetuneConfig as FinetuneConfig,
        make_config as make_config,
        read_settings as read_settings,
    )
    from zoo.data.check.examine import check_data as check_data
    from zoo.data.check.suspect import Suspect as Suspect
    from zoo.data.sources.load import load_images as load_images
    from zoo.inference.evaluate import evaluate as evaluate
    from zoo.inference.paired import PairedEvaluation as PairedEvaluation, evaluate_paired as evaluate_paired
    from zoo.inference.report import write_report as write_report
    from zoo.inference.predictor import PhotoPredictor as PhotoPredictor, Prediction as Prediction
    from zoo.inference.run import Run as Run, list_runs as list_runs, open_run as open_run
    from zoo.inference.run_predictor import Predictor as Predictor, load as load
    from zoo.metrics.calibration import Calibration as Calibration, PredictionSets as PredictionSets
    from zoo.inference.stress.run import StressReport as StressReport, stress as stress
    from zoo.metrics.classification import Evaluation as Evaluation
    from zoo.metrics.multi_label import MultiLabelEvaluation as MultiLabelEvaluation
    from zoo.metrics.paired import PairedDifference as PairedDifference
    from zoo.models.installed_weights import InstalledWeights as InstalledWeights
    from zoo.plugins.contracts import (
        Backbone as Backbone,
        Features as Features,
        Head as Head,
        Stage as Stage,
        StagedBackbone as StagedBackbone,
    )
    from zoo.plugins.hookspecs import hookimpl as hookimpl
    from zoo.plugins.criterion import Criterion as Criterion
    from zoo.plugins.options import NoOptions as NoOptions, option as option
    from zoo.plugins.registry import Registry as Registry, load_registry as load_registry
    from zoo.plugins.servers import check_server as check_server
    from zoo.plugins.specs import (
        AugmentationRequest as AugmentationRequest,
        AugmentationSpec as AugmentationSpec,
        BackboneCard as BackboneCard,
        BackboneFamily as BackboneFamily,
        BackboneRequest as BackboneRequest,
        BackboneSpec as BackboneSpec,
        CheckSpec as CheckSpec,
        DatasetRequest as DatasetRequest,
        DatasetSpec as DatasetSpec,
        ExportRequest as ExportRequest,
        ExportTargetSpec as ExportTargetSpec,
        Family as Family,
        FetchRequest as FetchRequest,
        FetchedModel as FetchedModel,
        Finding as Finding,
        FormatRequest as FormatRequest,
        FormatSpec as FormatSpec,
        HeadRequest as HeadRequest,
        HeadSpec as HeadSpec,
        HubSpec as HubSpec,
        ImageSet as ImageSet,
        LossRequest as LossRequest,
        LossSpec as LossSpec,
        MetricRequest as MetricRequest,
        MetricSpec as MetricSpec,
        MetricValue as MetricValue,
        OptimizerRequest as OptimizerRequest,
        OptimizerSpec as OptimizerSpec,
        RecipeSpec as RecipeSpec,
        Sample as Sample,
        ScheduleSpec as ScheduleSpec,
        Tracker as Tracker,
        TrackerRequest as TrackerRequest,
        TrackerSpec as TrackerSpec,
        WeightsInfo as WeightsInfo,
    )
    from zoo.preprocess import Preprocess as Preprocess
    from zoo.training.best.find_best import (
        Search as Search,
        find_best as find_best,
        resume_search as resume_search,
    )
    from zoo.training.compare import compare as compare
    from zoo.training.cross_validation import (
        CrossValidation as CrossValidation,
        cross_validate as cross_validate,
        resume_cross_validation as resume_cross_validation,
    )
    from zoo.training.finetune import finetune as finetune, resume as resume
    from zoo.training.suspects.find import find_suspects as find_suspects
    from zoo.training.suspects.result import Suspects as Suspects
    from zoo.training.tuning.result import StudyTrial as StudyTrial, Tuning as Tuning
    from zoo.training.tuning.tune import tune as tune

    # isort: on
    __version__: str


def __getattr__(name: str) -> Any:
    if name in _MODULE_OF:
        return getattr(importlib.import_module(_MODULE_OF[name]), name)
    if name == "__version__":
        from importlib.metadata import version

        return version("finetune-zoo-runtime")  # which contains this package
    raise AttributeError(f"module 'zoo' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
