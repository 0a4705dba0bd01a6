"""The base classes of backbones and heads, which define their contracts. Imports torch."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zoo.plugins.criterion import Criterion


class Features(NamedTuple):
    """The output of a backbone and the input of a head.

    Attributes:
        pooled: ``(N, D)`` float: the input of the network's original output layer.
        map: ``(N, C, h, w)`` float: the last spatial features; tokens are reshaped to a grid, without prefix tokens.
        stages: Maps ``(N, C_i, h_i, w_i)`` float of the stages that the head reads (`Head.stages`), in its order; empty
            for a head that reads none.
    """

    pooled: Tensor
    map: Tensor
    stages: tuple[Tensor, ...] = ()


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
        tapped_stages: Names of the stages whose maps `extract` adds to the features. Set by the classifier, to what its
            head reads.
    """

    pooled_width: int
    map_width: int
    tapped_stages: tuple[str, ...] = ()

    @abstractmethod
    def forward(self, images: Tensor) -> Features:
        """Maps normalised images ``(N, 3, H, W)`` float32 to features, without the maps of stages."""

    @abstractmethod
    def stages(self) -> tuple[Stage, ...]:
        """Returns the stages from input to output; every parameter belongs to exactly one."""

    def extract(self, images: Tensor) -> Features:
        """Maps normalised images ``(N, 3, H, W)`` float32 to features, with the maps of the tapped stages.

        The output of a stage is that of the module that its parameters share (``layer3`` for ``layer3.0.conv1.weight``
        and its like); `stage_map` turns it into a map.
        """
        if not self.tapped_stages:
            return self.forward(images)
        outputs: dict[str, Tensor] = {}
        thread = threading.get_ident()  # other threads may run the same modules meanwhile

        def record(name: str, module: nn.Module, inputs: object, output: Tensor) -> None:
            if threading.get_ident() == thread:
                outputs[name] = output

        modules = self.stage_modules()
        hooks = [modules[name].register_forward_hook(partial(record, name)) for name in self.tapped_stages]
        try:
            features = self.forward(images)
        finally:
            for hook in hooks:
                hook.remove()
        return features._replace(stages=tuple(self.stage_map(outputs[name], images) for name in self.tapped_stages))

    def stage_modules(self) -> dict[str, nn.Module]:
        """Returns the modules whose outputs are those of the stages, by name; stages without such a module are missing.

        The default takes, of each stage, the module that its parameters share.
        """
        stages = self.stages()
        owners = {name: stage.name for stage in stages for name in stage.parameters}
        modules = {}
        for stage in stages:
            path = _module_path(stage, owners)
            if path:
                modules[stage.name] = self.get_submodule(path)
        return modules

    def stage_map(self, output: Tensor, images: Tensor) -> Tensor:
        """Converts the output of a stage to a map ``(N, C, h, w)``.

        Backbones whose stages return tokens or channels-last maps override this; the default returns the output.

        Args:
            output: What the module of the stage returned.
            images: The images ``(N, 3, H, W)`` that the features are of.
        """
        return output

    def adapt_state_dict(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns a state dict of another library with its entries renamed to the keys of this module.

        Entries without a counterpart, such as an output layer, keep their name. The default renames nothing.

        Args:
            state: Tensors by the names in the file.
        """
        return dict(state)


def _module_path(stage: Stage, owners: Mapping[str, str]) -> str:
    """Returns the path of the last module that has parameters of one stage alone, or an empty string.

    Args:
        stage: The stage.
        owners: The names of the stages by those of their parameters.
    """
    last = stage.parameters[-1].split(".")[:-1]
    for depth in range(1, len(last) + 1):
        path = ".".join(last[:depth])
        if all(owner == stage.name for name, owner in owners.items() if name.startswith(f"{path}.")):
            return path
    return ""


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

    Attributes:
        stages: Names of the backbone's stages whose maps the head reads, as `Features.stages`.
    """

    stages: tuple[str, ...] = ()

    def __init__(self, criterion: Criterion) -> None:
        super().__init__()
        self.criterion = criterion

    @abstractmethod
    def forward(self, features: Features) -> Tensor:
        """Maps features to logits ``(N, outputs)`` float32."""

    def pool(self, features: Features) -> Any:
        """Returns what `classify` needs of features: a tensor ``(N, ...)``, or a named tuple of such tensors.

        It has no parameters, so that its result is cached where the backbone is frozen. Heads that pool maps override
        it and `classify`; the default returns the features.
        """
        return features

    def classify(self, pooled: Any) -> Tensor:
        """Maps the result of `pool` to logits ``(N, outputs)``, those of `forward`."""
        return self.forward(pooled)

    @property
    def output_layer(self) -> nn.Linear | None:
        """The linear layer that is all of `classify` in eval mode, or None.

        Fitting such a head on frozen features is a convex problem, which is solved faster if this is known.
        """
        return None

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Returns the mean loss of a batch, a scalar.

        Args:
            logits: ``(N, outputs)``.
            targets: As for `zoo.plugins.losses.Criterion.loss`: indices ``(N,)``, or soft targets ``(N, outputs)``.
        """
        return self.criterion.loss(logits, targets)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Returns probabilities ``(N, outputs)`` float32, from 0 to 1, of logits ``(N, outputs)``.

        Those of an image sum to one, unless the loss is one for independent classes (`Criterion.sums_to_one`).
        """
        return self.criterion.probabilities(logits)
