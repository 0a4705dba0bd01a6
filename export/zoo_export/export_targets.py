"""The export targets ``onnx`` and ``pt2``, which ``run.export()`` looks up in the registry."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from zoo.plugins.options import option

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from zoo.plugins.specs import ExportRequest
    from zoo_export.exported_files import ExportedFile

MAX_DROP = 0.5
PHOTOS = 64  # compared by default: takes seconds for a small network
DEFAULT_OPSET = 18  # supported by every ONNX Runtime since 1.14, of 2023


@dataclass(frozen=True, slots=True)
class Pt2Options:
    """The options of the target ``pt2``.

    Attributes:
        verify: Whether to compare the file with the run.
        data: Photos to compare on.
        photos: How many of them.
    """

    verify: bool = option(True, help="Compare the file with the run.")
    data: str | None = option(None, help="Photos to compare on: a dataset, a folder or a CSV file.")
    photos: int = option(PHOTOS, help="Number of photos to compare.", minimum=1)


@dataclass(frozen=True, slots=True)
class OnnxOptions(Pt2Options):
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


def export_to_onnx(request: ExportRequest) -> Path:
    """Exports a run to one ONNX file, and returns its path."""
    from zoo_export.targets.onnx import export_onnx

    return _export(export_onnx, request)


def export_to_pt2(request: ExportRequest) -> Path:
    """Exports a run to an archive of torch.export, and returns its path."""
    from zoo_export.targets.pt2 import export_pt2

    return _export(export_pt2, request)


def _export(export: Callable[..., ExportedFile], request: ExportRequest) -> Path:
    from zoo.runs.open import open_run

    run, options = open_run(request.run), asdict(request.options)
    return export(run, request.to, observer=request.observer, registry=request.registry, **options).path
