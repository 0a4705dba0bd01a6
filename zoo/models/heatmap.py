"""Heat maps: where in an image a network finds evidence, computed without gradients and thus exportable as a graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from zoo.models.features import measure_stages
from zoo.plugins.contracts import Features

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zoo.models.classifier import Classifier
    from zoo.plugins.contracts import Head

_MIN_RANGE = 1e-6  # so that a constant map stays dark instead of amplifying rounding errors


class Heatmap(nn.Module):
    """Computes heat maps from features and logits.

    If possible, the head is applied to each position of the map. The value of a position is its logit of the class that
    is most probable for the whole image, minus the mean logit of all classes. For a linear head on averaged features
    this is the class activation map (Zhou et al. 2016, https://arxiv.org/abs/1512.04150); for the tokens of a
    transformer see Vilas et al. 2023, https://arxiv.org/abs/2310.18969. It is possible if pooled features and map have
    the same width, and thus the same meaning, or if the head ignores the pooled features. Otherwise the value is the
    norm of the features. If the head reads the maps of several stages, the heat map has the resolution of the finest;
    the others are interpolated.

    Args:
        head: The head of the network, in eval mode.
        pooled_width: D of `Features.pooled` ``(N, D)``.
        map_width: C of `Features.map` ``(N, C, h, w)``.
        stage_widths: C of each map of `Features.stages`.

    Attributes:
        probes_head: Whether the head is applied to each position.
    """

    def __init__(self, head: Head, *, pooled_width: int, map_width: int, stage_widths: Sequence[int] = ()) -> None:
        super().__init__()
        self.head = head
        self.pooled_width = pooled_width
        self.probes_head = pooled_width == map_width or not _uses_pooled(head, pooled_width, map_width, stage_widths)

    def forward(self, features: Features, logits: Tensor) -> Tensor:
        """Maps features and logits ``(N, classes)`` to heat maps ``(N, h, w)`` float32, each from 0 to 1."""
        maps = self._probe(features, logits) if self.probes_head else features.map.float().norm(dim=1)
        low, high = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
        return (maps - low) / (high - low).clamp_min(_MIN_RANGE)

    def _probe(self, features: Features, logits: Tensor) -> Tensor:
        maps = (features.map, *features.stages)
        height, width = max((each.shape[2:] for each in maps[1:] or maps), key=lambda size: int(size[0] * size[1]))
        map_, *stages = (_to_positions(each, (height, width)) for each in maps)
        pooled = map_[:, :, 0, 0] if self.pooled_width == map_.shape[1] else map_.new_zeros(1, self.pooled_width)
        local = self.head(Features(pooled, map_, tuple(stages))).float()
        local = (local - local.mean(dim=1, keepdim=True)).reshape(-1, height * width, logits.shape[1])
        # A product instead of gather(), whose expanded index OpenCV 4 refuses in an exported graph.
        classes = torch.arange(logits.shape[1], device=logits.device)
        predicted = (classes == logits.argmax(dim=1, keepdim=True)).float()
        evidence: Tensor = (local * predicted[:, None]).sum(dim=2).reshape(-1, height, width)
        return evidence


def _to_positions(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Interpolates maps ``(N, C, h, w)`` to a size; returns their positions as maps ``(N * h * w, C, 1, 1)``."""
    if tuple(maps.shape[2:]) != tuple(size):
        maps = functional.interpolate(maps, size=size, mode="bilinear")
    return maps.permute(0, 2, 3, 1).reshape(-1, maps.shape[1], 1, 1)


def build_heatmap(classifier: Classifier, image_size: tuple[int, int]) -> Heatmap:
    """Returns the heat map of a classifier for images of a size (height, width) in pixels."""
    backbone, head = classifier.backbone, classifier.head
    shapes = measure_stages(backbone, image_size) if head.stages else {}
    return Heatmap(
        head,
        pooled_width=backbone.pooled_width,
        map_width=backbone.map_width,
        stage_widths=[shapes[name][0] for name in head.stages],
    )


@torch.no_grad()
def _uses_pooled(head: Head, pooled_width: int, map_width: int, stage_widths: Sequence[int]) -> bool:
    device = next((parameter.device for parameter in head.parameters()), None)
    pooled = torch.full((1, pooled_width), torch.nan, device=device)
    stages = tuple(torch.ones(1, width, 2, 2, device=device) for width in stage_widths)
    features = Features(pooled, torch.ones(1, map_width, 2, 2, device=device), stages)
    return not bool(head(features).isfinite().all())
