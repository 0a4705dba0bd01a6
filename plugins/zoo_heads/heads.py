"""The modules of the built-in heads: a pooling, a dropout and a classifier. Imports torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.errors import ConfigError
from zoo.plugins.contracts import Features, Head
from zoo_heads.pooling import AttentionPooling, Pooling, StagePooling, select_stages

if TYPE_CHECKING:
    from zoo.plugins.specs import HeadRequest
    from zoo_heads.options import (
        ActivationName,
        AttentionOptions,
        CosineOptions,
        LinearOptions,
        MlpOptions,
        PoolingName,
    )

_ACTIVATIONS: dict[ActivationName, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU}


class PooledHead(Head):
    """A head that pools the features, applies dropout and classifies the result.

    Args:
        request: Has the loss and the dropout.
        pooling: Maps features to ``(N, width)``, without parameters.
        classifier: Maps ``(N, width)`` to logits ``(N, outputs)``.
        stages: Names of the stages whose maps `pooling` reads.
    """

    def __init__(
        self, request: HeadRequest, *, pooling: nn.Module, classifier: nn.Module, stages: tuple[str, ...] = ()
    ) -> None:
        super().__init__(request.criterion)
        self.pooling = pooling
        self.dropout = nn.Dropout(request.dropout)
        self.classifier = classifier
        self.stages = stages

    def pool(self, features: Features) -> Tensor:
        """Maps features to ``(N, width)``."""
        pooled: Tensor = self.pooling(features)
        return pooled

    def classify(self, pooled: Tensor) -> Tensor:
        """Maps pooled features to logits ``(N, outputs)``."""
        logits: Tensor = self.classifier(self.dropout(pooled))
        return logits

    def forward(self, features: Features) -> Tensor:
        """Maps features to logits ``(N, outputs)``."""
        return self.classify(self.pool(features))

    @property
    def output_layer(self) -> nn.Linear | None:
        """The classifier, if it is a linear layer."""
        return self.classifier if isinstance(self.classifier, nn.Linear) else None


class AttentionHead(Head):
    """A head whose pooling has parameters, then dropout and a linear layer.

    Args:
        request: Has the loss and the dropout.
        pooling: Maps features to ``(N, width)``.
    """

    def __init__(self, request: HeadRequest, pooling: AttentionPooling) -> None:
        super().__init__(request.criterion)
        self.pooling = pooling
        self.dropout = nn.Dropout(request.dropout)
        self.classifier = _xavier(pooling.width, request.outputs)

    def forward(self, features: Features) -> Tensor:
        """Maps features to logits ``(N, outputs)``."""
        logits: Tensor = self.classifier(self.dropout(self.pooling(features)))
        return logits


class CosineClassifier(nn.Module):
    """Scaled cosine similarity between features and class weights (Gidaris & Komodakis 2018, section 3.2).

    Only directions count, so the long weights of one class cannot outweigh a class with few or faint images. The
    learned scale lets the softmax reach any confidence. https://arxiv.org/abs/1804.09458

    Args:
        width: Length of a feature vector.
        outputs: Number of classes.
        scale: Initial value of the learned scale.
    """

    def __init__(self, width: int, outputs: int, *, scale: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, width))
        self.scale = nn.Parameter(torch.tensor(scale))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``(N, width)`` to ``(N, outputs)``, between minus and plus the scale."""
        return self.scale * F.linear(F.normalize(x, dim=1), F.normalize(self.weight, dim=1))


def linear_head(request: HeadRequest) -> PooledHead:
    """Builds the head ``linear``.

    Raises:
        ConfigError: The backbone has fewer stages than the options name.
    """
    options: LinearOptions = request.options
    if options.stages == 1:
        pooling = _pooling(request, options.pooling)
        return PooledHead(request, pooling=pooling, classifier=_xavier(pooling.width, request.outputs))
    if options.stages > len(request.stages):
        raise ConfigError(
            f"head linear: option 'stages' is {options.stages}, but the backbone has {len(request.stages)} stages "
            "with feature maps.",
            hint="'zoo info BACKBONE' lists the stages.",
        )
    names = select_stages(request.stages, options.stages)
    stages = StagePooling(options.pooling, widths=[request.stages[name][0] for name in names])
    return PooledHead(request, pooling=stages, classifier=_xavier(stages.width, request.outputs), stages=names)


def mlp_head(request: HeadRequest) -> PooledHead:
    """Builds the head ``mlp``."""
    options: MlpOptions = request.options
    pooling = _pooling(request, options.pooling)
    layers: list[nn.Module] = []
    width = pooling.width
    for _ in range(options.depth):
        layers += [
            _xavier(width, options.hidden),
            _ACTIVATIONS[options.activation](),
            nn.Dropout(options.hidden_dropout),
        ]
        width = options.hidden
    return PooledHead(request, pooling=pooling, classifier=nn.Sequential(*layers, _xavier(width, request.outputs)))


def cosine_head(request: HeadRequest) -> PooledHead:
    """Builds the head ``cosine``."""
    options: CosineOptions = request.options
    pooling = _pooling(request, options.pooling)
    classifier = CosineClassifier(pooling.width, request.outputs, scale=options.scale)
    return PooledHead(request, pooling=pooling, classifier=classifier)


def attention_head(request: HeadRequest) -> AttentionHead:
    """Builds the head ``attention``.

    Raises:
        ConfigError: The number of heads does not divide the channels of the map.
    """
    options: AttentionOptions = request.options
    if request.map_width % options.heads:
        divisors = [str(n) for n in range(1, 33) if request.map_width % n == 0]
        raise ConfigError(
            f"head attention: option 'heads' is {options.heads}, "
            f"which does not divide the backbone's {request.map_width} channels.",
            hint=f"Valid values: {', '.join(divisors)}.",
        )
    pooling = AttentionPooling(map_width=request.map_width, heads=options.heads)
    return AttentionHead(request, pooling)


def _pooling(request: HeadRequest, kind: PoolingName) -> Pooling:
    return Pooling(kind, pooled_width=request.pooled_width, map_width=request.map_width)


def _xavier(inputs: int, outputs: int) -> nn.Linear:
    """Returns a linear layer with Xavier weights (Glorot & Bengio 2010) and zero bias."""
    layer = nn.Linear(inputs, outputs)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
