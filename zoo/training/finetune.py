"""From a configuration to a run folder: the story that everything else serves."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.config import FinetuneConfig, make_config
from zoo.data.sources.resolve import resolve_data
from zoo.errors import ConfigError, RunError, WeightsError, ZooError
from zoo.events import Finished, Note, Started, ignore
from zoo.models.offers import find_offers
from zoo.plugins.registry import load_registry
from zoo.runs.manifest import MANIFEST
from zoo.runs.open import config_of, open_run
from zoo.runs.run import RUNS, Run, write_record
from zoo.training.distributed.process_group import ProcessGroup
from zoo.training.memory_errors import memory_errors
from zoo.training.plugin_errors import plugin_errors
from zoo.training.resume import find_resume_point, locked_run, place, seal
from zoo.utils.paths import typed_path

if TYPE_CHECKING:
    from zoo.data.sources.resolve import DataSource
    from zoo.events import Observer
    from zoo.models.offers import Offers
    from zoo.plugins.registry import Registry
    from zoo.training.job import Job
    from zoo.training.resume import ResumePoint

_WEIGHT_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")


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
    with processes.session():
        offers = find_offers(config, registry)
        job = _prepared(config, offers, registry, Path(runs), observer, processes, started=started)
        with locked_run(job.folder, processes):
            results = _carry_out(job, offers)
        return _finish(job, results)


def resume(
    reference: str | Path,
    *,
    runs: str | Path = RUNS,
    anyway: bool = False,
    observer: Observer = ignore,
    registry: Registry | None = None,
) -> Run:
    """Goes on with a run that was stopped or killed, from the step at which it was last saved.

    It ends with the weights and figures of a run that was never stopped, bit for bit on the same machine. A run that
    was not saved yet begins again, in its folder; so does one with a frozen backbone, which trains a head alone.

    Args:
        reference: A run folder, or a run's name below `runs`.
        runs: Where runs are looked for by name.
        anyway: Whether to go on although data, configuration or code have changed; the record then tells what.
        observer: Told of progress.
        registry: Of plugins; found in the environment by default.

    Raises:
        RunError: There is no such run, it is finished already, another process works on it, or something has changed.
        ZooError: As `finetune`.
    """
    started = time.perf_counter()
    run = open_run(reference, runs=Path(runs))
    config, registry, processes = config_of(run), registry or load_registry(), ProcessGroup.from_environment()
    if run.finished and not (run.path / MANIFEST).exists():  # killed on its very last step
        if processes.is_main:
            seal(run.path)
            observer(Finished(path=str(run.path), results=dict(run.results)))
        return run
    resume_point = find_resume_point(run, frozen=config.freeze == "all", anyway=anyway)
    with processes.session():
        offers = find_offers(config, registry)
        with locked_run(run.path, processes):
            job = _prepared(
                config, offers, registry, Path(runs), observer, processes, started=started, resume_point=resume_point
            )
            results = _carry_out(job, offers, resumed=resume_point.saved)
        return _finish(job, results)


def check_names(config: FinetuneConfig, *, registry: Registry, runs: str | Path = RUNS) -> None:
    """Checks what a configuration names: backbone, head, weights, data. Imports no torch, and takes no time.

    Raises:
        ZooError: As `finetune` would, later.
    """
    _resolve(config, find_offers(config, registry), registry, Path(runs))


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


def _resolve(
    config: FinetuneConfig, offers: Offers, registry: Registry, runs: Path
) -> tuple[Path | Run | None, DataSource]:
    """Returns the weights and the data that a configuration names."""
    weights = find_weights(config, runs=runs)
    source = resolve_data(config.data, registry=registry, options=config.data_options, exclude=config.exclude)
    if config.weights == "pretrained":
        offers.backbone.call("checking the weights of", offers.backbone.spec.check_pretrained)
    return weights, source


def _processes(config: FinetuneConfig) -> ProcessGroup:
    """Returns the processes that are there; only the command line starts further ones."""
    processes = ProcessGroup.from_environment()
    if config.devices > 1 and processes.is_single:
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


def _prepared(
    config: FinetuneConfig,
    offers: Offers,
    registry: Registry,
    runs: Path,
    observer: Observer,
    processes: ProcessGroup,
    *,
    started: float,
    resume_point: ResumePoint | None = None,
) -> Job:
    # All weights of a run that goes on are in its checkpoint; what it started from may be gone.
    if resume_point is not None and resume_point.saved:
        config = dataclasses.replace(config, weights="none")
    weights, source = _resolve(config, offers, registry, runs)
    # Only now: a wrong name or path, or a missing network, is told without waiting for torch.
    from zoo.training.prepare import prepare

    with memory_errors():
        return prepare(
            config,
            offers,
            weights,
            source,
            runs=runs,
            observer=observer if processes.is_main else ignore,
            processes=processes,
            started=started,
            resume_point=resume_point,
        )


def _carry_out(job: Job, offers: Offers, *, resumed: bool = False) -> dict[str, Any]:
    from zoo.training.train import train

    try:
        with plugin_errors(offers), memory_errors(), job.interrupts.taken(), job.processes.detect_lost_peers():
            _tell_start(job, offers)
            for result in train(job, resumed=resumed):
                job.observer(result)
            # Not before training: it draws, and matplotlib takes a second to import.
            from zoo.training.finalize import finalize

            return finalize(job)
    except (KeyboardInterrupt, ZooError):
        _keep_what_there_is(job)
        raise


def _finish(job: Job, results: dict[str, Any]) -> Run:
    results["seconds"] = time.perf_counter() - job.started
    job.record.pop("saved", None)
    job.record.update(status="finished", results=results)
    if not job.processes.is_main:
        return Run(job.folder, job.record)
    write_record(job.folder, job.record)
    seal(job.folder)
    for text in Run(job.folder, job.record).leaks:  # once more, beside the figures that it is about
        job.observer(Note(text=text, warning=True))
    job.observer(Finished(path=str(job.folder), results=results))
    return open_run(job.folder)


def _keep_what_there_is(job: Job) -> None:
    job.processes.ignore_signals()
    if not job.processes.is_main:
        return
    job.record["status"] = "interrupted"
    try:
        write_record(job.folder, job.record)
    except RunError as error:  # a full disk, which may be what ended the run: that is what is to be told
        job.observer(Note(text=error.message, warning=True))
    saved = place(job.record)
    how = f"goes on {saved}" if saved else "begins again: nothing was saved yet"
    job.observer(Note(text=f"Stopped. 'zoo finetune --resume {job.folder}' {how}.", warning=True))


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
            steps=-(-counts["train"] // job.config.images_per_step),
        )
    )
