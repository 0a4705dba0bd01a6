"""What a run record says besides the configuration: versions, hardware, splits."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from zoo.data.fingerprint import fingerprints
from zoo.engine.processes import ALONE
from zoo.finetuning.checkup import describe_check
from zoo.finetuning.sources import source_digests
from zoo.plugins import DISTRIBUTION
from zoo.run import preprocess_to_dict

if TYPE_CHECKING:
    from zoo.config import FinetuneConfig
    from zoo.data.check.report import Report
    from zoo.engine.precision import Precision
    from zoo.engine.processes import Processes
    from zoo.finetuning.assembly import Model, Offers
    from zoo.metrics import Evaluation
    from zoo.specs import ImageSet

_PACKAGES = (DISTRIBUTION, "torch", "torchvision", "timm", "numpy", "pillow", "safetensors", "scipy")


def start_record(
    config: FinetuneConfig,
    *,
    offers: Offers,
    images: ImageSet,
    model: Model,
    precision: Precision,
    processes: Processes = ALONE,
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
        "sources": source_digests(offers.backbone.spec.build, offers.head.spec.build),
        "hardware": describe_hardware(precision, processes),
        "results": {},
    }


def describe_data(images: ImageSet, report: Report | None = None) -> dict[str, Any]:
    """Returns the dataset's name, its fingerprint, which photo is in which part, and what the doctor found."""
    parts = {"train": images.train, "val": images.val, "test": images.test}
    known = {} if report is None else {photo.name: photo.digest for photo in report.photos}
    whole, each = fingerprints(images, known=known)
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


def describe_hardware(precision: Precision, processes: Processes = ALONE) -> dict[str, Any]:
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
