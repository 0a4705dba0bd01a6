"""Splits a backbone where its frozen part ends, so that the output of that part is computed once and cached."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor, fx, nn

from zoo.models.classifier import Classifier, set_training
from zoo.models.fold_bn import fold_batch_norm
from zoo.models.nested import flatten_tensors
from zoo.models.tracing import EXAMPLE, Tracer, UntraceableError, get_attribute

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping, Sequence

    from zoo.models.precision import Precision
    from zoo.plugins.contracts import Backbone, Features, Head

# Relative to the largest value. Both paths run the same operations, but a library may choose other kernels for them.
_TOLERANCE = {"fp32": 1e-5, "tf32": 2e-3, "fp16": 2e-3, "bf16": 2e-2}


class CachedActivations(tuple[Tensor, ...]):
    """The output of the frozen part of a backbone for a batch of images: tensors ``(N, ...)``."""

    __slots__ = ()

    def __new__(cls, *values: Tensor) -> Self:
        """Takes the tensors as arguments, like a named tuple."""
        return super().__new__(cls, values)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrozenSplit:
    """The place in a backbone where its frozen part ends. The trainable part is not stored here.

    Attributes:
        frozen: The backbone with folded batch normalisations; only its frozen part is used.
        frozen_function: Maps ``(frozen, images)`` to the values that cross the split.
        trainable_functions: Map ``(backbone, *values)`` to features: one for train mode (True), one for eval mode.
        constants: The values that do not depend on the images (shapes, position embeddings), by position.
        batch_sizes: The positions of values that equal the number of images.
        shapes: The shapes of the other values, per image.
        image_bytes: The size of the other values, per image, in bytes.
        engines: What runs the frozen part instead of torch, by (height, width) of the images: maps images to the
            result of `FrozenPart`.
    """

    frozen: Backbone
    frozen_function: Callable[..., tuple[Any, ...]]
    trainable_functions: dict[bool, Callable[..., Features]]
    constants: dict[int, Any]
    batch_sizes: tuple[int, ...]
    shapes: tuple[tuple[int, ...], ...]
    image_bytes: int
    engines: Mapping[tuple[int, int], Callable[[Tensor], tuple[Tensor, ...]]] = field(default_factory=dict)

    def __deepcopy__(self, memo: object) -> Self:
        """Returns the split itself: it never changes, and copies of a classifier share the frozen part."""
        return self

    def run_frozen(self, images: Tensor) -> CachedActivations:
        """Runs the frozen part, in eval mode, on normalised images ``(N, 3, H, W)`` float32."""
        height, width = images.shape[-2:]
        if engine := self.engines.get((height, width)):
            return CachedActivations(*engine(images))
        values = enumerate(self.frozen_function(self.frozen, images))
        implied = {*self.constants, *self.batch_sizes}
        return CachedActivations(*(value for position, value in values if position not in implied))

    def run_trainable(self, backbone: Backbone, activations: CachedActivations) -> Features:
        """Runs the trainable part of `backbone` on the output of `run_frozen`; returns features of the same images."""
        values = list(activations)
        implied = {**self.constants, **dict.fromkeys(self.batch_sizes, len(activations[0]))}
        for position in sorted(implied):
            values.insert(position, implied[position])
        return self.trainable_functions[backbone.training](backbone, *values)


class FrozenPart(nn.Module):
    """The frozen part of a backbone as a network of its own, for an engine."""

    def __init__(self, split: FrozenSplit) -> None:
        super().__init__()
        self.frozen = split.frozen  # so that its weights are those of this network
        self._split = split

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Maps normalised images ``(N, 3, H, W)`` float32 to the values that are cached of them."""
        return tuple(self._split.run_frozen(images))


class SplitClassifier(Classifier):
    """A classifier whose frozen part runs folded, or is replaced by its cached activations.

    It has the same modules, and thus the same state dict, as the unsplit classifier.

    Args:
        backbone: Maps images to features.
        head: Maps features to logits.
        split: Where the frozen part of the backbone ends.
    """

    def __init__(self, backbone: Backbone, head: Head, split: FrozenSplit) -> None:
        super().__init__(backbone, head)
        self.split = split

    def forward(self, images: Tensor | CachedActivations) -> Tensor:
        """Maps normalised images ``(N, 3, H, W)`` float32, or their cached activations, to logits ``(N, classes)``."""
        activations = self.split.run_frozen(images) if isinstance(images, Tensor) else images
        logits: Tensor = self.head(self.split.run_trainable(self.backbone, activations))
        return logits

    def like(self, backbone: Backbone, head: Head) -> SplitClassifier:
        """Returns a classifier with other modules and the same split."""
        return SplitClassifier(backbone, head, self.split)


@torch.no_grad()
def find_frozen_split(
    classifier: Classifier, *, image_sizes: Sequence[tuple[int, int]], precision: Precision, freeze_norm_stats: bool
) -> FrozenSplit:
    """Finds where the frozen part of a backbone ends, and verifies the split on random images in train and eval mode.

    The frozen part is everything that depends on the images, but on no trainable parameter and no changing statistic.
    The backbone is traced with torch.fx (https://docs.pytorch.org/docs/stable/fx.html); modules that are frozen, or
    trainable, as a whole are single steps.

    Args:
        classifier: A classifier on its device. Parameters that require no gradient are frozen. It is not changed.
        image_sizes: Every (height, width) in pixels that images may have. The split is found at the first.
        precision: Precision of the forward passes.
        freeze_norm_stats: As for `zoo.models.classifier.set_training`.

    Raises:
        UntraceableError: The backbone cannot be split without changing its output; the message says why.
    """
    cuda = [precision.device] if precision.device.type == "cuda" else []
    frozen = fold_batch_norm(classifier.backbone, image_size=image_sizes[0], precision=precision)
    images = [_noise(size, precision.device) for size in image_sizes]
    try:
        with precision.autocast(), torch.random.fork_rng(cuda):
            trial = copy.deepcopy(classifier)  # because running in train mode changes statistics
            to_train = partial(set_training, trial, freeze_norm_stats=freeze_norm_stats)
            split = _split(trial, frozen, images[0], to_train)
            for mode in (trial.eval, to_train):
                mode()
                for each in images:
                    _verify(split, trial.backbone, each[1:], _TOLERANCE[precision.name])
    except UntraceableError:
        raise
    except Exception as error:  # tracing runs arbitrary code of the network with proxies instead of tensors
        reason = str(error).strip().partition("\n")[0]
        raise UntraceableError(f"it cannot be traced: {type(error).__name__}: {reason}") from error
    return split


def _noise(size: tuple[int, int], device: torch.device) -> Tensor:
    noise = torch.randn(3, 3, *size, generator=torch.Generator().manual_seed(0))
    return noise.to(device).contiguous(memory_format=torch.channels_last)


def _split(trial: Classifier, frozen: Backbone, images: Tensor, to_train: Callable[[], object]) -> FrozenSplit:
    backbone, graphs = trial.backbone, {}
    tapped = _around_stages(backbone)

    def is_leaf(module: nn.Module) -> bool:
        return module not in tapped and _is_uniform(module)

    for training in (False, True):
        to_train() if training else trial.eval()
        graphs[training] = Tracer(images, is_leaf=is_leaf, method="extract").trace(backbone)
    crossing = {training: _find_crossing(graph, backbone) for training, graph in graphs.items()}
    example = [node.meta[EXAMPLE] for node in crossing[False]]
    in_training = [node.meta[EXAMPLE] for node in crossing[True]]
    if [node.name for node in crossing[False]] != [node.name for node in crossing[True]] or not all(
        _equal(one, other) for one, other in zip(example, in_training, strict=True)
    ):
        raise UntraceableError("its frozen part behaves differently, or randomly, in train mode")
    frozen_function = _compile(backbone, graphs[False], _inputs(graphs[False]), tuple(crossing[False]))
    trainable_functions = {
        training: _compile(backbone, graph, crossing[training], _output(graph)) for training, graph in graphs.items()
    }
    constants, batch_sizes = _find_implied(example, frozen_function(backbone, images[1:]), len(images))
    values = [value for i, value in enumerate(example) if i not in constants and i not in batch_sizes]
    return FrozenSplit(
        frozen=frozen,
        frozen_function=frozen_function,
        trainable_functions=trainable_functions,
        constants=constants,
        batch_sizes=batch_sizes,
        shapes=tuple(tuple(value.shape[1:]) for value in values),
        image_bytes=sum(value[0].nbytes for value in values),
    )


def _is_uniform(module: nn.Module) -> bool:
    return len({parameter.requires_grad for parameter in module.parameters()}) < 2


def _around_stages(backbone: Backbone) -> set[nn.Module]:
    """Returns the modules that contain a tapped stage: inside of a single step of the graph it could not be read."""
    modules = backbone.stage_modules()
    stages = {modules[name] for name in backbone.tapped_stages}
    return {each for each in backbone.modules() if any(part in stages for part in each.modules() if part is not each)}


def _find_crossing(graph: fx.Graph, backbone: nn.Module) -> list[fx.Node]:
    """Returns the last values that depend on the images, but on nothing trainable."""
    frozen: set[fx.Node] = set()
    trainable: set[fx.Node] = set()
    for node in graph.nodes:
        inputs = node.all_input_nodes
        if _is_trainable(node, backbone) or not trainable.isdisjoint(inputs):
            trainable.add(node)
        elif node.op == "placeholder" or not frozen.isdisjoint(inputs):
            frozen.add(node)
    crossing = frozen & _ancestors(_output(graph), until=frozen)
    nodes = [node for node in graph.nodes if node in crossing]
    if any(node.op == "placeholder" for node in nodes):
        raise UntraceableError("its trainable part reads the images directly")
    return nodes


def _is_trainable(node: fx.Node, backbone: nn.Module) -> bool:
    """Returns whether a step itself is trainable or updates statistics, whatever its inputs are."""
    if node.op == "get_attr":
        return bool(getattr(get_attribute(backbone, str(node.target)), "requires_grad", False))
    if EXAMPLE not in node.meta:
        return True  # the output node, which computes nothing
    if node.op != "call_module":
        return False
    module = backbone.get_submodule(str(node.target))
    updating = any(each.training and any(True for _ in each.buffers(recurse=False)) for each in module.modules())
    return updating or any(parameter.requires_grad for parameter in module.parameters())


def _inputs(graph: fx.Graph) -> list[fx.Node]:
    return [node for node in graph.nodes if node.op == "placeholder"]


def _output(graph: fx.Graph) -> Any:
    return next(iter(reversed(graph.nodes))).args[0]


def _ancestors(output: Any, *, until: Container[fx.Node]) -> set[fx.Node]:
    """Returns the nodes that an output is computed from, back to the nodes in `until`, which are included."""
    found: set[fx.Node] = set()
    pending: list[fx.Node] = []
    fx.node.map_arg(output, pending.append)
    while pending:
        node = pending.pop()
        if node not in found:
            found.add(node)
            pending += () if node in until else node.all_input_nodes
    return found


def _compile(backbone: nn.Module, graph: fx.Graph, inputs: list[fx.Node], output: Any) -> Callable[..., Any]:
    """Returns the subgraph from some nodes to an output, as a function of ``(backbone, *inputs)``."""
    subgraph, needed = fx.Graph(), _ancestors(output, until=inputs)
    # The name that fx gives to tensors which the network creates itself. fx stores them in the traced network, but the
    # function runs on another.
    created = [node for node in graph.nodes if node in needed and str(node.target).startswith("_tensor_constant")]
    copies = {node: subgraph.placeholder(node.name) for node in (*inputs, *created)}
    for node in graph.nodes:
        if node in needed and node not in copies:
            copies[node] = subgraph.node_copy(node, copies.__getitem__)
    subgraph.output(fx.node.map_arg(output, copies.__getitem__))
    # A graph module would contain copies of the containers with modes of their own; its code runs on the backbone.
    code: Callable[..., Any] = type(fx.GraphModule(backbone, subgraph)).forward
    code.__defaults__ = tuple(get_attribute(backbone, str(node.target)) for node in created)
    return code


def _find_implied(example: list[Any], smaller: tuple[Any, ...], count: int) -> tuple[dict[int, Any], tuple[int, ...]]:
    """Returns `constants` and `batch_sizes` of a `FrozenSplit`.

    Args:
        example: The values that cross the split for `count` images.
        smaller: The values for one image less.
        count: Number of images of the example.
    """
    constants: dict[int, Any] = {}
    batch_sizes: list[int] = []
    for position, (value, other) in enumerate(zip(example, smaller, strict=True)):
        if _equal(value, other):
            constants[position] = value
        elif isinstance(value, int) and (value, other) == (count, count - 1):
            batch_sizes.append(position)
        elif not isinstance(value, Tensor) or (*value.shape[:1], *other.shape[:1]) != (count, count - 1):
            raise UntraceableError("the output of its frozen part belongs to the batch, not to its images")
    return constants, tuple(batch_sizes)


def _verify(split: FrozenSplit, backbone: Backbone, images: Tensor, tolerance: float) -> None:
    split = replace(split, frozen=backbone)  # because folding changes the rounding
    torch.manual_seed(0)
    expected = backbone.extract(images)
    torch.manual_seed(0)
    actual = split.run_trainable(backbone, split.run_frozen(images))
    for one, other in zip(flatten_tensors(expected), flatten_tensors(actual), strict=True):
        close = one.shape == other.shape and float((one - other).abs().max()) <= tolerance * float(one.abs().max())
        if not close:  # also for NaN
            raise UntraceableError("its features change when it is split")


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.shape == other.shape and torch.equal(one, other)
    return type(one) is type(other) and bool(one == other)
