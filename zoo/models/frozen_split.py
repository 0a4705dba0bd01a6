"""Divides a backbone where its frozen part ends, so that what comes before is computed once and kept."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor, fx, nn

from zoo.models.classifier import Classifier, set_training
from zoo.models.fold_bn import fold_batch_norm
from zoo.models.tracing import EXAMPLE, Tracer, UntraceableError, attribute

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from zoo.models.precision import Precision
    from zoo.plugins.contracts import Backbone, Features, Head

# Of the largest value. Both ways run the same kernels on the same numbers; a library may still choose between kernels.
_TOLERANCE = {"fp32": 1e-5, "tf32": 2e-3, "fp16": 2e-3, "bf16": 2e-2}


class CachedActivations(tuple[Tensor, ...]):
    """What the frozen part of a backbone made of a batch of images: tensors ``(N, ...)``."""

    __slots__ = ()

    def __new__(cls, *values: Tensor) -> Self:
        """Takes its tensors one by one, as a named tuple does."""
        return super().__new__(cls, values)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrozenSplit:
    """Where the frozen part of a backbone ends. Of what learns it holds nothing: the backbone at hand is used.

    Attributes:
        frozen: The backbone, its batch normalisations folded into its convolutions; only its frozen part is of use.
        before: Gives the values that cross the split, of ``(frozen, images)``.
        after: Gives the features, of ``(backbone, *values)``; one for train mode (True), one for eval mode.
        constants: Those of the values that are the same whatever the images (shapes, position embeddings), by position.
        counts: Positions of those that are the number of images.
        shapes: Of each value kept of an image, without the N in front.
        image_bytes: What is kept of an image takes so many.
    """

    frozen: Backbone
    before: Callable[..., tuple[Any, ...]]
    after: dict[bool, Callable[..., Features]]
    constants: dict[int, Any]
    counts: tuple[int, ...]
    shapes: tuple[tuple[int, ...], ...]
    image_bytes: int

    def __deepcopy__(self, memo: object) -> Self:
        """Returns the split itself: nothing of it changes, and copies of a classifier have the same frozen part."""
        return self

    def keep(self, images: Tensor) -> CachedActivations:
        """Returns what the frozen part, in eval mode, makes of images ``(N, 3, H, W)``."""
        values = enumerate(self.before(self.frozen, images))
        return CachedActivations(*(value for i, value in values if i not in self.constants and i not in self.counts))

    def go_on(self, backbone: Backbone, kept: CachedActivations) -> Features:
        """Returns the features of the images that `kept` was made of."""
        values, known = list(kept), {**self.constants, **dict.fromkeys(self.counts, len(kept[0]))}
        for position in sorted(known):
            values.insert(position, known[position])
        return self.after[backbone.training](backbone, *values)


class SplitClassifier(Classifier):
    """A classifier that runs the frozen part of its backbone folded, or goes on from cached activations.

    Its modules, and so its state dict, are those of the classifier that it is made of.

    Args:
        backbone: Gives features.
        head: Makes logits of them.
        split: Where the frozen part of the backbone ends.
    """

    def __init__(self, backbone: Backbone, head: Head, split: FrozenSplit) -> None:
        super().__init__(backbone, head)
        self.split = split

    def forward(self, images: Tensor | CachedActivations) -> Tensor:
        """Maps normalised images ``(N, 3, H, W)`` float32, or their cached activations, to logits ``(N, classes)``."""
        activations = self.split.keep(images) if isinstance(images, Tensor) else images
        logits: Tensor = self.head(self.split.go_on(self.backbone, activations))
        return logits

    def like(self, backbone: Backbone, head: Head) -> SplitClassifier:
        """Returns a classifier that consists of other modules and is split at the same place."""
        return SplitClassifier(backbone, head, self.split)


@torch.no_grad()
def find_frozen_split(
    classifier: Classifier, *, image_size: tuple[int, int], precision: Precision, freeze_norm_stats: bool
) -> FrozenSplit:
    """Returns the split of a classifier's backbone, checked on a few images of noise, in train and in eval mode.

    Before the split is what depends on the images, but on no parameter and no statistic that learns. The backbone
    is traced with torch.fx (https://docs.pytorch.org/docs/stable/fx.html), modules that are frozen or learn as a
    whole as one step each.

    Args:
        classifier: On its device; frozen is what requires no gradient. It is left as it is.
        image_size: (height, width) in pixels.
        precision: Of the forward passes.
        freeze_norm_stats: As for `zoo.models.classifier.set_training`.

    Raises:
        UntraceableError: The backbone cannot be divided without changing what it does; the message says why.
    """
    cuda = [precision.device] if precision.device.type == "cuda" else []
    frozen = fold_batch_norm(classifier.backbone, image_size=image_size, precision=precision)
    noise = torch.randn(3, 3, *image_size, generator=torch.Generator().manual_seed(0))
    images = noise.to(precision.device).contiguous(memory_format=torch.channels_last)
    try:
        with precision.autocast(), torch.random.fork_rng(cuda):
            trial = copy.deepcopy(classifier)  # runs in train mode, which moves statistics
            to_train = partial(set_training, trial, freeze_norm_stats=freeze_norm_stats)
            split = _divide(trial, frozen, images, to_train)
            for mode in (trial.eval, to_train):
                mode()
                _check(split, trial.backbone, images[1:], _TOLERANCE[precision.name])
    except UntraceableError:
        raise
    except Exception as error:  # the Python of any network is run here with what stands for tensors
        reason = str(error).strip().partition("\n")[0]
        raise UntraceableError(f"it cannot be traced: {type(error).__name__}: {reason}") from error
    return split


def _divide(trial: Classifier, frozen: Backbone, images: Tensor, to_train: Callable[[], object]) -> FrozenSplit:
    backbone, graphs = trial.backbone, {}
    for training in (False, True):
        to_train() if training else trial.eval()
        graphs[training] = Tracer(images, is_leaf=_is_uniform).trace(backbone)
    crossing = {training: _crossing(graph, backbone) for training, graph in graphs.items()}
    example = [node.meta[EXAMPLE] for node in crossing[False]]
    in_training = [node.meta[EXAMPLE] for node in crossing[True]]
    if [node.name for node in crossing[False]] != [node.name for node in crossing[True]] or not all(
        _same(one, other) for one, other in zip(example, in_training, strict=True)
    ):
        raise UntraceableError("its frozen part does something else, or something random, while it trains")
    before = _function(backbone, graphs[False], _inputs(graphs[False]), tuple(crossing[False]))
    after = {
        training: _function(backbone, graph, crossing[training], _output(graph)) for training, graph in graphs.items()
    }
    constants, counts = _not_of_an_image(example, before(backbone, images[1:]), len(images))
    values = [value for i, value in enumerate(example) if i not in constants and i not in counts]
    return FrozenSplit(
        frozen=frozen,
        before=before,
        after=after,
        constants=constants,
        counts=counts,
        shapes=tuple(tuple(value.shape[1:]) for value in values),
        image_bytes=sum(value[0].nbytes for value in values),
    )


def _is_uniform(module: nn.Module) -> bool:
    return len({parameter.requires_grad for parameter in module.parameters()}) < 2


def _crossing(graph: fx.Graph, backbone: nn.Module) -> list[fx.Node]:
    """Returns the last values that depend on the images, but on nothing that learns."""
    frozen: set[fx.Node] = set()
    learning: set[fx.Node] = set()
    for node in graph.nodes:
        inputs = node.all_input_nodes
        if _learns(node, backbone) or not learning.isdisjoint(inputs):
            learning.add(node)
        elif node.op == "placeholder" or not frozen.isdisjoint(inputs):
            frozen.add(node)
    crossing = frozen & _needed(_output(graph), until=frozen)
    found = [node for node in graph.nodes if node in crossing]
    if any(node.op == "placeholder" for node in found):
        raise UntraceableError("what learns in it looks at the images themselves")
    return found


def _learns(node: fx.Node, backbone: nn.Module) -> bool:
    """Returns whether a step of its own accord belongs behind the split."""
    if node.op == "get_attr":
        return bool(getattr(attribute(backbone, str(node.target)), "requires_grad", False))
    if EXAMPLE not in node.meta:
        return True  # the output, where values are put together and none is made
    if node.op != "call_module":
        return False
    module = backbone.get_submodule(str(node.target))
    moving = any(part.training and any(True for _ in part.buffers(recurse=False)) for part in module.modules())
    return moving or any(parameter.requires_grad for parameter in module.parameters())


def _inputs(graph: fx.Graph) -> list[fx.Node]:
    return [node for node in graph.nodes if node.op == "placeholder"]


def _output(graph: fx.Graph) -> Any:
    return next(iter(reversed(graph.nodes))).args[0]


def _needed(output: Any, *, until: Container[fx.Node]) -> set[fx.Node]:
    """Returns the nodes that an output is computed from, going back as far as some nodes and including them."""
    needed: set[fx.Node] = set()
    waiting: list[fx.Node] = []
    fx.node.map_arg(output, waiting.append)
    while waiting:
        node = waiting.pop()
        if node not in needed:
            needed.add(node)
            waiting += () if node in until else node.all_input_nodes
    return needed


def _function(backbone: nn.Module, graph: fx.Graph, inputs: list[fx.Node], output: Any) -> Callable[..., Any]:
    """Returns the part of a graph that leads from some nodes to an output, as a function of ``(backbone, *inputs)``."""
    part, needed = fx.Graph(), _needed(output, until=inputs)
    # What fx names so is a tensor that the network made itself. fx leaves it with the network that was traced, which is
    # not the one to be run.
    made = [node for node in graph.nodes if node in needed and str(node.target).startswith("_tensor_constant")]
    copies = {node: part.placeholder(node.name) for node in (*inputs, *made)}
    for node in graph.nodes:
        if node in needed and node not in copies:
            copies[node] = part.node_copy(node, copies.__getitem__)
    part.output(fx.node.map_arg(output, copies.__getitem__))
    # A graph module would hold copies of the containers, in modes of their own; its code runs on the backbone itself.
    code: Callable[..., Any] = type(fx.GraphModule(backbone, part)).forward
    code.__defaults__ = tuple(attribute(backbone, str(node.target)) for node in made)
    return code


def _not_of_an_image(example: list[Any], fewer: tuple[Any, ...], count: int) -> tuple[dict[int, Any], tuple[int, ...]]:
    """Returns `FrozenSplit.constants` and `FrozenSplit.counts`, by comparing the values of `count` images and of one less."""
    constants: dict[int, Any] = {}
    counts: list[int] = []
    for position, (value, other) in enumerate(zip(example, fewer, strict=True)):
        if _same(value, other):
            constants[position] = value
        elif isinstance(value, int) and (value, other) == (count, count - 1):
            counts.append(position)
        elif not isinstance(value, Tensor) or (*value.shape[:1], *other.shape[:1]) != (count, count - 1):
            raise UntraceableError("what leaves its frozen part belongs to the batch, not to each of its images")
    return constants, tuple(counts)


def _check(split: FrozenSplit, backbone: Backbone, images: Tensor, tolerance: float) -> None:
    split = replace(split, frozen=backbone)  # folded, it would round otherwise
    torch.manual_seed(0)
    whole = backbone(images)
    torch.manual_seed(0)
    divided = split.go_on(backbone, split.keep(images))
    for one, other in zip(whole, divided, strict=True):
        close = one.shape == other.shape and float((one - other).abs().max()) <= tolerance * float(one.abs().max())
        if not close:  # NaN is close to nothing
            raise UntraceableError("divided, it gives other features")


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.shape == other.shape and torch.equal(one, other)
    return type(one) is type(other) and bool(one == other)
