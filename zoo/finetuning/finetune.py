"""From a configuration to a run folder: the story that everything else serves."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.config import FinetuneConfig, make_config
from zoo.data.source import check_data
from zoo.engine.processes import Processes
from zoo.errors import ConfigError, DataError, RunError, ZooError
from zoo.events import Finished, Note, Started, ignore
from zoo.finetuning.assembly import assemble, config_of, find_images, find_offers, find_weights
from zoo.manifest import write_manifest
from zoo.plugins import load_registry
from zoo.run import CHECKPOINT, RUNS, WEIGHTS, Run, create_run, open_run, write_record

if TYPE_CHECKING:
    from zoo.events import Observer
    from zoo.finetuning.assembly import Offers
    from zoo.finetuning.training import Job
    from zoo.registry import Registry


def finetune(
    backbone: str | FinetuneConfig,
    *,
    data: str | None = None,
    recipe: str = "default",
    runs: str | Path = RUNS,
    observer: Observer = ignore,
    registry: Registry | None = None,
    **values: Any,
) -> Run:
    """Fine-tunes a backbone on a dataset and returns the finished run.

    Args:
        backbone: A name from the registry; or a whole configuration, and then none of `data`, `recipe`, `values`.
        data: A dataset's name, a folder, or a CSV of path,label.
        recipe: Values for all that is not said.
        runs: Folder below which the run folder is made.
        observer: Told of progress; the library itself prints nothing.
        registry: Of plugins; found in the environment by default.
        **values: Fields of `FinetuneConfig`: ``epochs=10``, ``head="mlp"``, ``head_options={"hidden": 256}``.

    In a script that torchrun started, all processes share the training; each returns the run, the first alone writes
    and calls the observer.

    Raises:
        ZooError: Anything that the user can put right; nothing already done is lost.
        KeyboardInterrupt: After what was reached has been saved.
    """
    started = time.perf_counter()
    config = _config(backbone, data, recipe, values)
    processes = _processes(config)
    registry = registry or load_registry()
    with processes.together():
        offers = find_offers(config, registry)
        job = _prepare(config, offers, registry, Path(runs), observer, processes)
        return _carry_out(job, offers, started=started)


def resume(
    reference: str | Path,
    *,
    runs: str | Path = RUNS,
    observer: Observer = ignore,
    registry: Registry | None = None,
) -> Run:
    """Goes on with a run that was stopped, from the end of its last finished epoch.

    A run with a frozen backbone, which takes seconds and keeps no checkpoint, begins again.

    Args:
        reference: A run folder, or a run's name below `runs`.
        runs: Where runs are looked for by name.
        observer: Told of progress.
        registry: Of plugins; found in the environment by default.

    Raises:
        RunError: There is no such run, it is finished already, or its data is no longer the same.
        ZooError: As `finetune`.
    """
    run = open_run(reference, runs=Path(runs))
    if run.finished:
        raise RunError(f"The run {run.path} is finished.", hint="To train on from it, say --weights with its name.")
    config, registry, processes = config_of(run), registry or load_registry(), Processes.from_environment()
    if config.freeze != "all" and not (run.path / CHECKPOINT).is_file():
        raise RunError(f"The run {run.path} was stopped before its first epoch ended.", hint="Start it anew.")
    # What was spent on the epochs it has finished counts too.
    started = time.perf_counter() - sum(row.get("seconds") or 0.0 for row in run.metrics())
    with processes.together():
        offers = find_offers(config, registry)
        job = _prepare(config, offers, registry, Path(runs), observer, processes, run=run)
        return _carry_out(job, offers, started=started, resumed=True)


def check_names(config: FinetuneConfig, *, registry: Registry, runs: str | Path = RUNS) -> None:
    """Checks what a configuration names: backbone, head, weights, data. Imports no torch, and takes no time.

    Raises:
        ZooError: As `finetune` would, later.
    """
    _find_weights(config, find_offers(config, registry), registry, Path(runs))


def _find_weights(config: FinetuneConfig, offers: Offers, registry: Registry, runs: Path) -> Path | Run | None:
    weights = find_weights(config, runs=runs)
    check_data(config.data, registry=registry, options=config.data_options)
    if config.weights == "pretrained":
        offers.backbone.spec.check_pretrained()
    return weights


def _processes(config: FinetuneConfig) -> Processes:
    """Returns the processes that are there; only the command line starts further ones."""
    processes = Processes.from_environment()
    if config.devices > 1 and processes.alone:
        raise ConfigError(
            f"finetune: option 'devices' is {config.devices}, but this is a single process.",
            hint=f"Start the script with 'torchrun --nproc-per-node {config.devices}', without 'devices', "
            "or use the command line.",
        )
    return processes


def _config(backbone: str | FinetuneConfig, data: str | None, recipe: str, values: dict[str, Any]) -> FinetuneConfig:
    if isinstance(backbone, FinetuneConfig):
        if data is not None or values:
            raise ConfigError("finetune was given a configuration and further values; say one or the other.")
        return backbone
    if data is None:
        raise ConfigError("finetune needs 'data'.", hint="A name from 'zoo list', a folder, or a CSV of path,label.")
    return make_config(backbone, data=data, recipe=recipe, **values)


def _prepare(
    config: FinetuneConfig,
    offers: Offers,
    registry: Registry,
    runs: Path,
    observer: Observer,
    processes: Processes,
    *,
    run: Run | None = None,
) -> Job:
    # All weights of a run that goes on are in its checkpoint; what it started from may be gone.
    checkpointed = run is not None and config.freeze != "all"
    if checkpointed:
        config = dataclasses.replace(config, weights="none")
    weights = _find_weights(config, offers, registry, runs)
    # Only now: a wrong name or path, or a missing network, is told without waiting for torch.
    import torch

    from zoo.data.cache import check_cache
    from zoo.engine.optimizer import check_optimizer
    from zoo.engine.precision import choose_device, choose_precision
    from zoo.finetuning.hardware import recorded_precision, settle_batch_size, settle_precision
    from zoo.finetuning.record import start_record
    from zoo.finetuning.training import Job
    from zoo.model import freeze

    if config.freeze != "all" or config.optimizer not in ("lbfgs", "cg"):
        check_optimizer(config.optimizer)
    observer = observer if processes.first else ignore
    device = choose_device(config.device, processes)
    if device.type == "cuda":
        torch.cuda.set_device(device)  # what names no device is made on the one of this process
    # Whether the device can is told before anything slow begins.
    choose_precision(config.precision, device)
    check_cache(config.cache, device)
    with processes.in_turn():
        images = find_images(config, registry, observer)
    model = assemble(
        config,
        offers,
        weights,
        len(images.classes),
        preprocess=run.preprocess if run is not None else None,
        load=processes.first,
    )
    processes.share(model.classifier)
    if weights is not None:
        observer(Note(text=f"Weights: {model.weights}."))
    freeze(model.classifier, config.frozen_stages(len(model.classifier.backbone.stages())))
    model.classifier.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if run is not None:
        precision = recorded_precision(run.record["hardware"], device)
    else:
        name = offers.backbone.name
        settled = processes.decide(
            lambda: settle_precision(config, backbone=name, model=model, device=device, observer=observer)
        )
        precision = dataclasses.replace(settled, device=device)
        config, why_batch = processes.decide(
            lambda: settle_batch_size(
                config,
                images=len(images.train),
                model=model,
                precision=precision,
                observer=observer,
                ranks=processes.count,
            )
        )
    record = start_record(config, offers=offers, images=images, model=model, precision=precision, processes=processes)
    _check_same_everywhere(record, processes)
    if processes.rank:
        torch.manual_seed(config.seed + processes.rank)  # dropout draws in each process for itself
    if run is None:
        record["hardware"]["batch_size_reason"] = why_batch
        stem = f"{offers.backbone.spec.name}-{offers.head.spec.name}-{images.name}"
        folder = processes.decide(lambda: create_run(runs, stem=stem))
    else:
        _check_same_data(run, record)
        folder, record = run.path, {**run.record, "status": "training"}
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
    )


def _carry_out(job: Job, offers: Offers, *, started: float, resumed: bool = False) -> Run:
    from zoo.finetuning.training import train

    try:
        with job.processes.watching():
            _tell_start(job, offers)
            for result in train(job, resumed=resumed):
                job.observer(result)
            # Not before training: it draws, and matplotlib takes a second to import.
            from zoo.finetuning.conclusion import conclude

            results = conclude(job)
    except (KeyboardInterrupt, ZooError):
        _keep_what_there_is(job)
        raise
    results["seconds"] = time.perf_counter() - started
    job.record.update(status="finished", results=results)
    if not job.processes.first:
        return Run(job.folder, job.record)
    write_record(job.folder, job.record)
    (job.folder / CHECKPOINT).unlink(missing_ok=True)
    write_manifest(job.folder)
    job.observer(Finished(path=str(job.folder), results=results))
    return open_run(job.folder)


def _keep_what_there_is(job: Job) -> None:
    job.processes.stay_calm()
    if not job.processes.first:
        return
    job.record["status"] = "interrupted"
    write_record(job.folder, job.record)
    if (job.folder / CHECKPOINT).is_file():
        how = f"'zoo finetune --resume {job.folder}' goes on from the end of the last finished epoch."
    elif (job.folder / WEIGHTS).is_file():
        how = "The best weights so far are saved."
    else:
        how = "No epoch was finished."
    job.observer(Note(text=f"Stopped. {how}", warning=True))


def _check_same_data(run: Run, record: dict[str, Any]) -> None:
    was, now = run.fingerprint, record["data"]["fingerprint"]
    if was != now:
        raise RunError(
            f"The data of {run.path} is no longer the same: its fingerprint was {was[:12]} and is {now[:12]}.",
            hint="Put the photos back as they were, or start a new run with --weights and this run's name.",
        )


def _check_same_everywhere(record: dict[str, Any], processes: Processes) -> None:
    if len(set(processes.gather(record["data"]["fingerprint"]))) > 1:
        raise DataError(
            "The processes do not find the same photos.",
            hint="Give them the same data, at the same place, on each machine.",
        )


def _tell_start(job: Job, offers: Offers) -> None:
    parameters = list(job.classifier.parameters())
    counts = job.record["data"]["counts"]
    job.observer(
        Started(
            run=job.folder.name,
            backbone=offers.backbone.name,
            head=offers.head.name,
            weights=job.record["weights"],
            data=job.images.name,
            images=counts,
            classes=job.images.classes,
            parameters=sum(p.numel() for p in parameters),
            trainable=sum(p.numel() for p in parameters if p.requires_grad),
            device=str(job.precision.device),
            precision=job.precision.name,
            processes=job.processes.count,
            epochs=job.config.epochs,
            steps=-(-counts["train"] // job.config.step_images),
        )
    )
