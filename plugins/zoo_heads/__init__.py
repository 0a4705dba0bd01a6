"""The built-in heads: linear, mlp, cosine and attention. Importing it imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import zoo
from zoo.plugins.options import option

if TYPE_CHECKING:
    from zoo.plugins.contracts import Head

PoolingName = Literal["native", "avg", "max", "avgmax"]
ActivationName = Literal["relu", "gelu", "silu"]
_POOLING_HELP = "native: as the backbone itself pools; the others over the map"


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearOptions:
    """Options of the head ``linear``."""

    pooling: PoolingName = option("native", help=_POOLING_HELP)


@dataclass(frozen=True, slots=True, kw_only=True)
class MlpOptions:
    """Options of the head ``mlp``."""

    hidden: int = option(512, minimum=1, help="width of the hidden layers")
    depth: int = option(1, minimum=1, maximum=16, help="number of hidden layers")
    activation: ActivationName = option("relu", help="after each hidden layer")
    hidden_dropout: float = option(0.0, minimum=0, maximum=0.99, help="dropout after each hidden layer")
    pooling: PoolingName = option("native", help=_POOLING_HELP)


@dataclass(frozen=True, slots=True, kw_only=True)
class CosineOptions:
    """Options of the head ``cosine``."""

    scale: float = option(10.0, minimum=0.01, help="what the cosines are multiplied by before training moves it")
    pooling: PoolingName = option("native", help=_POOLING_HELP)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionOptions:
    """Options of the head ``attention``."""

    heads: int = option(1, minimum=1, help="queries; each pools its share of the channels, so it divides their number")


@zoo.hookimpl
def zoo_heads() -> list[zoo.HeadSpec]:
    """Offers the four heads."""
    return [
        zoo.HeadSpec(
            name="linear",
            summary="One linear layer, Xavier-initialised.",
            build=_linear,
            options=LinearOptions,
        ),
        zoo.HeadSpec(
            name="mlp",
            summary="Hidden layers before the linear one.",
            build=_mlp,
            options=MlpOptions,
        ),
        zoo.HeadSpec(
            name="cosine",
            summary="Scaled cosine between features and class weights; for few images a class.",
            build=_cosine,
            options=CosineOptions,
        ),
        zoo.HeadSpec(
            name="attention",
            summary="Attention pooling over the map with learnt queries, then one linear layer.",
            build=_attention,
            options=AttentionOptions,
        ),
    ]


def _linear(request: zoo.HeadRequest) -> Head:
    from zoo_heads.heads import linear_head

    return linear_head(request)


def _mlp(request: zoo.HeadRequest) -> Head:
    from zoo_heads.heads import mlp_head

    return mlp_head(request)


def _cosine(request: zoo.HeadRequest) -> Head:
    from zoo_heads.heads import cosine_head

    return cosine_head(request)


def _attention(request: zoo.HeadRequest) -> Head:
    from zoo_heads.heads import attention_head

    return attention_head(request)
