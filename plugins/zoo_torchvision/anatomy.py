"""How each family of torchvision's networks is taken apart: what makes the map, what follows, where the output is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.preprocess import IMAGENET_MEAN, IMAGENET_STD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Children that only hold a run of layers; each of those layers may be a stage of its own.
_CONTAINERS = ("features", "layers", "blocks", "trunk_output", "classifier")
_NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm)


def _unchanged(x: Tensor) -> Tensor:
    return x


def _flatten(x: Tensor) -> Tensor:
    return x.flatten(1)


def _average(x: Tensor) -> Tensor:
    return x.mean(dim=(2, 3))


def _inception_input(x: Tensor) -> Tensor:
    """Turns ImageNet's normalisation into (x - 0.5) / 0.5, which the weights of the inception networks expect."""
    channels = zip(x.unbind(dim=1), IMAGENET_MEAN, IMAGENET_STD, strict=True)
    return torch.stack([channel * (std / 0.5) + (mean - 0.5) / 0.5 for channel, mean, std in channels], dim=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Anatomy:
    """How a network is taken apart. Its children run in the order in which they were defined.

    The body, which makes the map, is every child that neither the neck nor the output names.

    Attributes:
        output: Dotted name of the output layer, which is taken out.
        neck: What stands between the map and the output layer: names of children, and functions.
        enter: What the network does to its input before its first layer.
        leave: What the network does to the body's output; its result is the map.
    """

    output: str
    neck: tuple[str | Callable[[Tensor], Tensor], ...]
    enter: Callable[[Tensor], Tensor] = _unchanged
    leave: Callable[[Tensor], Tensor] = _unchanged

    def body(self, net: nn.Module) -> dict[str, nn.Module]:
        """Returns the children that make the map, by name."""
        others = {self.output.partition(".")[0], *self.neck}
        return {name: child for name, child in net.named_children() if name not in others}

    def map(self, net: nn.Module, images: Tensor) -> Tensor:
        """Runs the body: ``(N, 3, H, W)`` to ``(N, C, h, w)``."""
        x = self.enter(images)
        for child in self.body(net).values():
            for layer in child if isinstance(child, nn.ModuleList) else (child,):
                x = layer(x)
        return self.leave(x)

    def pooled(self, net: nn.Module, feature_map: Tensor) -> Tensor:
        """Runs the neck: ``(N, C, h, w)`` to ``(N, D)``."""
        x = feature_map
        for step in self.neck:
            x = getattr(net, step)(x) if isinstance(step, str) else step(x)
        return x

    def stages(self, net: nn.Module) -> list[tuple[str, list[str]]]:
        """Returns stages, input to output: a name, and the names of the modules whose parameters belong to it.

        A normalisation belongs to what stands before it; layers without parameters belong to nothing.
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
        necks = {step: getattr(net, step) for step in self.neck if isinstance(step, str)}
        for name, child in {**self.body(net), **necks}.items():
            if name in _CONTAINERS:
                yield from ((f"{name}.{inner}", layer) for inner, layer in child.named_children())
            else:
                yield name, child


_CLASSIFIER_OF_SEVEN = Anatomy(output="classifier.6", neck=("avgpool", _flatten, "classifier"))
_AVERAGED = Anatomy(output="classifier.1", neck=(_average, "classifier"))

ANATOMIES = {
    "alexnet": _CLASSIFIER_OF_SEVEN,
    "convnext": Anatomy(output="classifier.2", neck=("avgpool", "classifier")),
    "densenet": Anatomy(output="classifier", neck=(_average,), leave=F.relu),
    "efficientnet": Anatomy(output="classifier.1", neck=("avgpool", _flatten, "classifier")),
    "googlenet": Anatomy(output="fc", neck=("avgpool", _flatten, "dropout"), enter=_inception_input),
    "inception": Anatomy(output="fc", neck=("avgpool", "dropout", _flatten), enter=_inception_input),
    "maxvit": Anatomy(output="classifier.5", neck=("classifier",)),
    "mnasnet": _AVERAGED,
    "mobilenetv2": _AVERAGED,
    "mobilenetv3": Anatomy(output="classifier.3", neck=("avgpool", _flatten, "classifier")),
    "regnet": Anatomy(output="fc", neck=("avgpool", _flatten)),
    "resnet": Anatomy(output="fc", neck=("avgpool", _flatten)),
    "shufflenet": Anatomy(output="fc", neck=(_average,)),
    # Its output layer is a convolution on the map, averaged afterwards; the average of the map stands for its input.
    "squeezenet": Anatomy(output="classifier.1", neck=(_average,)),
    "swin": Anatomy(output="head", neck=("avgpool", "flatten")),
    "vgg": _CLASSIFIER_OF_SEVEN,
}


def take_out(net: nn.Module, name: str) -> nn.Module:
    """Replaces the layer of a dotted name by the identity, and returns it."""
    layer = net.get_submodule(name)
    parent, _, child = name.rpartition(".")
    setattr(net.get_submodule(parent), child, nn.Identity())
    return layer


def plain(net: nn.Module) -> nn.Module:
    """Returns a container with the network's children under the same names, and none of its class's behaviour."""
    container = nn.Module()
    for name, child in net.named_children():
        container.add_module(name, child)
    return container.train(net.training)
