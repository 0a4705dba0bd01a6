"""The export targets ``onnx`` and ``pt2``, which ``run.export()`` looks up in the registry."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from zoo.plugins.specs import ExportRequest
    from zoo_export.exported_files import ExportedFile


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
