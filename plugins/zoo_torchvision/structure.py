"""The structure of torchvision's networks by family: which layers compute the map, and what follows. Imports torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.preprocess import IMAGENET_MEAN, IMAGENET_STD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Children that only hold a sequence of layers, each of which may be a stage.
_CONTAINERS = ("features", "layers", "blocks", "trunk_output", "classifier")
_NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm)


def _identity(x: Tensor) -> Tensor:
    return x


def _flatten(x: Tensor) -> Tensor:
    return x.flatten(1)


def _average(x: Tensor) -> Tensor:
    return x.mean(dim=(2, 3))


def _inception_input(x: Tensor) -> Tensor:
    """Converts ImageNet's normalisation to (x - 0.5) / 0.5, which the weights of the inception networks expect."""
    channels = zip(x.unbind(dim=1), IMAGENET_MEAN, IMAGENET_STD, strict=True)
    return torch.stack([channel * (std / 0.5) + (mean - 0.5) / 0.5 for channel, mean, std in channels], dim=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """The parts of a network whose children run in the order in which they are defined.

    The body, which computes the map, consists of all children that are neither in the neck nor the output layer.

    Attributes:
        output: Dotted name of the output layer, which the backbone removes.
        neck: What runs between the map and the output layer: names of children, and functions.
        transform_input: What the network applies to its input before the first layer.
        activation: What the network applies to the output of the body; the result is the map.
    """

    output: str
    neck: tuple[str | Callable[[Tensor], Tensor], ...]
    transform_input: Callable[[Tensor], Tensor] = _identity
    activation: Callable[[Tensor], Tensor] = _identity

    def body(self, net: nn.Module) -> dict[str, nn.Module]:
        """Returns the children of the body by name."""
        others = {self.output.partition(".")[0], *self.neck}
        return {name: child for name, child in net.named_children() if name not in others}

    def compute_map(self, net: nn.Module, images: Tensor) -> Tensor:
        """Runs the body: ``(N, 3, H, W)`` to ``(N, C, h, w)``."""
        x = self.transform_input(images)
        for child in self.body(net).values():
            for layer in child if isinstance(child, nn.ModuleList) else (child,):
                x = layer(x)
        return self.activation(x)

    def pool(self, net: nn.Module, feature_map: Tensor) -> Tensor:
        """Runs the neck: ``(N, C, h, w)`` to ``(N, D)``."""
        x = feature_map
        for step in self.neck:
            x = getattr(net, step)(x) if isinstance(step, str) else step(x)
        return x

    def stages(self, net: nn.Module) -> list[tuple[str, list[str]]]:
        """Returns the stages from input to output: a name, and the names of the modules that belong to the stage.

        A normalisation belongs to the layer before it. Layers without parameters belong to no stage.
        """
        stages: list[tuple[str, list[str]]] = []
        for name, module in self._units(net):
            if not any(True for _ in module.parameters()):
                continue
            if stages and isinstance(module, _NORMS):
                stages[-1][1].append(name)
            else:
                stages.append((name if stages else "stem", [name]))
        return stages

    def _units(self, net: nn.Module) -> Iterator[tuple[str, nn.Module]]:
        neck = {step: getattr(net, step) for step in self.neck if isinstance(step, str)}
        for name, child in {**self.body(net), **neck}.items():
            if name in _CONTAINERS:
                yield from ((f"{name}.{inner}", layer) for inner, layer in child.named_children())
            else:
                yield name, child


_VGG = Structure(output="classifier.6", neck=("avgpool", _flatten, "classifier"))
_MOBILENET = Structure(output="classifier.1", neck=(_average, "classifier"))

STRUCTURES = {
    "alexnet": _VGG,
    "convnext": Structure(output="classifier.2", neck=("avgpool", "classifier")),
    "densenet": Structure(output="classifier", neck=(_average,), activation=F.relu),
    "efficientnet": Structure(output="classifier.1", neck=("avgpool", _flatten, "classifier")),
    "googlenet": Structure(output="fc", neck=("avgpool", _flatten, "dropout"), transform_input=_inception_input),
    "inception": Structure(output="fc", neck=("avgpool", "dropout", _flatten), transform_input=_inception_input),
    "maxvit": Structure(output="classifier.5", neck=("classifier",)),
    "mnasnet": _MOBILENET,
    "mobilenetv2": _MOBILENET,
    "mobilenetv3": Structure(output="classifier.3", neck=("avgpool", _flatten, "classifier")),
    "regnet": Structure(output="fc", neck=("avgpool", _flatten)),
    "resnet": Structure(output="fc", neck=("avgpool", _flatten)),
    "shufflenet": Structure(output="fc", neck=(_average,)),
    # The output layer is a convolution over the map, averaged afterwards; the average of the map replaces its input.
    "squeezenet": Structure(output="classifier.1", neck=(_average,)),
    "swin": Structure(output="head", neck=("avgpool", "flatten")),
    "vgg": _VGG,
}


def remove_layer(net: nn.Module, name: str) -> None:
    """Replaces the layer with a dotted name by the identity."""
    parent, _, child = name.rpartition(".")
    setattr(net.get_submodule(parent), child, nn.Identity())


def copy_children(net: nn.Module) -> nn.Module:
    """Returns a plain module with the network's children under the same names, without the methods of its class."""
    container = nn.Module()
    for name, child in net.named_children():
        container.add_module(name, child)
    return container.train(net.training)
