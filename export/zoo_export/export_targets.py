"""The export targets ``onnx``, ``pt2`` and ``triton``, as the registry calls them."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.plugins.distributions import require_torch
from zoo.runs.open import open_run

if TYPE_CHECKING:
    from zoo.plugins.specs import ExportRequest
    from zoo_export.targets.options import OnnxOptions, TritonOptions


def export_to_onnx(request: ExportRequest) -> Path:
    """Exports a run to one ONNX file, and returns its path."""
    from zoo_export.targets.onnx import export_onnx

    options: OnnxOptions = request.options
    return export_onnx(open_run(request.run), request.to, **asdict(options), **_common(request)).path


def export_to_pt2(request: ExportRequest) -> Path:
    """Exports a run to an archive of torch.export, and returns its path."""
    require_torch("The export of a run")
    from zoo_export.targets.pt2 import export_pt2

    return export_pt2(open_run(request.run), request.to, **_common(request)).path


def export_to_triton(request: ExportRequest) -> Path:
    """Exports a run to ONNX, adds the file to a model repository, and returns the folder of the new version."""
    from zoo_export.exported_files import FILE, ONNX, check_target
    from zoo_export.targets.onnx import export_onnx
    from zoo_export.targets.triton import check_triton, write_triton

    options: TritonOptions = request.options
    run, values = open_run(request.run), asdict(options)
    for own in ("name", "max_batch", "file"):
        del values[own]
    repository, name = request.to or run.path / "triton", options.name or run.name
    check_triton(repository, name=name, input=options.input, classes=run.classes)
    kept = None if options.file is None else check_target(Path(options.file), ONNX)
    with tempfile.TemporaryDirectory() as folder:
        file = export_onnx(run, Path(folder) / FILE, **values, **_common(request)).path
        version = write_triton(file, repository, name=name, max_batch=options.max_batch)
        if kept is not None:
            shutil.copyfile(file, kept)
    return version


def _common(request: ExportRequest) -> dict[str, Any]:
    names = ("verify", "data", "photos", "observer", "registry")
    return {name: getattr(request, name) for name in names}
