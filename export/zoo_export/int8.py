"""A network in 8 bits: static quantisation, calibrated on training photos."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from zoo.errors import ExportError
from zoo_export.card import OUTPUTS, TENSOR
from zoo_export.quiet import quiet

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

_, _LOGITS, _HEATMAP = OUTPUTS


class _Photos(CalibrationDataReader):  # type: ignore[misc]
    """Hands out photos one by one."""

    def __init__(self, tensors: Iterable[NDArray[np.float32]]) -> None:
        self._tensors: Iterator[NDArray[np.float32]] = iter(tensors)

    def get_next(self) -> dict[str, Any] | None:
        """Returns the feed of the next photo; None after the last."""
        tensor = next(self._tensors, None)
        return None if tensor is None else {TENSOR: tensor}


def to_int8(proto: onnx.ModelProto, tensors: Iterable[NDArray[np.float32]]) -> onnx.ModelProto:
    """Returns a network whose weights, per channel, and activations have 8 bits; the heat map stays as it is.

    Weights are signed and activations unsigned, in the form QDQ: of the forms that ONNX Runtime offers the only one
    that was measured to be faster than float32 on a CPU with VNNI.

    Args:
        proto: With the input ``tensor``.
        tensors: Normalised training photos, float32 ``(1, 3, h, w)`` each: the ranges of the activations are theirs.

    Raises:
        ExportError: The network cannot be quantised.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "float.onnx"), Path(folder, "int8.onnx")
        onnx.save(proto, source)
        try:
            with quiet():
                quantize_static(
                    source,
                    target,
                    _Photos(tensors),
                    quant_format=QuantFormat.QDQ,
                    per_channel=True,
                    activation_type=QuantType.QUInt8,
                    weight_type=QuantType.QInt8,
                    nodes_to_exclude=sorted(_only_for(proto, _HEATMAP, _LOGITS)),
                )
        except Exception as error:  # onnxruntime raises whatever its steps do
            reason = str(error).strip().partition("\n")[0][:300].rstrip(". ")
            raise ExportError(
                f"The network cannot be quantised: {type(error).__name__}: {reason}.", hint="Export it in fp32."
            ) from error
        quantised = onnx.load(target)
    quantised.ClearField("metadata_props")
    return quantised


def _only_for(proto: onnx.ModelProto, output: str, other: str) -> set[str]:
    """Returns the names of the nodes that one output needs and another does not."""
    return _needed(proto, output) - _needed(proto, other)


def _needed(proto: onnx.ModelProto, output: str) -> set[str]:
    maker = {name: node for node in proto.graph.node for name in node.output}
    needed: set[str] = set()
    open_ends = [output]
    while open_ends:
        node = maker.get(open_ends.pop())
        if node is not None and node.name not in needed:
            needed.add(node.name)
            open_ends += node.input
    return needed
