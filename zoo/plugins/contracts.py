"""The contracts that backbones and heads keep, as base classes to derive from. Imports torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zoo.plugins.losses import Criterion


class Features(NamedTuple):
    """What a backbone gives, and a head takes.

    Attributes:
        pooled: ``(N, D)`` float: what the network's own output layer would be given.
        map: ``(N, C, h, w)`` float: the last spatial features; tokens are reshaped, prefix tokens dropped.
    """

    pooled: Tensor
    map: Tensor


class Stage(NamedTuple):
    """A run of layers that is frozen, unfrozen or given a learning rate together.

    Attributes:
        name: ``"stem"``, ``"layer1"``, ``"blocks.3"``.
        parameters: Names of its parameters, as `Backbone.named_parameters()` has them.
    """

    name: str
    parameters: tuple[str, ...]


class Backbone(nn.Module, ABC):
    """A network without its output layer.

    Attributes:
        pooled_width: D of `Features.pooled`.
        map_width: C of `Features.map`.
    """

    pooled_width: int
    map_width: int

    @abstractmethod
    def forward(self, images: Tensor) -> Features:
        """Maps normalised images ``(N, 3, H, W)`` float32 to features."""

    @abstractmethod
    def stages(self) -> tuple[Stage, ...]:
        """Returns the stages from input to output; every parameter is in exactly one."""

    def adapt_state_dict(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Renames the entries of a state dict from elsewhere to this module's own keys.

        Entries without a place here (an output layer) keep their name. The default renames nothing.
        """
        return dict(state)


class StagedBackbone(Backbone):
    """A convolutional backbone made of named stages, run one after the other; pooled by the average over the map.

    Args:
        stages: Modules from input to output; the last gives ``(N, width, h, w)``.
        width: Channels of the last stage.
    """

    def __init__(self, stages: Mapping[str, nn.Module], *, width: int) -> None:
        super().__init__()
        self.body = nn.ModuleDict(stages)
        self.pooled_width = self.map_width = width

    def forward(self, images: Tensor) -> Features:
        """Maps ``(N, 3, H, W)`` to ``(N, width)`` and ``(N, width, h, w)``."""
        x = images
        for stage in self.body.values():
            x = stage(x)
        return Features(pooled=x.mean(dim=(2, 3)), map=x)

    def stages(self) -> tuple[Stage, ...]:
        """Returns one stage a module, stages without parameters left out."""
        named = ((name, tuple(f"body.{name}.{p}" for p, _ in m.named_parameters())) for name, m in self.body.items())
        return tuple(Stage(name, parameters) for name, parameters in named if parameters)


class Head(nn.Module, ABC):
    """What turns features into logits; it owns its loss, its activation and its metrics.

    Args:
        criterion: The loss, and the activation that belongs to it.
    """

    def __init__(self, criterion: Criterion) -> None:
        super().__init__()
        self.criterion = criterion

    @abstractmethod
    def forward(self, features: Features) -> Tensor:
        """Maps features to logits ``(N, outputs)``."""

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Returns the mean loss of a batch, a scalar; `targets` as for `zoo.plugins.losses.Criterion.loss`."""
        return self.criterion.loss(logits, targets)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Returns ``(N, outputs)`` float32 probabilities."""
        return self.criterion.probabilities(logits)
