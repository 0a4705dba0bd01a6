"""Poolings: from features to one vector per image. Imports torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zoo.plugins.contracts import Features
    from zoo_heads.options import PoolingName

_PROJECTION = 3  # times the width of the stage before


class Pooling(nn.Module):
    """Pools features to ``(N, width)`` without parameters.

    Args:
        kind: ``"native"`` returns `Features.pooled`; ``"avg"``, ``"max"``, ``"avgmax"`` (the mean of both) and
            ``"catavgmax"`` (both, one after the other) reduce `Features.map` over its positions.
        pooled_width: D of `Features.pooled`.
        map_width: C of `Features.map`.

    Attributes:
        width: D for ``"native"``, 2 C for ``"catavgmax"``, else C.
    """

    def __init__(self, kind: PoolingName, *, pooled_width: int, map_width: int) -> None:
        super().__init__()
        self.kind = kind
        self.width = pooled_width if kind == "native" else map_width * _vectors(kind)

    def forward(self, features: Features) -> Tensor:
        """Maps features to ``(N, width)``."""
        return features.pooled if self.kind == "native" else _pool(features.map, self.kind)

    def extra_repr(self) -> str:
        """Adds the kind to the module's representation."""
        return self.kind


class StagePooling(nn.Module):
    """Pools the maps of several stages to one vector, without parameters.

    Earlier stages keep what the last one, trained for other classes, no longer tells apart (Head2Toe, Evci et al. 2022,
    https://arxiv.org/abs/2201.03529).

    Args:
        kind: As for `Pooling`; ``"native"`` stands for ``"avg"``.
        widths: The channels of each map of `Features.stages`.

    Attributes:
        width: Their sum, twice for ``"catavgmax"``.
    """

    def __init__(self, kind: PoolingName, *, widths: Sequence[int]) -> None:
        super().__init__()
        self.kind: PoolingName = "avg" if kind == "native" else kind
        self.width = sum(widths) * _vectors(kind)

    def forward(self, features: Features) -> Tensor:
        """Maps features to ``(N, width)``."""
        return torch.cat([_pool(stage, self.kind) for stage in features.stages], dim=1)

    def extra_repr(self) -> str:
        """Adds the kind to the module's representation."""
        return self.kind


def _vectors(kind: PoolingName) -> int:
    return 2 if kind == "catavgmax" else 1


def _pool(map: Tensor, kind: PoolingName) -> Tensor:
    if kind == "avg":
        return map.mean(dim=(2, 3))
    mean, largest = map.mean(dim=(2, 3)), map.amax(dim=(2, 3))
    if kind == "max":
        return largest + 0 * mean  # ONNX Runtime's maximum skips NaN, which would hide that a layer failed
    return torch.cat([mean, largest], dim=1) if kind == "catavgmax" else (mean + largest) / 2


def select_stages(shapes: Mapping[str, tuple[int, int, int]], count: int) -> tuple[str, ...]:
    """Returns the names of some of the last stages, from input to output: if possible, one per resolution of the maps.

    Of the stages of one resolution it takes the last. But if the last stage of all is more than three times as wide as
    the one before, it only prepares the pooling for the original classes, and the one before is taken. In networks of
    too few resolutions, as in transformers, the stages are spread evenly over the depth.

    Args:
        shapes: The shapes (C, h, w) of all stages, as in `HeadRequest.stages`.
        count: How many to return, at most the number of all stages.
    """
    last: dict[tuple[int, int], str] = {}
    every = list(shapes)
    for name, (width, *size) in shapes.items():
        before = last.get((size[0], size[1]))
        if before is None or name != every[-1] or width <= _PROJECTION * shapes[before][0]:
            last[size[0], size[1]] = name
    names = list(last.values())
    if len(names) < count:
        names = [every[len(every) * number // count - 1] for number in range(1, count + 1)]
    return tuple(names[-count:])


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
