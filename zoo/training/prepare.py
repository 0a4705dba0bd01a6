"""Finds photos, builds the network, settles how to compute, makes the run folder: all that comes before training."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import torch

from zoo.config import SOLVERS, FinetuneConfig
from zoo.data.check.examine import check_quickly
from zoo.data.loading.cache import check_cache
from zoo.data.sources.load import load_splits
from zoo.errors import DataError
from zoo.events import Note, Work
from zoo.models.build import assemble, preprocess_for
from zoo.models.classifier import freeze
from zoo.models.precision import choose_precision
from zoo.plugins.registry import card_of
from zoo.runs.record import RunRecord, write_photos, write_record
from zoo.runs.run import Run, create_run
from zoo.training.autotune.batch_size import autotune_batch_size
from zoo.training.autotune.precision import autotune_precision, recorded_precision
from zoo.training.distributed.device import device_for
from zoo.training.job import Job
from zoo.training.optimizer import check_optimizer
from zoo.training.random_state import seed_all
from zoo.training.record import start_record
from zoo.training.resume import resume_record

if TYPE_CHECKING:
    from pathlib import Path

    from zoo.config import FinetuneConfig
    from zoo.data.check.report import DataReport
    from zoo.data.sources.resolve import DataSource
    from zoo.events import Observer
    from zoo.models.build import Model
    from zoo.models.classifier import Classifier
    from zoo.models.offers import Offers
    from zoo.models.precision import Precision
    from zoo.plugins.specs import ImageSet
    from zoo.preprocess import Preprocess
    from zoo.training.distributed.process_group import ProcessGroup
    from zoo.training.resume import ResumePoint


def prepare(
    config: FinetuneConfig,
    offers: Offers,
    weights: Path | Run | None,
    source: DataSource,
    *,
    runs: Path,
    observer: Observer,
    processes: ProcessGroup,
    started: float,
    resume_point: ResumePoint | None = None,
) -> Job:
    """Returns a job that is ready to train; its folder holds the record.

    Args:
        config: The configuration.
        offers: The backbone and the head that it names.
        weights: The file or run that the backbone's weights are read from, or None.
        source: The data to train on.
        runs: Where the run folder is created.
        observer: Receives progress.
        processes: The processes that train together.
        started: Start time by `time.perf_counter`.
        resume_point: Of a run that is resumed.

    Raises:
        ZooError: Anything that the user can put right.
    """
    device = _check_device(config, processes)
    with processes.local_first():
        images = load_splits(source, config, observer)
    report = _check_data(images, data=config.data, observer=observer) if processes.is_main else None
    model = assemble(
        config,
        offers,
        classes=len(images.classes),
        preprocess=_choose_preprocess(config, offers, weights, resume_point),
        weights=weights.weights_path if isinstance(weights, Run) else weights,
        load=processes.is_main,
    )
    if weights is not None:
        observer(Note(text=f"Weights: {model.weights}."))
    _place(model.classifier, config, device, processes)
    decided: dict[str, Any] = {}
    if resume_point is not None:
        precision = recorded_precision(resume_point.run.record.hardware, device)
    else:
        precision, config, decided = _autotune(config, offers, model, len(images.train), device, observer, processes)
    record, photos = start_record(
        config, offers=offers, images=images, model=model, precision=precision, processes=processes, report=report
    )
    _check_same_photos(record, processes)
    record = record.with_hardware(**decided)
    seed_all(config.seed + processes.rank)  # each process draws its own dropout masks
    if resume_point is not None:
        folder = resume_point.run.path
        record, spent = resume_record(resume_point, record, photos, observer=observer, processes=processes)
        started -= spent
    else:
        stem = f"{offers.backbone.spec.name}-{offers.head.spec.name}-{images.name}"
        folder = processes.broadcast(lambda: create_run(runs, stem=stem))
    if processes.is_main:
        write_photos(folder, photos)
        write_record(folder, record)
    return Job(
        folder=folder,
        config=config,
        images=images,
        classifier=model.classifier,
        preprocess=model.preprocess,
        precision=precision,
        record=record,
        observer=observer,
        processes=processes,
        started=started,
    )


def _choose_preprocess(
    config: FinetuneConfig, offers: Offers, weights: Path | Run | None, resume_point: ResumePoint | None
) -> Preprocess:
    if resume_point is not None:  # unchanged: the file exported from the run uses it too
        return resume_point.run.preprocess
    pretraining = weights.preprocess if isinstance(weights, Run) else card_of(offers.backbone).preprocess
    return preprocess_for(config, pretraining)


def _check_device(config: FinetuneConfig, processes: ProcessGroup) -> torch.device:
    """Returns the device of this process. Checks that it supports the configuration, before any slow work."""
    if config.freeze != "all" or config.optimizer not in SOLVERS:
        check_optimizer(config.optimizer)
    device = device_for(config.device, processes)
    if device.type == "cuda":
        torch.cuda.set_device(device)  # the default of everything that names no device
    choose_precision(config.precision, device)
    check_cache(config.cache, device)
    return device


def _place(classifier: Classifier, config: FinetuneConfig, device: torch.device, processes: ProcessGroup) -> None:
    """Puts a classifier on the device, its frozen stages frozen; its weights are those of the first process."""
    processes.sync_module(classifier)
    freeze(classifier, config.frozen_stages(len(classifier.backbone.stages())))
    classifier.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def _autotune(
    config: FinetuneConfig,
    offers: Offers,
    model: Model,
    images: int,
    device: torch.device,
    observer: Observer,
    processes: ProcessGroup,
) -> tuple[Precision, FinetuneConfig, dict[str, Any]]:
    """Returns the precision, the configuration with a batch size, and the reason for it, to be recorded."""
    name = offers.backbone.name
    settled = processes.broadcast(
        lambda: autotune_precision(config, backbone=name, model=model, device=device, observer=observer)
    )
    precision = dataclasses.replace(settled, device=device)
    config, why = processes.broadcast(
        lambda: autotune_batch_size(
            config, images=images, model=model, precision=precision, observer=observer, ranks=processes.count
        )
    )
    return precision, config, {"batch_size_reason": why}


def _check_same_photos(record: RunRecord, processes: ProcessGroup) -> None:
    if len(set(processes.all_gather(record.data.fingerprint))) > 1:
        raise DataError(
            "The processes do not find the same photos.",
            hint="Give them the same data, at the same place, on each machine.",
        )


def _check_data(images: ImageSet, *, data: str, observer: Observer) -> DataReport:
    """Checks the photos as `zoo.data.check.examine.check_quickly` does, and reports problems and warnings.

    Args:
        images: The splits, as they will be trained on.
        data: As the user wrote it.
        observer: Receives the findings.
    """
    report = check_quickly(images, progress=lambda what, done, total: observer(Work(what=what, done=done, total=total)))
    # Unreadable photos are reported by name as they are decoded.
    findings = [finding for finding in report.findings if finding.level != "note" and finding.kind != "unreadable"]
    for finding in findings:
        observer(Note(text=finding.text, warning=True))
    if any(finding.pairs for finding in findings):
        text = f"'zoo data check {data} --html page.html' shows them; with --fix it lists what to leave out."
        observer(Note(text=text))
    return report
