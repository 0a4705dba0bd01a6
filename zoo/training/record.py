"""Collects what the record of a run contains besides the configuration: data, versions, hardware, results."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from zoo.data.sources.fingerprint import fingerprint_images
from zoo.metrics.multi_label import FIGURES, MultiLabelEvaluation
from zoo.plugins.calls import resolve_callable
from zoo.plugins.code_digests import code_digests
from zoo.plugins.entry_points import DISTRIBUTION
from zoo.plugins.kinds import callables
from zoo.runs.record import DataRecord, PhotoRecord, RunRecord
from zoo.training.distributed.process_group import SINGLE_PROCESS
from zoo.training.parts import offers_by_kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zoo.config import FinetuneConfig
    from zoo.data.check.report import DataReport
    from zoo.metrics.classification import Evaluation
    from zoo.models.build import Model
    from zoo.models.offers import Offers
    from zoo.models.precision import Precision
    from zoo.plugins.registry import Offer
    from zoo.plugins.specs import DatasetSpec, ImageSet
    from zoo.training.distributed.process_group import ProcessGroup
    from zoo.training.parts import Parts

_MAX_PAIRS = 200  # of a finding; 'zoo data check' lists all
_PACKAGES = (DISTRIBUTION, "torch", "torchvision", "timm", "numpy", "pillow", "safetensors", "scipy")


def start_record(
    config: FinetuneConfig,
    *,
    offers: Offers,
    parts: Parts,
    images: ImageSet,
    model: Model,
    precision: Precision,
    processes: ProcessGroup = SINGLE_PROCESS,
    report: DataReport | None = None,
    dataset: Offer[DatasetSpec] | None = None,
) -> tuple[RunRecord, PhotoRecord]:
    """Returns the record of a run that is about to start, and the record of its photos.

    Args:
        config: The configuration.
        offers: The backbone, the head and the loss that it names.
        parts: The other parts that it names.
        images: All splits.
        model: The model, before training.
        precision: The precision of forward passes, and the device.
        processes: The processes that train together.
        report: The report of the data check, which contains the digests of the photos; without it, they are computed.
        dataset: The dataset, if a plugin offers it.
    """
    data, photos = describe_data(images, report)
    named = offers_by_kind(offers, parts)
    others = [offer for each in named.values() for offer in each]
    undecided = (*parts.recipes, *(tracker.offer for tracker in parts.trackers))
    record = RunRecord(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        backbone=offers.backbone.name,
        head=offers.head.name,
        parts={kind: [offer.name for offer in each] for kind, each in named.items()},
        activation=model.classifier.head.criterion.activation,
        multi_label=images.multi_label,
        config=config.to_dict(),
        classes=images.classes,
        preprocess=model.preprocess,
        weights=model.weights,
        data=data,
        packages={name: importlib.metadata.version(name) for name in _PACKAGES},
        plugins={
            offer.plugin.key: offer.plugin.version
            for offer in (offers.backbone, offers.head, dataset, *others)
            if offer is not None
        },
        other_plugins={offer.plugin.key: offer.plugin.version for offer in undecided},
        sources=code_digests(*map(resolve_callable, _find_callables(offers, parts))),
        hardware=describe_hardware(precision, processes),
    )
    return record, photos


def _find_callables(offers: Offers, parts: Parts) -> Iterator[Any]:
    """Yields the callables of plugins that decide the result of a run."""
    yield from (offers.backbone.spec.build, offers.head.spec.build)
    for choice in (offers.loss, parts.optimizer, parts.schedule, *parts.augmentations, parts.monitored):
        if choice is not None:
            yield from callables(choice.spec).values()


def describe_data(images: ImageSet, report: DataReport | None = None) -> tuple[DataRecord, PhotoRecord]:
    """Returns the records of a dataset and of its photos.

    Args:
        images: All splits.
        report: The report of the data check, which contains the digests of the photos; without it, they are computed.
    """
    splits = {"train": images.train, "val": images.val, "test": images.test}
    known = {} if report is None else {photo.name: photo.digest for photo in report.photos}
    fingerprint, hashes = fingerprint_images(images, known=known)
    data = DataRecord(
        name=images.name,
        note=images.note,
        fingerprint=fingerprint,
        counts={split: len(samples) for split, samples in splits.items()},
        skipped=images.skipped,
        corrected=images.corrected,
        check={} if report is None else describe_check(report),
    )
    photos = PhotoRecord(
        names={split: tuple(sample.name for sample in samples) for split, samples in splits.items()},
        hashes={split: tuple(each) for split, each in hashes.items()},
    )
    return data, photos


def describe_hardware(precision: Precision, processes: ProcessGroup = SINGLE_PROCESS) -> dict[str, Any]:
    """Returns a description of the hardware, the precision and the processes; of the machine of this process."""
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
        "layout": "channels-last",  # never notably slower than channels-first (docs/performance.md)
        "micro_batch_size": None,  # a number once memory ran out for a whole batch
    }


def summarise(evaluation: Evaluation | MultiLabelEvaluation) -> dict[str, Any]:
    """Returns the metrics of a split that ``results`` lists; ``zoo evaluate`` computes all of them."""
    if isinstance(evaluation, MultiLabelEvaluation):
        return {
            **{name: getattr(evaluation, name) for name in FIGURES},
            "intervals": {name: list(interval) for name, interval in evaluation.intervals.items()},
            "count": evaluation.count,
            "loss": evaluation.loss,
            **_summarise_reliability(evaluation),
        }
    return {
        "accuracy": evaluation.accuracy,
        "interval": list(evaluation.interval),
        "count": evaluation.count,
        "loss": evaluation.loss,
        "balanced_accuracy": evaluation.balanced_accuracy,
        "macro_f1": evaluation.macro_f1,
        "calibration_error": evaluation.calibration_error,
        **({} if evaluation.mean_cost is None else {"mean_cost": evaluation.mean_cost}),
        **({"metrics": evaluation.metrics_to_dict()} if evaluation.metrics else {}),
        **_summarise_reliability(evaluation),
    }


def _summarise_reliability(evaluation: Evaluation | MultiLabelEvaluation) -> dict[str, Any]:
    return {} if evaluation.reliability is None else {"reliability": evaluation.reliability.to_dict()}


def describe_check(report: DataReport) -> dict[str, Any]:
    """Returns what the record contains of a report: the findings, each with the first of its photos."""
    return {"near": report.near, "findings": [finding.to_dict(most=_MAX_PAIRS) for finding in report.findings]}
