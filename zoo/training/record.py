"""What a run record says besides the configuration: versions, hardware, splits."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.data.sources.fingerprint import fingerprint_images
from zoo.plugins.calls import resolve_callable
from zoo.plugins.entry_points import DISTRIBUTION
from zoo.preprocess import preprocess_to_dict
from zoo.training.distributed.process_group import SINGLE_PROCESS

if TYPE_CHECKING:
    from collections.abc import Callable

    from zoo.config import FinetuneConfig
    from zoo.data.check.report import Report
    from zoo.metrics.classification import Evaluation
    from zoo.models.build import Model
    from zoo.models.offers import Offers
    from zoo.models.precision import Precision
    from zoo.plugins.specs import ImageSet
    from zoo.training.distributed.process_group import ProcessGroup

_MOST = 200  # pairs of a finding that the record lists; 'zoo data check' has all
_PACKAGES = (DISTRIBUTION, "torch", "torchvision", "timm", "numpy", "pillow", "safetensors", "scipy")


def start_record(
    config: FinetuneConfig,
    *,
    offers: Offers,
    images: ImageSet,
    model: Model,
    precision: Precision,
    processes: ProcessGroup = SINGLE_PROCESS,
    report: Report | None = None,
) -> dict[str, Any]:
    """Returns the record of a run that is about to begin; ``status`` and ``results`` are filled in later.

    Args:
        config: What was asked for.
        offers: Of the plugins.
        images: All parts.
        model: As it was built.
        precision: What is computed in, and where.
        processes: Those that train together.
        report: Of the dataset doctor, who has read the photos already; else they are read here.
    """
    plugins = {offer.plugin.key: offer.plugin.version for offer in (offers.backbone, offers.head)}
    return {
        "status": "training",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "backbone": offers.backbone.name,
        "head": offers.head.name,
        "config": config.to_dict(),
        "classes": list(images.classes),
        "preprocess": preprocess_to_dict(model.preprocess),
        "weights": model.weights,
        "data": describe_data(images, report),
        "packages": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "plugins": plugins,
        "sources": code_digests(*map(resolve_callable, (offers.backbone.spec.build, offers.head.spec.build))),
        "hardware": describe_hardware(precision, processes),
        "results": {},
    }


def describe_data(images: ImageSet, report: Report | None = None) -> dict[str, Any]:
    """Returns the dataset's name, its fingerprint, which photo is in which part, and what the doctor found."""
    parts = {"train": images.train, "val": images.val, "test": images.test}
    known = {} if report is None else {photo.name: photo.digest for photo in report.photos}
    whole, each = fingerprint_images(images, known=known)
    return {
        "name": images.name,
        "note": images.note,
        "fingerprint": whole,
        "counts": {part: len(samples) for part, samples in parts.items()},
        "skipped": list(images.skipped),
        **({} if report is None else {"check": describe_check(report)}),
        "split": {part: [sample.name for sample in samples] for part, samples in parts.items()},
        "digests": {part: "".join(digests) for part, digests in each.items()},
    }


def describe_hardware(precision: Precision, processes: ProcessGroup = SINGLE_PROCESS) -> dict[str, Any]:
    """Returns what the run is computed on, and in which precision; where there are several processes, this one."""
    import torch

    device = precision.device
    gpu = {"gpu": torch.cuda.get_device_name(device)} if device.type == "cuda" else {}
    return {
        "platform": platform.platform(),
        "python": platform.python_version(),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "processes": processes.count,
        "device": str(device),
        **gpu,
        "precision": precision.name,
        "precision_reason": precision.reason,
        "layout": "channels-last",  # never slower than channels-first where it counts (docs/performance.md)
        "part_size": None,  # images at a time, if memory ran out for a whole batch
    }


def figures(evaluation: Evaluation) -> dict[str, Any]:
    """Returns the figures of a part that ``results`` keeps; all of them with ``zoo evaluate``."""
    return {
        "accuracy": evaluation.accuracy,
        "interval": list(evaluation.interval),
        "count": evaluation.count,
        "loss": evaluation.loss,
        "macro_f1": evaluation.macro_f1,
        "calibration_error": evaluation.calibration_error,
    }


def code_digests(*functions: Callable[..., Any]) -> dict[str, str]:
    """Returns a digest of the sources of the zoo, and of each package or module that one of `functions` is from.

    What has no source file, such as a function typed into a notebook, is left out.

    Returns:
        12 hex digits, by the name of the package.
    """
    names = sorted({_package_of(function) for function in functions} - {"zoo", "__main__"})
    digests = {name: _digest(name) for name in ("zoo", *names)}
    return {name: digest for name, digest in digests.items() if digest}


def _package_of(function: Callable[..., Any]) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    module = getattr(function, "__module__", None) or type(function).__module__
    return str(module).partition(".")[0]


def _digest(name: str) -> str:
    file = getattr(sys.modules.get(name), "__file__", None)
    if file is None or not Path(file).is_file():
        return ""
    path = Path(file)
    files = sorted(path.parent.rglob("*.py")) if path.name == "__init__.py" else [path]
    found = hashlib.sha256()
    for each in files:
        found.update(f"{each.relative_to(path.parent).as_posix()}\0".encode())
        found.update(hashlib.sha256(each.read_bytes()).digest())
    return found.hexdigest()[:12]


def describe_check(report: Report) -> dict[str, Any]:
    """Returns what the run record keeps of a report: the findings, with the first of their photos."""
    return {"near": report.near, "findings": [finding.to_dict(most=_MOST) for finding in report.findings]}
