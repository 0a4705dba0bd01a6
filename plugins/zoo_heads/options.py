"""The options of the built-in heads. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zoo.plugins.options import option

PoolingName = Literal["native", "avg", "max", "avgmax", "catavgmax"]
ActivationName = Literal["relu", "gelu", "silu"]
_POOLING_HELP = (
    "native: the pooling of the backbone; the others pool the feature map; avgmax: mean of both; catavgmax: both"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearOptions:
    """The options of the head ``linear``."""

    stages: int = option(
        1, minimum=1, maximum=16, help="number of stages whose pooled maps it reads; of several resolutions if possible"
    )
    pooling: PoolingName = option("native", help=_POOLING_HELP)


@dataclass(frozen=True, slots=True, kw_only=True)
class MlpOptions:
    """The options of the head ``mlp``."""

    hidden: int = option(512, minimum=1, help="width of the hidden layers")
    depth: int = option(1, minimum=1, maximum=16, help="number of hidden layers")
    activation: ActivationName = option("relu", help="activation after each hidden layer")
    hidden_dropout: float = option(0.0, minimum=0, maximum=0.99, help="dropout after each hidden layer")
    pooling: PoolingName = option("native", help=_POOLING_HELP)


@dataclass(frozen=True, slots=True, kw_only=True)
class CosineOptions:
    """The options of the head ``cosine``."""

    scale: float = option(10.0, minimum=0.01, help="initial value of the learned factor of the cosines")
    pooling: PoolingName = option("native", help=_POOLING_HELP)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionOptions:
    """The options of the head ``attention``."""

    heads: int = option(1, minimum=1, help="number of queries, each for an equal share of the channels")
