"""Poolings: from features to one vector per image. Imports torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from zoo.plugins.contracts import Features
    from zoo_heads.options import PoolingName


class Pooling(nn.Module):
    """Pools features to ``(N, width)`` without parameters.

    Args:
        kind: ``"native"`` returns `Features.pooled`; ``"avg"``, ``"max"`` and ``"avgmax"`` (the mean of both) reduce
            `Features.map` over its positions.
        pooled_width: D of `Features.pooled`.
        map_width: C of `Features.map`.

    Attributes:
        width: D for ``"native"``, else C.
    """

    def __init__(self, kind: PoolingName, *, pooled_width: int, map_width: int) -> None:
        super().__init__()
        self.kind = kind
        self.width = pooled_width if kind == "native" else map_width

    def forward(self, features: Features) -> Tensor:
        """Maps features to ``(N, width)``."""
        if self.kind == "native":
            return features.pooled
        if self.kind == "avg":
            return features.map.mean(dim=(2, 3))
        if self.kind == "max":
            return features.map.amax(dim=(2, 3))
        return (features.map.mean(dim=(2, 3)) + features.map.amax(dim=(2, 3))) / 2

    def extra_repr(self) -> str:
        """Adds the kind to the module's representation."""
        return self.kind


class AttentionPooling(nn.Module):
    """Pools the map by attention with learned queries, as in Touvron et al. 2021 (https://arxiv.org/abs/2112.13692).

    Each query attends to all channels of a position, after layer normalisation, and pools its own share of the channels
    (Vaswani et al. 2017, section 3.2.2). There is no projection of the keys, because it could be multiplied into the
    queries, which do not depend on the image. Queries start at zero, so training starts from average pooling.

    Args:
        map_width: C of `Features.map`.
        heads: Number of queries; divides C.

    Attributes:
        width: C.
    """

    def __init__(self, *, map_width: int, heads: int) -> None:
        super().__init__()
        self.width = map_width
        self.heads = heads
        self.query = nn.Parameter(torch.zeros(heads, map_width))

    def forward(self, features: Features) -> Tensor:
        """Maps features to ``(N, C)``."""
        tokens = features.map.flatten(2)  # (N, C, positions)
        shares = tokens.reshape(tokens.shape[0], self.heads, self.width // self.heads, tokens.shape[2])
        return torch.matmul(shares, self.attention(tokens).unsqueeze(3)).flatten(1)

    def attention(self, tokens: Tensor) -> Tensor:
        """Maps tokens ``(N, C, positions)`` to weights ``(N, heads, positions)`` that sum to one over positions."""
        keys = F.layer_norm(tokens.transpose(1, 2), (self.width,))
        scores = F.linear(keys, self.query) / self.width**0.5
        weights: Tensor = scores.softmax(dim=1).transpose(1, 2)
        return weights
