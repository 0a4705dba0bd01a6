"""The backbone tinynet and the head tinynet-head, for the model zoo."""

from __future__ import annotations  # else the annotation zoo.Backbone would import torch

import zoo


@zoo.hookimpl
def zoo_backbones() -> list[zoo.BackboneSpec]:
    """Offers the backbone."""
    return [zoo.BackboneSpec(name="tinynet", summary="Three convolutions.", card=card, build=build_backbone)]


@zoo.hookimpl
def zoo_heads() -> list[zoo.HeadSpec]:
    """Offers the head."""
    return [zoo.HeadSpec(name="tinynet-head", summary="Average and maximum of the map.", build=build_head)]


def card() -> zoo.BackboneCard:
    """Says how images are prepared; had it pretrained weights, they would be named here."""
    return zoo.BackboneCard(preprocess=zoo.Preprocess(size=(64, 64), resize=64))


def build_backbone(request: zoo.BackboneRequest) -> zoo.Backbone:
    """Builds the backbone from stages: what is frozen, or given a learning rate, together."""
    from torch import nn

    def stage(inputs: int, outputs: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(inputs, outputs, 3, 2, 1), nn.BatchNorm2d(outputs), nn.ReLU())

    return zoo.StagedBackbone({"stem": stage(3, 32), "layer1": stage(32, 64), "layer2": stage(64, 128)}, width=128)


def build_head(request: zoo.HeadRequest) -> zoo.Head:
    """Builds the head, whose class needs torch and so lives in a module of its own."""
    from zoo_tinynet.head import AvgMaxHead

    return AvgMaxHead(request)
