"""Heat maps: where in an image a network finds evidence, computed without gradients and thus exportable as a graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from zoo.plugins.contracts import Features

if TYPE_CHECKING:
    from zoo.plugins.contracts import Head

_MIN_RANGE = 1e-6  # so that a constant map stays dark instead of amplifying rounding errors


class Heatmap(nn.Module):
    """Computes heat maps from features and logits.

    If possible, the head is applied to each position of the map. The value of a position is its logit of the class that
    is most probable for the whole image, minus the mean logit of all classes. For a linear head on averaged features
    this is the class activation map (Zhou et al. 2016, https://arxiv.org/abs/1512.04150); for the tokens of a
    transformer see Vilas et al. 2023, https://arxiv.org/abs/2310.18969. It is possible if pooled features and map have
    the same width, and thus the same meaning, or if the head ignores the pooled features. Otherwise the value is the
    norm of the features.

    Args:
        head: The head of the network, in eval mode.
        pooled_width: D of `Features.pooled` ``(N, D)``.
        map_width: C of `Features.map` ``(N, C, h, w)``.

    Attributes:
        probes_head: Whether the head is applied to each position.
    """

    def __init__(self, head: Head, *, pooled_width: int, map_width: int) -> None:
        super().__init__()
        self.head = head
        self.pooled_width = pooled_width
        self.probes_head = pooled_width == map_width or not _uses_pooled(head, pooled_width, map_width)

    def forward(self, features: Features, logits: Tensor) -> Tensor:
        """Maps features and logits ``(N, classes)`` to heat maps ``(N, h, w)`` float32, each from 0 to 1."""
        maps = self._probe(features.map, logits) if self.probes_head else features.map.float().norm(dim=1)
        low, high = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
        return (maps - low) / (high - low).clamp_min(_MIN_RANGE)

    def _probe(self, map: Tensor, logits: Tensor) -> Tensor:
        channels, height, width = map.shape[1:]
        positions = map.permute(0, 2, 3, 1).reshape(-1, channels)
        pooled = positions if self.pooled_width == channels else positions.new_zeros(1, self.pooled_width)
        local = self.head(Features(pooled=pooled, map=positions[:, :, None, None])).float()
        local = (local - local.mean(dim=1, keepdim=True)).reshape(-1, height * width, logits.shape[1])
        predicted = logits.argmax(dim=1).reshape(-1, 1, 1).expand(-1, height * width, 1)
        evidence: Tensor = local.gather(2, predicted).reshape(-1, height, width)
        return evidence


@torch.no_grad()
def _uses_pooled(head: Head, pooled_width: int, map_width: int) -> bool:
    device = next((parameter.device for parameter in head.parameters()), None)
    pooled = torch.full((1, pooled_width), torch.nan, device=device)
    features = Features(pooled=pooled, map=torch.ones(1, map_width, 2, 2, device=device))
    return not bool(head(features).isfinite().all())
