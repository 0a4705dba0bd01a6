"""Rounds the weights of a network to the grid of their integers, and corrects the biases for what that shifts.

Rounding errors of weights have no direction, but activations do: after a ReLU all are positive. So each channel of a
layer moves by the sum of its rounding errors times the mean activation, in the same direction for every photo, and the
layers behind it add up such shifts. The nine weights of a depthwise channel average out little of it, and a classifier
that has learnt small differences, between grey photos for example, can then name one class for all photos. The shift
follows from the mean activations, and a bias takes it back: Nagel et al. 2019, section 4.2,
https://arxiv.org/abs/1906.04721. There the means come from batch normalisations, here from photos.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import onnx
from onnx import numpy_helper
from onnxruntime import InferenceSession, SessionOptions

from zoo_export.model_card import TENSOR

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

_ERRORS_ONLY = 3  # ONNX Runtime's level of log messages


class _Layer(NamedTuple):
    """A layer with constant weights: a convolution, or a product of tokens with a matrix."""

    node: onnx.NodeProto
    channels: int  # the axis of the output channels in the weights
    biased: onnx.NodeProto | None  # the node with the bias: the convolution itself, or the sum behind the product
    bias: int  # which input of that node the bias is


def round_weights(
    proto: onnx.ModelProto, tensors: Iterable[NDArray[np.float32]], *, largest: int, exclude: Collection[str]
) -> onnx.ModelProto:
    """Returns a graph in float32 with rounded weights, symmetric around 0 in each output channel, and corrected biases.

    Args:
        proto: A graph with the input ``tensor``.
        tensors: Normalised training photos, float32 ``(1, 3, h, w)`` each, for the mean activations.
        largest: The integer that the largest weight of a channel becomes.
        exclude: Names of nodes that keep their weights.
    """
    rounded = _copy(proto)
    stored = {each.name: each for each in rounded.graph.initializer}
    constants = {name: numpy_helper.to_array(each) for name, each in stored.items()}
    layers = _find_layers(rounded, constants.keys(), exclude)
    means = _average_inputs(rounded, layers, tensors)
    for layer in layers:
        name = layer.node.input[1]
        weights = _round(constants[name], largest, layer.channels)
        stored[name].CopyFrom(numpy_helper.from_array(weights, name))
        if layer.biased is not None:
            shift = _find_shift(layer.node, weights - constants[name], means[layer.node.input[0]])
            _subtract_from_bias(rounded, layer.biased, layer.bias, constants, shift)
    _remove_unused(rounded)
    return rounded


def _copy(proto: onnx.ModelProto) -> onnx.ModelProto:
    copied = onnx.ModelProto()
    copied.CopyFrom(proto)
    return copied


def _find_layers(proto: onnx.ModelProto, constants: Collection[str], exclude: Collection[str]) -> list[_Layer]:
    users: dict[str, list[onnx.NodeProto]] = {}
    for node in proto.graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    layers = []
    for node in proto.graph.node:
        if node.name in exclude or len(node.input) < 2 or node.input[1] not in constants:
            continue
        if node.op_type == "Conv":
            layers.append(_Layer(node, 0, node, 2))
        elif node.op_type == "MatMul":
            after = users.get(node.output[0], [])
            sums = [each for each in after if each.op_type == "Add" and len(after) == 1]
            bias = [(each, i) for each in sums for i, name in enumerate(each.input) if name in constants]
            layers.append(_Layer(node, 1, *(bias[0] if bias else (None, 0))))
    return layers


def _average_inputs(
    proto: onnx.ModelProto, layers: Sequence[_Layer], tensors: Iterable[NDArray[np.float32]]
) -> dict[str, NDArray[np.float64]]:
    """Returns the mean of each input channel of each layer, over photos and positions."""
    last = {layer.node.input[0]: layer.node.op_type == "MatMul" for layer in layers}
    inner = [name for name in last if name != TENSOR]
    observed = _copy(proto)
    outputs = {each.name for each in observed.graph.output}
    observed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in inner if name not in outputs)
    options = SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    session = InferenceSession(observed.SerializeToString(), options, providers=["CPUExecutionProvider"])
    sums: dict[str, Any] = dict.fromkeys(last, 0.0)
    count = 0
    for tensor in tensors:
        found = session.run(inner, {TENSOR: tensor}) if inner else []  # an empty list asks for all outputs
        values = {TENSOR: tensor, **dict(zip(inner, found, strict=True))}
        for name, tokens in last.items():
            axis = values[name].ndim - 1 if tokens else 1
            others = tuple(i for i in range(values[name].ndim) if i != axis)
            sums[name] = sums[name] + values[name].mean(axis=others, dtype=np.float64)
        count += 1
    return {name: total / max(count, 1) for name, total in sums.items()}


def _round(weights: NDArray[np.float32], largest: int, channels: int) -> NDArray[np.float32]:
    others = tuple(i for i in range(weights.ndim) if i != channels)
    scale = np.abs(weights).max(axis=others, keepdims=True) / largest
    scale[scale == 0] = 1.0
    rounded: NDArray[np.float32] = (np.rint(weights / scale) * scale).astype(np.float32)
    return rounded


def _find_shift(node: onnx.NodeProto, errors: NDArray[np.float32], means: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns by how much errors of the weights move each output channel on average, edges of photos aside."""
    if node.op_type == "MatMul":
        moved: NDArray[np.float64] = means @ errors
        return moved
    groups = next((each.i for each in node.attribute if each.name == "group"), 1)
    per_group = errors.reshape(groups, errors.shape[0] // groups, errors.shape[1], -1).sum(axis=3)
    shift: NDArray[np.float64] = np.einsum("goi,gi->go", per_group, means.reshape(groups, -1)).reshape(-1)
    return shift


def _subtract_from_bias(
    proto: onnx.ModelProto,
    node: onnx.NodeProto,
    index: int,
    constants: Mapping[str, NDArray[np.float32]],
    shift: NDArray[np.float64],
) -> None:
    """Gives a node a bias of its own: converters let layers share one, of zeros for example."""
    before = constants[node.input[index]] if index < len(node.input) and node.input[index] else np.float32(0)
    name = f"{node.name}_corrected_bias"
    proto.graph.initializer.append(numpy_helper.from_array((before - shift).astype(np.float32), name))
    del node.input[index : index + 1]
    node.input.insert(index, name)


def _remove_unused(proto: onnx.ModelProto) -> None:
    used = {name for node in proto.graph.node for name in node.input} | {each.name for each in proto.graph.output}
    kept = [each for each in proto.graph.initializer if each.name in used]
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(kept)
