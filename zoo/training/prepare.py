"""Prepares a training: checks, finds the photos, builds the network, measures the hardware, creates the run folder."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import torch

from zoo.data.check.classes import IMBALANCE
from zoo.data.check.examine import check_quickly
from zoo.data.loading.cache import check_cache
from zoo.data.sources.load import load_splits
from zoo.errors import ConfigError, DataError, WeightsError
from zoo.events import Note, Work
from zoo.metrics.chosen import check_metrics
from zoo.models.build import assemble, resolve_preprocess
from zoo.models.classifier import freeze, is_trained
from zoo.models.memory_errors import memory_errors
from zoo.models.plugin_errors import plugin_errors
from zoo.models.precision import choose_precision
from zoo.models.random_state import seed_all
from zoo.plugins.registry import get_card
from zoo.runs.record import RunRecord, write_photos, write_record
from zoo.runs.run import RunFolder, create_run
from zoo.training.autotune.batch_size import autotune_batch_size
from zoo.training.autotune.precision import autotune_precision, recorded_precision
from zoo.training.balance import is_balancing, make_balance
from zoo.training.costs import choose_decision, describe_decision
from zoo.training.distributed.device import device_for
from zoo.training.job import Job, find_replaced
from zoo.training.multi_label import adapt_to_labels
from zoo.training.optimizer import OptimizerTraits
from zoo.training.record import start_record
from zoo.training.resume import resume_record
from zoo.utils.text import first_line

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from zoo.config import FinetuneConfig
    from zoo.data.check.report import DataReport
    from zoo.events import Observer
    from zoo.models.build import Model
    from zoo.models.classifier import Classifier
    from zoo.models.precision import Precision
    from zoo.plugins.specs import ImageSet
    from zoo.preprocess import Preprocess
    from zoo.runs.record import PhotoRecord
    from zoo.training.balance import ClassBalance
    from zoo.training.distributed.process_group import ProcessGroup
    from zoo.training.request import TrainingRequest


def prepare(request: TrainingRequest) -> Job:
    """Returns a job that is ready to train; its folder contains the record.

    Raises:
        ZooError: Anything that the user can put right.
    """
    config, observer, processes = request.config, request.observer, request.processes
    offers, parts, weights = request.names.offers, request.names.parts, request.names.weights
    device = _check_device(config, processes)
    _check_processes(request)
    for text in request.names.notes if request.resume_point is None else ():
        observer(Note(text=text))
    with processes.local_first():
        images = load_splits(request.names.source, config, observer)
    config, offers, notes = adapt_to_labels(config, offers, images, request.registry)
    for text in notes:
        observer(Note(text=text))
    decision = choose_decision(config, images)
    if decision is not None and request.resume_point is None:
        for note in describe_decision(decision, config):
            observer(note)
    check_metrics(parts.metrics, images.classes, multi_label=images.multi_label)
    report = (request.report or check_photos(images, config, observer)) if processes.is_main else None
    balance = _balance_classes(request, images)
    model = assemble(
        config,
        offers,
        classes=len(images.classes),
        multi_label=images.multi_label,
        preprocess=_choose_preprocess(request),
        weights=weights.weights_path if isinstance(weights, RunFolder) else weights,
        weights_origin=request.names.weights_origin,
        load=processes.is_main,
        class_weights=balance.loss_weights,
        positive_weights=balance.positive_weights,
        logit_offsets=balance.logit_offsets,
    )
    _place(model.classifier, config, device, processes)
    partly_random = _check_filled(model, config, observer)
    precision, config, hardware = _adapt_to_machine(
        dataclasses.replace(request, config=config), model, images=len(images.train), device=device
    )
    config = _check_train_size(config, model, device, observer)
    record, photos = start_record(
        config,
        offers=offers,
        parts=parts,
        images=images,
        model=model,
        precision=precision,
        processes=processes,
        report=report,
        dataset=request.names.source.offer,
    )
    _check_same_photos(record, processes)
    record = dataclasses.replace(
        record.with_hardware(**hardware),
        partly_random=partly_random,
        balance=balance.describe(images.classes),
        decision=decision,
        requested=find_replaced(request.config, config),
    )
    seed_all(config.seed + processes.rank)  # every process draws its own dropout masks
    folder, record, seconds = _open_folder(request, record, photos, dataset=images.name)
    return Job(
        folder=folder,
        config=config,
        offers=offers,
        parts=parts,
        images=images,
        classifier=model.classifier,
        preprocess=model.preprocess,
        precision=precision,
        record=record,
        balance=balance,
        observer=observer,
        processes=processes,
        started=request.started - seconds,
        pictures=request.pictures,
        trial=request.trial,
        scores=request.scores,
        shared_features=request.shared_features,
    )


def _balance_classes(request: TrainingRequest, images: ImageSet) -> ClassBalance:
    if request.resume_point is None:
        return make_balance(request.config, images)
    recorded = request.resume_point.run.record.balance.get("positive_weights" if images.multi_label else "weights")
    return make_balance(request.config, images, recorded=recorded if isinstance(recorded, dict) else None)


def _open_folder(
    request: TrainingRequest, record: RunRecord, photos: PhotoRecord, *, dataset: str
) -> tuple[Path, RunRecord, float]:
    """Writes the records of a run into its folder, which is created unless the run is resumed.

    Returns:
        The folder; the record, with what a resumed run has recorded so far; and the seconds that it has trained for.
    """
    processes, seconds = request.processes, 0.0
    if request.resume_point is not None:
        folder = request.resume_point.run.path
        record, seconds = resume_record(
            request.resume_point, record, photos, observer=request.observer, processes=processes
        )
    else:
        offers = request.names.offers
        stem = f"{offers.backbone.spec.name}-{offers.head.spec.name}-{dataset}"
        folder = request.folder or processes.broadcast(lambda: create_run(request.runs, stem=stem))
    if processes.is_main:
        write_photos(folder, photos)
        write_record(folder, record)
    return folder, record, seconds


def _choose_preprocess(request: TrainingRequest) -> Preprocess:
    if request.resume_point is not None:  # unchanged: the file exported from the run uses it too
        return request.resume_point.run.preprocess
    weights, backbone = request.names.weights, request.names.offers.backbone
    original = weights.preprocess if isinstance(weights, RunFolder) else get_card(backbone).preprocess
    return resolve_preprocess(request.config, original)


def _check_device(config: FinetuneConfig, processes: ProcessGroup) -> torch.device:
    """Returns the device of this process. Checks before any slow work that it supports the configuration."""
    device = device_for(config.device, processes)
    if device.type == "cuda":
        torch.cuda.set_device(device)  # the default for code that names no device
    choose_precision(config.precision, device)
    check_cache(config.cache, device)
    return device


def _check_processes(request: TrainingRequest) -> None:
    """Checks that several processes can share the steps of the optimizer; all of them train a head on features alone.

    Raises:
        ConfigError: They cannot.
    """
    choice, config = request.names.parts.optimizer, request.config
    traits = OptimizerTraits.from_choice(choice)
    if request.processes.is_single or config.freeze == "all" or not (traits.closure or traits.full_batch):
        return
    raise ConfigError(
        f"finetune: the optimizer '{config.optimizer}' evaluates the loss of a whole step, which several processes "
        "cannot share.",
        hint="Pass --devices 1, or choose another optimizer.",
    )


def _place(classifier: Classifier, config: FinetuneConfig, device: torch.device, processes: ProcessGroup) -> None:
    """Moves a classifier to the device, with the weights of the main process and its frozen stages frozen."""
    processes.sync_module(classifier)
    freeze(classifier, config.frozen_stages(len(classifier.backbone.stages())))
    classifier.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def _check_train_size(config: FinetuneConfig, model: Model, device: torch.device, observer: Observer) -> FinetuneConfig:
    """Returns the configuration with full-size training images if the network accepts no smaller ones."""
    height, width = model.preprocess.for_training(config.train_size).size
    if config.freeze == "all" or (height, width) == model.preprocess.size:
        return config
    try:
        with torch.no_grad():
            model.classifier.eval()(torch.zeros(1, 3, height, width, device=device))
    except Exception as error:  # of a plugin; that its network runs at the size of evaluation is checked already
        text = f"Training images have the size of evaluation: the network does not accept {height} x {width} pixels"
        observer(Note(text=f"{text} ({first_line(error)})."))
        return dataclasses.replace(config, train_size=1.0)
    return config


def _check_filled(model: Model, config: FinetuneConfig, observer: Observer) -> str:
    """Checks which layers a file of weights left as they were initialised; reports them, and what was adapted.

    Returns:
        A sentence on these layers; empty if there are none.

    Raises:
        WeightsError: Some of them are not trained either, and the configuration does not accept that.
    """
    report, classifier = model.report, model.classifier
    if report is None:
        return ""
    for phrase in report.adapted:
        observer(Note(text=f"{report.source} was adapted ({phrase}).", warning=True))
    names = report.unfilled
    fixed = [name for name in names if not is_trained(classifier, name, freeze_norm_stats=config.freeze_norm_stats)]
    if fixed and not config.partial_weights:
        raise WeightsError(
            f"{report.source} fills only part of the network, and layers that it leaves as they were initialised are "
            f"frozen: {report.describe(fixed)}.",
            hint=f"{_suggest_training(classifier, fixed)}, use another file, or accept it with --partial-weights yes.",
        )
    if not names:
        return ""
    fate = "stay as they were initialised and are not trained" if fixed else "start as they were initialised"
    text = f"{report.source} fills only part of the network; entries that {fate}: {report.describe(fixed or names)}."
    observer(Note(text=text, warning=True))
    return text


def _suggest_training(classifier: Classifier, fixed: Sequence[str]) -> str:
    """Returns the options with which training changes some entries of the backbone that it does not change now."""
    stages = classifier.backbone.stages()
    owners = {name.rpartition(".")[0]: number for number, stage in enumerate(stages) for name in stage.parameters}
    first = min(owners.get(name.rpartition(".")[0], 0) for name in fixed)
    statistics = (
        " --freeze-norm-stats no" if set(fixed) - {name for stage in stages for name in stage.parameters} else ""
    )
    return f"Train them with --freeze {first or 'none'}{statistics}"


def _adapt_to_machine(
    request: TrainingRequest, model: Model, *, images: int, device: torch.device
) -> tuple[Precision, FinetuneConfig, dict[str, Any]]:
    """Returns the precision, the configuration with a number as its batch size, and values for the record.

    A resumed run keeps what was measured when it was started.
    """
    if request.resume_point is not None:
        return recorded_precision(request.resume_point.run.record.hardware, device), request.config, {}
    with plugin_errors(request.names.offers, model.classifier, action="measuring the speed of"), memory_errors():
        return _autotune(request, model, images=images, device=device)


def _autotune(
    request: TrainingRequest, model: Model, *, images: int, device: torch.device
) -> tuple[Precision, FinetuneConfig, dict[str, Any]]:
    """Measures what `_adapt_to_machine` returns."""
    observer, processes, backbone = request.observer, request.processes, request.names.offers.backbone.name
    measured = processes.broadcast(
        lambda: autotune_precision(request.config, backbone=backbone, model=model, device=device, observer=observer)
    )
    precision = dataclasses.replace(measured, device=device)
    config, reason = processes.broadcast(
        lambda: autotune_batch_size(
            request.config,
            optimizer=request.names.parts.optimizer,
            smallest=request.names.parts.batch_size,
            images=images,
            model=model,
            precision=precision,
            observer=observer,
            processes=processes.count,
        )
    )
    return precision, config, {"batch_size_reason": reason}


def _check_same_photos(record: RunRecord, processes: ProcessGroup) -> None:
    if len(set(processes.all_gather(record.data.fingerprint))) > 1:
        raise DataError(
            "The processes found different photos.",
            hint="Put the same data at the same path on every machine.",
        )


def check_photos(images: ImageSet, config: FinetuneConfig, observer: Observer) -> DataReport:
    """Checks the photos with `zoo.data.check.examine.check_quickly`, and reports problems and warnings."""
    report = check_quickly(images, progress=lambda what, done, total: observer(Work(what=what, done=done, total=total)))
    # Unreadable photos are reported by name as they are decoded.
    findings = [
        finding
        for finding in report.findings
        if finding.level != "note" and finding.kind not in ("unreadable", IMBALANCE)
    ]
    for finding in findings:
        observer(Note(text=finding.text, warning=True))
    for finding in report.findings:
        if finding.kind == IMBALANCE and not is_balancing(config) and not images.multi_label:
            text = f"{finding.text} --class-weights, --sampler and --logit-adjustment make rare classes count more."
            observer(Note(text=text, warning=finding.level != "note"))
    if any(finding.pairs for finding in findings) and isinstance(config.data, str):
        text = f"'zoo data check {config.data} --html page.html' shows them; --fix lists what to leave out."
        observer(Note(text=text))
    return report
