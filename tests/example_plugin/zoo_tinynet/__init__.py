"""The backbone tinynet and the head tinynet-head, for the model zoo."""

from __future__ import annotations  # otherwise the annotation zoo.Backbone would import torch

from typing import Any

import zoo


@zoo.hookimpl
def zoo_backbones() -> list[zoo.BackboneSpec]:
    """Provides the backbone."""
    return [zoo.BackboneSpec(name="tinynet", summary="Three convolutions.", card=card, build=build_backbone)]


@zoo.hookimpl
def zoo_heads() -> list[zoo.HeadSpec]:
    """Provides the head."""
    build = "zoo_tinynet.head:AvgMaxHead"  # imported when the head is built, because it imports torch
    return [zoo.HeadSpec(name="tinynet-head", summary="Average and maximum pooling.", build=build)]


def card() -> zoo.BackboneCard:
    """Describes the preprocessing, and the pretrained weights if there are any."""
    return zoo.BackboneCard(preprocess=zoo.Preprocess(size=(64, 64), resize=64))


def build_backbone(request: zoo.BackboneRequest) -> zoo.Backbone:
    """Builds the backbone from stages, the units of freezing and of layer-wise learning rates."""
    from torch import nn

    def stage(inputs: int, outputs: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(inputs, outputs, 3, 2, 1), nn.BatchNorm2d(outputs), nn.ReLU())

    return zoo.StagedBackbone({"stem": stage(3, 32), "layer1": stage(32, 64), "layer2": stage(64, 128)}, width=128)


@zoo.hookimpl
def zoo_optimizers() -> list[zoo.OptimizerSpec]:
    """Provides the optimizer."""
    build = "zoo_tinynet.optimizer:build"
    return [zoo.OptimizerSpec(name="tinynet-signs", summary="Steps by the sign of the gradient.", build=build)]


@zoo.hookimpl
def zoo_schedules() -> list[zoo.ScheduleSpec]:
    """Provides the schedule."""
    return [zoo.ScheduleSpec(name="tinynet-halving", summary="Halves the rate four times.", factor=halve)]


def halve(step: int, steps: int, options: object) -> float:
    """Returns the factor on the learning rate at a step from 0 to `steps` - 1."""
    return float(0.5 ** (step * 5 // steps))


@zoo.hookimpl
def zoo_augmentations() -> list[zoo.AugmentationSpec]:
    """Provides the augmentation."""
    build = "zoo_tinynet.tint:Tint"
    return [zoo.AugmentationSpec(name="tinynet-tint", summary="Light of another colour.", build=build)]


@zoo.hookimpl
def zoo_losses() -> list[zoo.LossSpec]:
    """Provides the loss."""
    build = "zoo_tinynet.loss:build"
    return [zoo.LossSpec(name="tinynet-loss", summary="Generalised cross-entropy.", build=build)]


@zoo.hookimpl
def zoo_metrics() -> list[zoo.MetricSpec]:
    """Provides the metric."""
    compute = "zoo_tinynet.metric:brier"
    return [zoo.MetricSpec(name="brier", summary="Squared error.", compute=compute, higher_is_better=False)]


@zoo.hookimpl
def zoo_recipes() -> list[zoo.RecipeSpec]:
    """Provides the recipe."""
    values = {"backbone": "tinynet", "head": "tinynet-head", "weights": "none", "epochs": 1, "batch_size": 8}
    return [zoo.RecipeSpec(name="tiny", summary="Tinynet, from scratch.", extends="default", values=values)]


@zoo.hookimpl
def zoo_trackers() -> list[zoo.TrackerSpec]:
    """Provides the tracker."""
    return [zoo.TrackerSpec(name="tiny-log", summary="The types of events.", start="zoo_tinynet.tracker:TinyLog")]


@zoo.hookimpl
def zoo_export_targets() -> list[zoo.ExportTargetSpec]:
    """Provides the export target."""
    export = "zoo_tinynet.target:export"
    return [zoo.ExportTargetSpec(name="tinynet-npz", summary="All weights, for NumPy.", export=export)]


@zoo.hookimpl
def zoo_datasets() -> list[zoo.DatasetSpec]:
    """Provides the dataset."""
    load, is_local = "zoo_tinynet.dataset:load", "zoo_tinynet.dataset:is_local"
    return [zoo.DatasetSpec(name="tinynet-hues", summary="Plain colours.", load=load, is_local=is_local)]


@zoo.hookimpl
def zoo_formats() -> list[zoo.FormatSpec]:
    """Provides the format."""
    load = "zoo_tinynet.format:load"
    return [zoo.FormatSpec(name="tinynet-odds", suffixes=(".tinynet",), summary="The same for all.", load=load)]


@zoo.hookimpl
def zoo_hubs() -> list[zoo.HubSpec]:
    """Provides the hub."""
    return [zoo.HubSpec(name="tinynet", summary="A folder of models.", fetch="zoo_tinynet.hub:fetch")]


@zoo.hookimpl
def zoo_checks() -> list[zoo.CheckSpec]:
    """Provides the check."""
    return [zoo.CheckSpec(name="tinynet-check", summary="Threads of torch.", run="zoo_tinynet.check:run")]


@zoo.hookimpl
def zoo_commands(cli: Any) -> None:
    """Adds the command."""
    cli.add_lazy("tinynet-count", "zoo_tinynet.command:command", "Count the photos of each class.")
