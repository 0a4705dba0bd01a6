"""A network in float16, whose input and outputs stay float32."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo.errors import ExportError
from zoo_export.quiet import quiet

if TYPE_CHECKING:
    import onnx


def to_fp16(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Returns a network that computes in float16 where ONNX Runtime's converter knows how.

    Raises:
        ExportError: The network cannot be converted.
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16

    try:
        with quiet():
            converted: onnx.ModelProto = convert_float_to_float16(proto, keep_io_types=True)
    except Exception as error:  # the converter raises whatever its steps do
        reason = str(error).strip().partition("\n")[0][:300].rstrip(". ")
        raise ExportError(
            f"The network cannot be converted to fp16: {type(error).__name__}: {reason}.", hint="Export it in fp32."
        ) from error
    return converted
