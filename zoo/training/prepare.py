"""Finds photos, builds the network, settles how to compute, makes the run folder: all that comes before training."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import torch

from zoo.config import SOLVERS, FinetuneConfig
from zoo.data.check.examine import check_fast
from zoo.data.loading.cache import check_cache
from zoo.data.sources.load import load_splits
from zoo.errors import DataError
from zoo.events import Note, Work
from zoo.models.build import assemble, preprocess_for
from zoo.models.classifier import freeze
from zoo.models.precision import choose_precision
from zoo.plugins.registry import card_of
from zoo.runs.run import Run, create_run, write_record
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
    from zoo.data.check.report import Report
    from zoo.data.sources.resolve import DataSource
    from zoo.events import Observer
    from zoo.models.build import Model
    from zoo.models.classifier import Classifier
    from zoo.models.offers import Offers
    from zoo.models.precision import Precision
    from zoo.plugins.specs import ImageSet
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
    """Returns a run that is ready to be trained; its folder holds its record.

    Args:
        config: What was asked for.
        offers: The backbone and the head that it names.
        weights: What the network starts from, if that is a file or a run.
        source: The data to train on.
        runs: Where the folder is made.
        observer: Told of progress.
        processes: Those that train together.
        started: When, by `time.perf_counter`.
        resume_point: Of a run that goes on.

    Raises:
        ZooError: Anything that the user can put right.
    """
    device = _device(config, processes)
    with processes.local_first():
        images = load_splits(source, config, observer)
    report = check_up(images, data=config.data, observer=observer) if processes.is_main else None
    if resume_point is not None:  # taken as it is: the file exported from the run goes by it too
        preprocess = resume_point.run.preprocess
    else:
        pretraining = weights.preprocess if isinstance(weights, Run) else card_of(offers.backbone).preprocess
        preprocess = preprocess_for(config, pretraining)
    model = assemble(
        config,
        offers,
        classes=len(images.classes),
        preprocess=preprocess,
        weights=weights.weights_path if isinstance(weights, Run) else weights,
        load=processes.is_main,
    )
    if weights is not None:
        observer(Note(text=f"Weights: {model.weights}."))
    _place(model.classifier, config, device, processes)
    decided: dict[str, Any] = {}
    if resume_point is not None:
        precision = recorded_precision(resume_point.run.record["hardware"], device)
    else:
        precision, config, decided = _settled(config, offers, model, len(images.train), device, observer, processes)
    record = start_record(
        config, offers=offers, images=images, model=model, precision=precision, processes=processes, report=report
    )
    _check_same_everywhere(record, processes)
    record["hardware"] |= decided
    seed_all(config.seed + processes.rank)  # dropout draws in each process for itself
    if resume_point is not None:
        folder = resume_point.run.path
        record, spent = resume_record(resume_point, record, observer=observer, processes=processes)
        started -= spent
    else:
        stem = f"{offers.backbone.spec.name}-{offers.head.spec.name}-{images.name}"
        folder = processes.broadcast(lambda: create_run(runs, stem=stem))
    if processes.is_main:
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


def _device(config: FinetuneConfig, processes: ProcessGroup) -> torch.device:
    """Returns the device of this process. Whether it can what is asked of it is told before anything slow begins."""
    if config.freeze != "all" or config.optimizer not in SOLVERS:
        check_optimizer(config.optimizer)
    device = device_for(config.device, processes)
    if device.type == "cuda":
        torch.cuda.set_device(device)  # what names no device is made on the one of this process
    choose_precision(config.precision, device)
    check_cache(config.cache, device)
    return device


def _place(classifier: Classifier, config: FinetuneConfig, device: torch.device, processes: ProcessGroup) -> None:
    """Puts a classifier on the device, its frozen stages frozen; its weights are those of the first process."""
    processes.sync_module(classifier)
    freeze(classifier, config.frozen_stages(len(classifier.backbone.stages())))
    classifier.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def _settled(
    config: FinetuneConfig,
    offers: Offers,
    model: Model,
    images: int,
    device: torch.device,
    observer: Observer,
    processes: ProcessGroup,
) -> tuple[Precision, FinetuneConfig, dict[str, Any]]:
    """Returns the precision, the configuration with a batch size, and what is to be recorded of why."""
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


def _check_same_everywhere(record: dict[str, Any], processes: ProcessGroup) -> None:
    if len(set(processes.all_gather(record["data"]["fingerprint"]))) > 1:
        raise DataError(
            "The processes do not find the same photos.",
            hint="Give them the same data, at the same place, on each machine.",
        )


def check_up(images: ImageSet, *, data: str, observer: Observer) -> Report:
    """Examines the photos of a training as `zoo.data.check.examine.check_fast` does, and tells what is wrong.

    Args:
        images: Its parts as they will be trained on.
        data: As the user wrote it.
        observer: Told of problems and warnings.
    """
    report = check_fast(images, progress=lambda what, done, total: observer(Work(what=what, done=done, total=total)))
    # Those that cannot be read are told by name, as they are decoded.
    told = [finding for finding in report.findings if finding.level != "note" and finding.kind != "unreadable"]
    for finding in told:
        observer(Note(text=finding.text, warning=True))
    if any(finding.pairs for finding in told):
        text = f"'zoo data check {data} --html page.html' shows them; with --fix it lists what to leave out."
        observer(Note(text=text))
    return report
