"""The values that plugins and the core exchange: frozen dataclasses that import no torch.

A hook returns specs. A spec has a name, a summary, the type of its options, and a callable that the core calls with a
request when it needs the object. Heavy imports belong inside that callable. Each kind of offer has a module.
"""

from zoo.plugins.specs.augmentations import AugmentationRequest, AugmentationSpec, BatchAugmentation
from zoo.plugins.specs.backbones import (
    BackboneCard,
    BackboneFamily,
    BackboneRequest,
    BackboneSpec,
    WeightsInfo,
    no_check,
)
from zoo.plugins.specs.base import Family, Spec
from zoo.plugins.specs.checks import CHECK_SECONDS, CheckSpec, Finding
from zoo.plugins.specs.datasets import DatasetRequest, DatasetSpec
from zoo.plugins.specs.export_targets import ExportRequest, ExportTargetSpec
from zoo.plugins.specs.formats import FormatRequest, FormatSpec
from zoo.plugins.specs.heads import HeadRequest, HeadSpec
from zoo.plugins.specs.hubs import FetchedModel, FetchRequest, HubSpec, Wanted
from zoo.plugins.specs.image_set import NO_LABEL, SPLITS, UNSTORED, ImageSet, Sample
from zoo.plugins.specs.losses import Activation, LossRequest, LossSpec
from zoo.plugins.specs.metrics import MetricRequest, MetricSpec, MetricValue
from zoo.plugins.specs.optimizers import OptimizerRequest, OptimizerSpec
from zoo.plugins.specs.recipes import RecipeSpec
from zoo.plugins.specs.schedules import ScheduleSpec
from zoo.plugins.specs.trackers import Tracker, TrackerRequest, TrackerSpec

__all__ = [
    "CHECK_SECONDS",
    "NO_LABEL",
    "SPLITS",
    "UNSTORED",
    "Activation",
    "AugmentationRequest",
    "AugmentationSpec",
    "BackboneCard",
    "BackboneFamily",
    "BackboneRequest",
    "BackboneSpec",
    "BatchAugmentation",
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
    "Spec",
    "Tracker",
    "TrackerRequest",
    "TrackerSpec",
    "Wanted",
    "WeightsInfo",
    "no_check",
]
