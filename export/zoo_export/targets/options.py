"""The options of the export targets, and their defaults. Imports neither torch nor onnx."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zoo.plugins.options import option

MAX_DROP = 0.5
DEFAULT_OPSET = 18  # supported by every ONNX Runtime since 1.14, of 2023
MAX_BATCH = 32


@dataclass(frozen=True, slots=True)
class OnnxOptions:
    """The options of the target ``onnx``: those of `zoo_export.targets.onnx.export_onnx`.

    Attributes:
        input: What the file takes.
        precision: What the network computes in.
        opset: Version of the ONNX operators.
        max_drop: Percentage points of accuracy that a reduced precision may lose.
        device: Where to compare.
    """

    input: Literal["pixels", "tensor"] = option(
        "pixels", help="uint8 RGB of any size, or the normalised input of the network."
    )
    precision: Literal["fp32", "fp16", "int8"] = option(
        "fp32", help="fp16 and int8 are written only if they are nearly as accurate, and faster on this machine."
    )
    opset: int = option(DEFAULT_OPSET, help="Version of the ONNX operators.", minimum=18, maximum=25)
    max_drop: float = option(
        MAX_DROP, help="Percentage points of accuracy that fp16 or int8 may lose.", minimum=0, maximum=100
    )
    device: str = option("auto", help="Where to compare: auto (every device that works), cpu or cuda.")


@dataclass(frozen=True, slots=True)
class TritonOptions(OnnxOptions):
    """The options of the target ``triton``: those of the ONNX file, and those of the repository.

    Attributes:
        name: The name of the model for clients; None for that of the run.
        max_batch: How many photos Triton may compute at once. Only photos of the same size share a batch.
        file: An ONNX file to write as well.
    """

    name: str | None = option(None, help="Name of the model in Triton; none: the run's name.")
    max_batch: int = option(MAX_BATCH, help="Photos of the same size that Triton may compute at once.", minimum=1)
    file: str | None = option(None, help="An ONNX file to write besides.")
