"""The base classes of backbones and heads, which define their contracts. Imports torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zoo.plugins.losses import Criterion


class Features(NamedTuple):
    """The output of a backbone and the input of a head.

    Attributes:
        pooled: ``(N, D)`` float: the input of the network's original output layer.
        map: ``(N, C, h, w)`` float: the last spatial features; tokens are reshaped to a grid, without prefix tokens.
    """

    pooled: Tensor
    map: Tensor


class Stage(NamedTuple):
    """Consecutive layers that are frozen together and share a learning rate.

    Attributes:
        name: ``"stem"``, ``"layer1"``, ``"blocks.3"``.
        parameters: Names of its parameters, as in `Backbone.named_parameters()`.
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
        """Returns the stages from input to output; every parameter belongs to exactly one."""

    def adapt_state_dict(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns a state dict of another library with its entries renamed to the keys of this module.

        Entries without a counterpart, such as an output layer, keep their name. The default renames nothing.

        Args:
            state: Tensors by the names in the file.
        """
        return dict(state)


class StagedBackbone(Backbone):
    """A convolutional backbone of named stages in sequence; the pooled features are the mean over the map.

    Args:
        stages: Modules from input to output; the last returns ``(N, width, h, w)``.
        width: Number of channels of the last stage.
    """

    def __init__(self, stages: Mapping[str, nn.Module], *, width: int) -> None:
        super().__init__()
        self.body = nn.ModuleDict(stages)
        self.pooled_width = self.map_width = width

    def forward(self, images: Tensor) -> Features:
        """Maps images ``(N, 3, H, W)`` to pooled features ``(N, width)`` and a map ``(N, width, h, w)``."""
        x = images
        for stage in self.body.values():
            x = stage(x)
        return Features(pooled=x.mean(dim=(2, 3)), map=x)

    def stages(self) -> tuple[Stage, ...]:
        """Returns one stage per module, except modules without parameters."""
        named = ((name, tuple(f"body.{name}.{p}" for p, _ in m.named_parameters())) for name, m in self.body.items())
        return tuple(Stage(name, parameters) for name, parameters in named if parameters)


class Head(nn.Module, ABC):
    """Maps features to logits, and owns the loss and the activation.

    Args:
        criterion: The loss and its activation.
    """

    def __init__(self, criterion: Criterion) -> None:
        super().__init__()
        self.criterion = criterion

    @abstractmethod
    def forward(self, features: Features) -> Tensor:
        """Maps features to logits ``(N, outputs)`` float32."""

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Returns the mean loss of a batch, a scalar.

        Args:
            logits: ``(N, outputs)``.
            targets: As for `zoo.plugins.losses.Criterion.loss`: indices ``(N,)``, or soft targets ``(N, outputs)``.
        """
        return self.criterion.loss(logits, targets)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Returns probabilities ``(N, outputs)`` float32, from 0 to 1, of logits ``(N, outputs)``."""
        return self.criterion.probabilities(logits)
