"""Finds photos, builds the network, settles how to compute, makes the run folder: all that comes before training."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import torch

from zoo.config import SOLVERS
from zoo.data.cache import check_cache
from zoo.engine.optimizer import check_optimizer
from zoo.engine.precision import choose_device, choose_precision
from zoo.engine.randomness import seed_all
from zoo.errors import DataError
from zoo.events import Note
from zoo.finetuning.assembly import assemble, find_images
from zoo.finetuning.checkup import check_up
from zoo.finetuning.hardware import recorded_precision, settle_batch_size, settle_precision
from zoo.finetuning.job import Job
from zoo.finetuning.record import start_record
from zoo.finetuning.resumption import take_up
from zoo.model import freeze
from zoo.run import Run, create_run, write_record

if TYPE_CHECKING:
    from pathlib import Path

    from zoo.config import FinetuneConfig
    from zoo.engine.precision import Precision
    from zoo.engine.processes import Processes
    from zoo.events import Observer
    from zoo.finetuning.assembly import Model, Offers
    from zoo.finetuning.resumption import Resumption
    from zoo.model import Classifier
    from zoo.registry import Registry


def prepare(
    config: FinetuneConfig,
    offers: Offers,
    weights: Path | Run | None,
    *,
    registry: Registry,
    runs: Path,
    observer: Observer,
    processes: Processes,
    started: float,
    resumption: Resumption | None = None,
) -> Job:
    """Returns a run that is ready to be trained; its folder holds its record.

    Args:
        config: What was asked for.
        offers: The backbone and the head that it names.
        weights: What the network starts from, if that is a file or a run.
        registry: Where a dataset is looked for.
        runs: Where the folder is made.
        observer: Told of progress.
        processes: Those that train together.
        started: When, by `time.perf_counter`.
        resumption: Of a run that goes on.

    Raises:
        ZooError: Anything that the user can put right.
    """
    device = _device(config, processes)
    with processes.in_turn():
        images = find_images(config, registry, observer)
    report = check_up(images, data=config.data, observer=observer) if processes.first else None
    preprocess = None if resumption is None else resumption.run.preprocess
    model = assemble(config, offers, weights, len(images.classes), preprocess=preprocess, load=processes.first)
    if weights is not None:
        observer(Note(text=f"Weights: {model.weights}."))
    _place(model.classifier, config, device, processes)
    decided: dict[str, Any] = {}
    if resumption is not None:
        precision = recorded_precision(resumption.run.record["hardware"], device)
    else:
        precision, config, decided = _settled(config, offers, model, len(images.train), device, observer, processes)
    record = start_record(
        config, offers=offers, images=images, model=model, precision=precision, processes=processes, report=report
    )
    _check_same_everywhere(record, processes)
    record["hardware"] |= decided
    seed_all(config.seed + processes.rank)  # dropout draws in each process for itself
    if resumption is not None:
        folder = resumption.run.path
        record, spent = take_up(resumption, record, observer=observer, processes=processes)
        started -= spent
    else:
        stem = f"{offers.backbone.spec.name}-{offers.head.spec.name}-{images.name}"
        folder = processes.decide(lambda: create_run(runs, stem=stem))
    if processes.first:
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


def _device(config: FinetuneConfig, processes: Processes) -> torch.device:
    """Returns the device of this process. Whether it can what is asked of it is told before anything slow begins."""
    if config.freeze != "all" or config.optimizer not in SOLVERS:
        check_optimizer(config.optimizer)
    device = choose_device(config.device, processes)
    if device.type == "cuda":
        torch.cuda.set_device(device)  # what names no device is made on the one of this process
    choose_precision(config.precision, device)
    check_cache(config.cache, device)
    return device


def _place(classifier: Classifier, config: FinetuneConfig, device: torch.device, processes: Processes) -> None:
    """Puts a classifier on the device, its frozen stages frozen; its weights are those of the first process."""
    processes.share(classifier)
    freeze(classifier, config.frozen_stages(len(classifier.backbone.stages())))
    classifier.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def _settled(
    config: FinetuneConfig,
    offers: Offers,
    model: Model,
    images: int,
    device: torch.device,
    observer: Observer,
    processes: Processes,
) -> tuple[Precision, FinetuneConfig, dict[str, Any]]:
    """Returns the precision, the configuration with a batch size, and what is to be recorded of why."""
    name = offers.backbone.name
    settled = processes.decide(
        lambda: settle_precision(config, backbone=name, model=model, device=device, observer=observer)
    )
    precision = dataclasses.replace(settled, device=device)
    config, why = processes.decide(
        lambda: settle_batch_size(
            config, images=images, model=model, precision=precision, observer=observer, ranks=processes.count
        )
    )
    return precision, config, {"batch_size_reason": why}


def _check_same_everywhere(record: dict[str, Any], processes: Processes) -> None:
    if len(set(processes.gather(record["data"]["fingerprint"]))) > 1:
        raise DataError(
            "The processes do not find the same photos.",
            hint="Give them the same data, at the same place, on each machine.",
        )
