"""Where a network looked: a map from 0 to 1 for each image, computed without gradients and so within a graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from zoo.plugins.contracts import Features

if TYPE_CHECKING:
    from zoo.plugins.contracts import Head

_SMALLEST = 1e-6  # an even map stays dark, rather than showing its rounding errors


class Heatmap(nn.Module):
    """Tells where a network looked.

    Where the head can be asked about one position of the map, it is: its logit there of the class that it finds most
    probable in the whole image, against the mean of all classes. For a linear head on averaged features that is the
    class activation map (Zhou et al. 2016, https://arxiv.org/abs/1512.04150); for the tokens of a transformer see Vilas
    et al. 2023, https://arxiv.org/abs/2310.18969. It can be asked where pooled features and map are of one width, and
    so of one kind, or where it does not look at the pooled ones. Elsewhere it is the length of the features.

    Args:
        head: Of the network, in eval mode.
        pooled_width: D of `Features.pooled`.
        map_width: C of `Features.map`.
    """

    def __init__(self, head: Head, *, pooled_width: int, map_width: int) -> None:
        super().__init__()
        self.head = head
        self.pooled_width = pooled_width
        self.asks_head = pooled_width == map_width or not _looks_at_pooled(head, pooled_width, map_width)

    def forward(self, features: Features, logits: Tensor) -> Tensor:
        """Maps features and logits to float32 ``(N, h, w)``, each map from 0 to 1."""
        seen = self._answers(features.map, logits) if self.asks_head else features.map.float().norm(dim=1)
        low, high = seen.amin(dim=(1, 2), keepdim=True), seen.amax(dim=(1, 2), keepdim=True)
        return (seen - low) / (high - low).clamp_min(_SMALLEST)

    def _answers(self, map: Tensor, logits: Tensor) -> Tensor:
        channels, height, width = map.shape[1:]
        places = map.permute(0, 2, 3, 1).reshape(-1, channels)
        pooled = places if self.pooled_width == channels else places.new_zeros(1, self.pooled_width)
        there = self.head(Features(pooled=pooled, map=places[:, :, None, None])).float()
        there = (there - there.mean(dim=1, keepdim=True)).reshape(-1, height * width, logits.shape[1])
        chosen = logits.argmax(dim=1).reshape(-1, 1, 1).expand(-1, height * width, 1)
        seen: Tensor = there.gather(2, chosen).reshape(-1, height, width)
        return seen


@torch.no_grad()
def _looks_at_pooled(head: Head, pooled_width: int, map_width: int) -> bool:
    device = next((parameter.device for parameter in head.parameters()), None)
    pooled = torch.full((1, pooled_width), torch.nan, device=device)
    features = Features(pooled=pooled, map=torch.ones(1, map_width, 2, 2, device=device))
    return not bool(head(features).isfinite().all())
