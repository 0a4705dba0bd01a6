"""Graphs of reduced precision: float16, and static quantisation to 8 bits."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from zoo_export.graph.bias_correction import round_weights
from zoo_export.graph.converters import conversion
from zoo_export.model_card import OUTPUTS, TENSOR

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

_, _LOGITS, _HEATMAP = OUTPUTS
_HINT = "Export it in fp32."
_LARGEST_WEIGHT = 64  # of 7 bits, as ONNX Runtime's quantiser uses them with `reduce_range`


def to_fp16(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Returns a graph that computes in float16 wherever ONNX Runtime's converter can; inputs and outputs stay float32.

    Raises:
        ExportError: The graph cannot be converted.
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16

    with conversion("The network cannot be converted to fp16", hint=_HINT):
        converted: onnx.ModelProto = convert_float_to_float16(proto, keep_io_types=True)
    return converted


def to_int8(proto: onnx.ModelProto, tensors: Iterable[NDArray[np.float32]]) -> onnx.ModelProto:
    """Returns a graph with 8-bit weights, scaled per channel, and 8-bit activations, for all but the head.

    The head stays in float32, from the pooling on, and so does the heat map: that costs no time, and one scale for
    averages and maxima of several stages would leave little of the smaller ones.

    Weights are signed and activations unsigned, in the QDQ format: of the formats that ONNX Runtime offers, the only
    one measured to be faster than float32 on a CPU with VNNI. Weights use 7 of their 8 bits. On a processor without
    VNNI the sum of two products would overflow 16 bits otherwise, and a file runs on other processors than the one it
    was made on: https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html

    Biases are corrected for the rounding of the weights (`round_weights`).

    Args:
        proto: A graph with the input ``tensor``.
        tensors: Normalised training photos, float32 ``(1, 3, h, w)`` each, that calibrate the ranges of activations.

    Raises:
        ExportError: The graph cannot be quantised.
    """
    photos = list(tensors)
    exclude = sorted((_ancestors(proto, _HEATMAP) - _ancestors(proto, _LOGITS)) | _head(proto))
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "float.onnx"), Path(folder, "int8.onnx")
        with conversion("The network cannot be quantised", hint=_HINT):
            onnx.save(round_weights(proto, photos, largest=_LARGEST_WEIGHT, exclude=exclude), source)
            quantize_static(
                source,
                target,
                _CalibrationReader(photos),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                reduce_range=True,
                nodes_to_exclude=exclude,
            )
        quantised = onnx.load(target)
    quantised.ClearField("metadata_props")
    return quantised


class _CalibrationReader(CalibrationDataReader):  # type: ignore[misc]
    """Feeds photos to the quantiser, one at a time."""

    def __init__(self, tensors: Iterable[NDArray[np.float32]]) -> None:
        self._tensors: Iterator[NDArray[np.float32]] = iter(tensors)

    def get_next(self) -> dict[str, Any] | None:
        """Returns the feed of the next photo, or None after the last."""
        tensor = next(self._tensors, None)
        return None if tensor is None else {TENSOR: tensor}


def _head(proto: onnx.ModelProto) -> set[str]:
    """Returns the names of the nodes that no convolution, and no product of maps or tokens, comes after."""
    inferred = onnx.shape_inference.infer_shapes(proto).graph
    ranks = {
        value.name: len(value.type.tensor_type.shape.dim)
        for value in (*inferred.value_info, *inferred.input, *inferred.output)
        if value.type.tensor_type.HasField("shape")
    }
    before: set[str] = set()
    for node in proto.graph.node:
        on_vectors = ranks.get(node.input[0]) == 2 if node.input else False
        if node.op_type == "Conv" or (node.op_type in ("MatMul", "Gemm") and not on_vectors):
            before |= {node.name, *(name for each in node.input for name in _ancestors(proto, each))}
    return {node.name for node in proto.graph.node} - before


def _ancestors(proto: onnx.ModelProto, output: str) -> set[str]:
    """Returns the names of the nodes that an output depends on."""
    producer = {name: node for node in proto.graph.node for name in node.output}
    names: set[str] = set()
    pending = [output]
    while pending:
        node = producer.get(pending.pop())
        if node is not None and node.name not in names:
            names.add(node.name)
            pending += node.input
    return names
