"""From a configuration to a run folder: the story that everything else serves."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.assembly import assemble, find_images, find_offers, find_weights
from zoo.config import FinetuneConfig, make_config
from zoo.errors import ConfigError, RunError, ZooError
from zoo.events import Finished, Note, Started, ignore
from zoo.plugins import load_registry
from zoo.run import RUNS, Run, append_metrics, create_run, open_run, write_record

if TYPE_CHECKING:
    from zoo.assembly import Offers
    from zoo.events import EpochResult, Observer
    from zoo.registry import Registry
    from zoo.training import Job


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

    Raises:
        ZooError: Anything that the user can put right; nothing already done is lost.
        KeyboardInterrupt: After what was reached has been saved.
    """
    started = time.perf_counter()
    config = _config(backbone, data, recipe, values)
    registry = registry or load_registry()
    offers = find_offers(config, registry)
    job = _prepare(config, offers, registry, Path(runs), observer)
    return _carry_out(job, offers, started=started)


def resume(reference: str | Path, *, runs: str | Path = RUNS, observer: Observer = ignore) -> Run:
    """Goes on with a run that was stopped, from the end of its last finished epoch.

    Raises:
        RunError: There is no such run, it is finished already, or its data is no longer the same.
        ZooError: As `finetune`.
    """
    started = time.perf_counter()
    run = open_run(reference, runs=Path(runs))
    if run.finished:
        raise RunError(f"The run {run.path} is finished.", hint="To train on from it, say --weights with its name.")
    config, registry = FinetuneConfig(**run.config), load_registry()
    offers = find_offers(config, registry)
    job = _prepare(config, offers, registry, Path(runs), observer, run=run)
    return _carry_out(job, offers, started=started, resumed=True)


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
    *,
    run: Run | None = None,
) -> Job:
    weights = find_weights(config, runs=runs)
    # Only now: a wrong name or path is told without waiting for torch.
    import torch

    from zoo.engine.optimizer import check_optimizer
    from zoo.engine.precision import choose_device, choose_precision
    from zoo.model import freeze
    from zoo.record import start_record
    from zoo.training import Job

    if config.freeze != "all" or config.optimizer not in ("lbfgs", "cg"):
        check_optimizer(config.optimizer)
    precision = choose_precision(config.precision, choose_device(config.device))
    images = find_images(config, registry, observer)
    model = assemble(config, offers, weights, len(images.classes))
    if weights is not None:
        observer(Note(text=f"Weights: {model.weights}."))
    freeze(model.classifier, config.frozen_stages)
    model.classifier.to(precision.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    record = start_record(config, offers=offers, images=images, model=model, precision=precision)
    if run is None:
        folder = create_run(runs, stem=f"{offers.backbone.spec.name}-{offers.head.spec.name}-{images.name}")
        write_record(folder, record)
    else:
        _check_same_data(run, record)
        folder, record = run.path, {**run.record, "status": "training"}
    return Job(
        folder=folder,
        config=config,
        images=images,
        classifier=model.classifier,
        preprocess=model.preprocess,
        precision=precision,
        record=record,
        observer=observer,
    )


def _carry_out(job: Job, offers: Offers, *, started: float, resumed: bool = False) -> Run:
    from zoo.conclusion import conclude
    from zoo.training import train

    _tell_start(job, offers)
    epochs: list[EpochResult] = []
    try:
        for result in train(job, resumed=resumed):
            append_metrics(job.folder, result.to_dict())
            job.observer(result)
            epochs.append(result)
        results = conclude(job, epochs)
    except (KeyboardInterrupt, ZooError):
        _keep_what_there_is(job, reached=len(epochs))
        raise
    results["seconds"] = job.record["results"].get("seconds", 0.0) + time.perf_counter() - started
    job.record.update(status="finished", results=results)
    write_record(job.folder, job.record)
    from zoo.checkpoint import drop_checkpoint

    drop_checkpoint(job.folder)
    job.observer(Finished(path=str(job.folder), results=results))
    return open_run(job.folder)


def _keep_what_there_is(job: Job, *, reached: int) -> None:
    job.record["status"] = "interrupted"
    write_record(job.folder, job.record)
    can_resume = (job.folder / "checkpoint.pt").is_file()
    if can_resume:
        how = f"'zoo finetune --resume {job.folder}' goes on from the end of the last finished epoch."
    elif reached:
        how = "The best weights so far are saved."
    else:
        how = "No epoch was finished."
    job.observer(Note(text=f"Stopped. {how}", warning=True))


def _check_same_data(run: Run, record: dict[str, Any]) -> None:
    was, now = run.record["data"]["fingerprint"], record["data"]["fingerprint"]
    if was != now:
        raise RunError(
            f"The data of {run.path} is no longer the same: its fingerprint was {was[:12]} and is {now[:12]}.",
            hint="Put the photos back as they were, or start a new run with --weights and this run's name.",
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
            epochs=job.config.epochs,
            steps=-(-counts["train"] // job.config.batch_size),
        )
    )
