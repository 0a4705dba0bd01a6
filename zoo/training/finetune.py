"""Fine-tunes: from a configuration to a finished run folder."""

from __future__ import annotations

import dataclasses
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

from zoo.config import FinetuneConfig, make_config
from zoo.display.progress import choose_observer
from zoo.errors import ConfigError, DivergedError, RunError, ZooError
from zoo.events import Finished, Note, Started, ignore
from zoo.inference.run import Run
from zoo.models.memory_errors import memory_errors
from zoo.models.plugin_errors import plugin_errors
from zoo.plugins.registry import REGISTRY, Registry, load_registry
from zoo.plugins.specs import ImageSet
from zoo.recipes import located_options
from zoo.runs.cross_validation import is_cross_validation
from zoo.runs.open import explained_missing_plugin, load_config, open_run
from zoo.runs.record import write_record
from zoo.runs.run import CHECKPOINT, RUNS, RunFolder
from zoo.training.distributed.process_group import ProcessGroup
from zoo.training.parts import drop_missing_trackers
from zoo.training.request import TrainingRequest, resolve_names, suggested_offline_command
from zoo.training.resume import (
    describe_place,
    describe_retry,
    find_resume_point,
    locked_run,
    seal,
    with_divergence,
)
from zoo.training.trackers import tracked
from zoo.utils.arguments import FLAG, FUNCTION, NUMBER, PATH, TEXT, Accepted, accepts
from zoo.utils.paths import parse_path

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from zoo.events import Observer
    from zoo.runs.record import RunRecord
    from zoo.training.job import Job
    from zoo.training.request import ResolvedNames


@accepts(
    backbone=TEXT | Accepted("a zoo.FinetuneConfig", (FinetuneConfig,)) | None,
    recipe=PATH,
    runs=PATH,
    pictures=FLAG,
    observer=FUNCTION | None,
    registry=REGISTRY | None,
    group=TEXT,
)
def finetune(
    backbone: str | FinetuneConfig | None = None,
    *,
    data: str | os.PathLike[str] | ImageSet | None = None,
    recipe: str | os.PathLike[str] = "default",
    runs: str | os.PathLike[str] = RUNS,
    pictures: bool = True,
    observer: Observer | None = None,
    registry: Registry | None = None,
    group: str = "",
    **values: Any,
) -> Run:
    """Fine-tunes a backbone on a dataset and returns the finished run.

    Args:
        backbone: A name from the registry; or a whole configuration, without `data`, `recipe` and `values`. By default
            that of the recipe, or else the best whose pretrained weights are on this machine (docs/recipes.md).
        data: The name of a dataset, a folder, a CSV of path,label, or an `ImageSet` with photos of any origin.
        recipe: The recipe, which gives the values that are not passed: a name, or the path of a TOML file.
        runs: The folder in which the run folder is created.
        pictures: Whether to write ``curves.png``, ``confusion.png`` and ``mistakes.png`` at the end.
        observer: Called with events (`zoo.events`); `zoo.progress()` shows them. By default, progress is shown in
            IPython and notebooks, and nothing elsewhere.
        registry: The plugins; by default those of the environment.
        group: A name under which trackers show several runs together.
        **values: Fields of `FinetuneConfig`: ``epochs=10``, ``head="mlp"``, ``head_options={"hidden": 256}``.

    In a script that torchrun started, all processes share the training; each returns the run, but only the main process
    writes files and calls the observer. Afterwards the global random generators are in the same state as before.

    Raises:
        ZooError: Anything that the user can put right; nothing already done is lost.
        KeyboardInterrupt: After the progress has been saved.
    """
    started, observer, plugins = time.perf_counter(), choose_observer(observer), registry or load_registry()
    config = make_config_of(backbone, data, recipe, values, plugins)
    run = train_config(
        config,
        runs=parse_path(runs),
        pictures=pictures,
        observer=observer,
        registry=plugins,
        group=group,
        started=started,
    )
    return Run(run.path, run.record, registry)


def train_config(
    config: FinetuneConfig,
    *,
    runs: Path,
    observer: Observer,
    registry: Registry,
    pictures: bool = True,
    group: str = "",
    folder: Path | None = None,
    started: float | None = None,
    trial: bool = False,
) -> RunFolder:
    """Trains as a configuration says; arguments and errors are those of `finetune`.

    Args:
        config: The configuration.
        runs: The folder in which runs are looked up, and in which the run folder is created.
        observer: As in `finetune`.
        registry: The plugins.
        pictures: As in `finetune`.
        group: As in `finetune`.
        folder: The run folder, which exists; None to create one.
        started: Start time by `time.perf_counter`; now by default.
        trial: Whether this is one of several trainings to choose from (`TrainingRequest`).
    """
    processes = _find_processes(config)
    with processes.session(), suggested_offline_command(config, registry):
        with located_options(config.recipe):
            names = resolve_names(config, registry=registry, runs=runs, processes=processes)
        request = TrainingRequest(
            config=names.config,
            names=names,
            registry=registry,
            runs=runs,
            observer=observer if processes.is_main else ignore,
            processes=processes,
            started=time.perf_counter() if started is None else started,
            pictures=pictures,
            group=group,
            folder=folder,
            trial=trial,
        )
        return run_request(request)


@accepts(
    reference=PATH | Accepted("a zoo.Run", (RunFolder,)),
    data=Accepted("the zoo.ImageSet of the run", (ImageSet,)) | None,
    runs=PATH,
    lr=NUMBER | TEXT | None,
    anyway=FLAG,
    pictures=FLAG,
    observer=FUNCTION | None,
    registry=REGISTRY | None,
)
def resume(
    reference: str | os.PathLike[str] | RunFolder,
    *,
    data: ImageSet | None = None,
    runs: str | os.PathLike[str] = RUNS,
    lr: float | None = None,
    anyway: bool = False,
    pictures: bool = True,
    observer: Observer | None = None,
    registry: Registry | None = None,
) -> Run:
    """Resumes a run that was stopped or killed, from the step at which it was last saved.

    It ends with the same weights and results as a run that was never stopped, bit for bit on the same machine. A run
    that was not saved yet starts again in its folder, and so does one with a frozen backbone, which trains only a head.

    Args:
        reference: A run, its folder, or its name below `runs`.
        data: The photos, for a run that was given an `ImageSet`, which is not stored.
        runs: The folder in which a run is looked up by name.
        lr: A lower learning rate, for a run that diverged: it goes back to the last good state, and continues with this
            rate. The record lists it.
        anyway: Whether to resume even if data, configuration or code have changed; the record then lists the changes.
            And whether to resume a run that diverged with the rate at which it did.
        pictures: As in `finetune`.
        observer: As in `zoo.finetune`.
        registry: The plugins; by default those of the environment.

    Raises:
        RunError: There is no such run, it is finished, another process is training it, something has changed, or the
            run diverged and `lr` is missing.
        ConfigError: The rate is not lower than the one at which the run diverged.
        ZooError: As `finetune`.
    """
    started, processes = time.perf_counter(), ProcessGroup.from_environment()
    observer = choose_observer(observer) if processes.is_main else ignore
    run = reference if isinstance(reference, RunFolder) else open_run(reference, runs=runs)
    point = find_resume_point(run, lr=lr, anyway=anyway)
    if point.run.finished:  # but killed while its folder was being completed
        if processes.is_main:
            seal(run.path)
        observer(Finished(path=str(run.path), results=dict(run.results)))
        return Run(run.path, run.record, registry)
    changes: dict[str, Any] = {} if data is None else {"data": data}
    if point.saved:  # the checkpoint has all weights; those that the run started from may be gone
        changes["weights"] = "none"
    plugins = registry or load_registry()
    config, text = drop_missing_trackers(load_config(point.run, **changes), plugins)
    if text:
        observer(Note(text=text, warning=True))
    with processes.session(), locked_run(run.path, processes):
        if point.restarts and processes.is_main:
            (run.path / CHECKPOINT).unlink(missing_ok=True)
        with explained_missing_plugin(point.run, plugins):
            names = resolve_names(config, registry=plugins, runs=parse_path(runs))
        request = TrainingRequest(
            config=config,
            names=names,
            registry=plugins,
            runs=parse_path(runs),
            observer=observer,
            processes=processes,
            started=started,
            pictures=pictures,
            resume_point=point,
        )
        run = run_request(request)
    return Run(run.path, run.record, registry)


def make_config_of(
    backbone: str | FinetuneConfig | None,
    data: str | os.PathLike[str] | ImageSet | None,
    recipe: str | os.PathLike[str],
    values: dict[str, Any],
    registry: Registry,
) -> FinetuneConfig:
    """Returns the configuration that the arguments of `finetune` describe.

    Raises:
        ConfigError: A value is wrong, the data is missing, or a configuration and single values are given.
        UnknownNameError: There is no recipe of that name.
    """
    if isinstance(backbone, FinetuneConfig):
        if data is not None or values:
            raise ConfigError("finetune() takes either a configuration or single values, not both.")
        return backbone
    if data is None:
        raise ConfigError("finetune() needs 'data'.", hint="A name from 'zoo list', a folder, or a CSV of path,label.")
    return make_config(backbone, data=data, recipe=recipe, registry=registry, **values)


def _find_processes(config: FinetuneConfig) -> ProcessGroup:
    """Returns the existing processes; only the command line starts more."""
    processes = ProcessGroup.from_environment()
    if config.devices > 1 and processes.is_single:
        raise ConfigError(
            f"finetune: option 'devices' is {config.devices}, but this is a single process.",
            hint=f"Start the script with 'torchrun --nproc-per-node {config.devices}', without 'devices', "
            "or use the command line.",
        )
    return processes


def run_request(request: TrainingRequest) -> RunFolder:
    """Trains as a request says, and returns the finished run; see `finetune` and `resume`."""
    # Imported only now, so that a wrong name or path is reported without waiting for torch.
    from zoo.models.random_state import restore_random_states
    from zoo.training.prepare import prepare

    trackers = request.names.parts.trackers if request.processes.is_main else ()
    with restore_random_states(), ExitStack() as stack:
        tracking = stack.enter_context(tracked(request.observer, trackers))
        request = dataclasses.replace(request, observer=tracking)
        with memory_errors():
            job = prepare(request)
        if request.resume_point is None:  # else the folder is locked already
            stack.enter_context(locked_run(job.folder, job.processes))
        tracking.start(job.folder, job.config, resumed=request.resume_point is not None, group=request.group)
        resumed = request.resume_point is not None and request.resume_point.saved
        results = _train(job, request.names, resumed=resumed)
        return _finish(job, results, request.registry)


def _train(job: Job, names: ResolvedNames, *, resumed: bool) -> dict[str, Any]:
    from zoo.models.runtime import tuned_runtime
    from zoo.training.train import train

    try:
        with (
            tuned_runtime(job.precision),
            plugin_errors(names.offers, job.classifier, optimizer=names.parts.optimizer.offer),
            memory_errors(),
            job.interrupts.handled(),
            job.processes.detect_lost_peers(),
        ):
            job.processes.barrier()  # from here on, whichever fails, the main process can save
            _report_start(job, names)
            for result in train(job, resumed=resumed):
                job.observer(result)
            # Imported only now: matplotlib takes a second.
            from zoo.training.finalize import finalize

            return finalize(job)
    except (KeyboardInterrupt, ZooError, OSError) as error:  # OSError: the reader of the output is gone, for example
        _save_interrupted(job, error)
        raise


def _finish(job: Job, results: dict[str, Any], registry: Registry) -> RunFolder:
    results["seconds"] = time.perf_counter() - job.started
    job.record = dataclasses.replace(job.record, status="finished", saved={}, results=results)
    if job.processes.is_main:
        write_record(job.folder, job.record)
        seal(job.folder)
    job.processes.barrier()  # the folder of the run that each process returns is complete
    if not job.processes.is_main:
        return RunFolder(job.folder, job.record)
    run = open_run(job.folder)
    if not job.trial:
        _cache_graph(job, run, registry)
    for text in _caveats(job.record):  # once more, beside the results that they affect
        job.observer(Note(text=text, warning=True))
    job.observer(Finished(path=str(job.folder), results=results))
    return run


def _caveats(record: RunRecord) -> tuple[str, ...]:
    text = record.partly_random
    if text and record.results["best_epoch"] == 0:
        text += " The best epoch is the probe, before any layer of the backbone was trained."
    return (*record.data.leaks, *filter(None, [text]))


def _cache_graph(job: Job, run: RunFolder, registry: Registry) -> None:
    """Prepares the first prediction on a CPU, which then needs neither torch nor an export."""
    if not job.processes.is_single or job.precision.device.type != "cpu":
        return
    from zoo.inference.run_predictor import cache_graph
    from zoo.models.classifier import Classifier

    with suppress(Exception):  # of a plugin: the run is finished, and whoever predicts with it sees the failure
        cache_graph(run, Classifier(job.classifier.backbone, job.classifier.head), registry=registry)


def _save_interrupted(job: Job, error: BaseException) -> None:
    job.processes.ignore_signals()
    if not job.processes.is_main or job.trial:  # the search deletes the run of a trial that does not finish
        return
    job.record = dataclasses.replace(job.record, status="interrupted")
    if isinstance(error, DivergedError):
        job.record = with_divergence(job.record, error, restart=job.restart)
    texts = []
    try:
        write_record(job.folder, job.record)
    except RunError as failure:  # a full disk, which may be what ended the run
        texts.append(failure.message)
    if isinstance(error, DivergedError):
        texts.append(f"Stopped. {describe_retry(job.folder, job.record)}.")
    else:
        place = describe_place(job.record)
        effect = f"resumes it {place}" if place else "starts it again: nothing was saved yet"
        # Of a cross-validation, all folds are resumed together.
        whole = job.folder.parent if is_cross_validation(job.folder.parent) else job.folder
        texts.append(f"Stopped. 'zoo finetune --resume {whole}' {effect}.")
    with suppress(ZooError, OSError):  # the output cannot be written, which may be what ended the run
        for text in texts:
            job.observer(Note(text=text, warning=True))


def _report_start(job: Job, names: ResolvedNames) -> None:
    parameters = list(job.classifier.parameters())
    counts = job.record.data.counts
    job.observer(
        Started(
            run=job.folder.name,
            backbone=names.offers.backbone.name,
            backbone_reason=names.backbone_reason,
            head=names.offers.head.name,
            weights=job.record.weights,
            data=job.images.name,
            images=dict(counts),
            classes=job.images.classes,
            parameters=sum(p.numel() for p in parameters),
            trainable=sum(p.numel() for p in parameters if p.requires_grad),
            device=str(job.precision.device),
            precision=job.precision.name,
            processes=job.processes.count,
            epochs=job.config.epochs,
            steps=_steps_per_epoch(job),
        )
    )


def _steps_per_epoch(job: Job) -> int:
    optimizer = job.parts.optimizer
    if optimizer.spec.takes_full_batch(optimizer.options):
        return 1
    return -(-int(job.record.data.counts["train"]) // job.config.images_per_step)
