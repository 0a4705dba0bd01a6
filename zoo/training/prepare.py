"""Finds photos, builds the network, settles how to compute, makes the run folder: all that comes before training."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import torch

from zoo.config import SOLVERS, FinetuneConfig
from zoo.data.check.examine import check_fast
from zoo.data.loading.cache import check_cache
from zoo.data.sources.load import find_images
from zoo.errors import DataError, WeightsError
from zoo.events import Note, Work
from zoo.models.build import assemble
from zoo.models.classifier import freeze
from zoo.models.precision import choose_device, choose_precision
from zoo.runs.open import open_run
from zoo.runs.run import RUNS, Run, create_run, write_record
from zoo.training.autotune.batch_size import settle_batch_size
from zoo.training.autotune.precision import recorded_precision, settle_precision
from zoo.training.job import Job
from zoo.training.optimizer import check_optimizer
from zoo.training.random_state import seed_all
from zoo.training.record import start_record
from zoo.training.resume import take_up
from zoo.utils.paths import typed_path

if TYPE_CHECKING:
    from pathlib import Path

    from zoo.config import FinetuneConfig
    from zoo.data.check.report import Report
    from zoo.events import Observer
    from zoo.models.build import Model, Offers
    from zoo.models.classifier import Classifier
    from zoo.models.precision import Precision
    from zoo.plugins.registry import Registry
    from zoo.plugins.specs import ImageSet
    from zoo.training.distributed.process_group import Processes
    from zoo.training.resume import Resumption


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


_MOST = 200  # pairs of a finding that the record lists; 'zoo data check' has all


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


def describe_check(report: Report) -> dict[str, Any]:
    """Returns what the run record keeps of a report: the findings, with the first of their photos."""
    return {"near": report.near, "findings": [finding.to_dict(most=_MOST) for finding in report.findings]}


_WEIGHT_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")


def find_weights(config: FinetuneConfig, *, runs: Path = RUNS) -> Path | Run | None:
    """Returns the file or the run whose weights a configuration asks for; None for pretrained and none.

    Raises:
        WeightsError: There is no such file or run.
    """
    if config.weights in ("pretrained", "none"):
        return None
    path = typed_path(config.weights)
    if path.is_file():
        return path
    if path.suffix in _WEIGHT_SUFFIXES:
        raise WeightsError(f"There is no weights file {path}.", hint="Check the path given with --weights.")
    return open_run(config.weights, runs=runs)
