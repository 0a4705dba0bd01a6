"""Trains a job and saves its progress."""

from __future__ import annotations

import dataclasses
import json
import time
from itertools import islice
from typing import TYPE_CHECKING, Any

from zoo.config import AUTO
from zoo.data.loading.augment_params import CropPolicy
from zoo.data.loading.augmenters import build_augmenters, build_mixers
from zoo.data.loading.loader import EvalLoader, TrainLoader
from zoo.data.loading.transform import EvalTransform, shrink_for_crops
from zoo.errors import ConfigError, DivergedError
from zoo.events import Note
from zoo.models.classifier import set_training
from zoo.models.random_state import set_random_states
from zoo.runs.weights import save_weights
from zoo.training.checkpoint import Learner, describe_checkpoint, load_checkpoint, save_checkpoint
from zoo.training.checkpointer import Checkpointer
from zoo.training.distributed.ddp import sync_batch_norm
from zoo.training.estimate import estimate_steps
from zoo.training.finite import check_loss, check_weights
from zoo.training.forward import compute_outputs
from zoo.training.frozen.policy import cache_frozen_stages, cached_views
from zoo.training.job import (
    build_average,
    build_compilation,
    build_optimizer,
    build_plan,
    eval_batches,
    load_photos,
    save_epoch,
)
from zoo.training.linear_probe import fit_probe, fit_start, train_on_features
from zoo.training.loop import fit
from zoo.training.optimizer import OptimizerTraits
from zoo.training.recovery import describe_files, has_lost_weights
from zoo.training.resume import DECIDED
from zoo.training.state import TrainState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torch import nn

    from zoo.data.loading.loader import Batch
    from zoo.events import EpochResult
    from zoo.training.job import Job


def train(job: Job, *, resumed: bool = False) -> Iterator[EpochResult]:
    """Trains; yields the result of every epoch after saving it, and its weights if they are the best so far.

    Args:
        job: The training.
        resumed: Whether to continue from the checkpoint of the run.

    Raises:
        TrainingError: The loss is not finite, or the device's memory is too small for a single image.
    """
    yield from train_on_features(job) if job.config.freeze == "all" else _train_on_photos(job, resumed=resumed)


def _train_on_photos(job: Job, *, resumed: bool) -> Iterator[EpochResult]:
    loader, val_loader = _make_loaders(job)
    _sync_batch_norm(job, min_images=loader.min_images)
    state = TrainState(scaler=job.precision.loss_scaler())
    if job.config.probe and not resumed:
        yield save_epoch(job, fit_probe(job, state), job.classifier)
        fit_start(job, state)
        job.cache.release("train", EvalTransform(job.preprocess))
        loader.crops = CropPolicy.from_config(job.config)
    config = job.config
    learner = Learner(network=job.classifier, optimizer=build_optimizer(job), state=state)
    random_states = _restore(job, learner) if resumed else None
    checkpointer = Checkpointer(
        lambda: _save(job, learner),
        every=None if config.save_every is None else 60 * config.save_every,
        interrupts=job.interrupts,
        processes=job.processes,
    )
    # Only now, because a resumed run gets its weights from the checkpoint.
    batches, val = cache_frozen_stages(job, loader, val_loader, safe_point=checkpointer.safe_point)
    job.evaluated["val"] = val, val_loader.store.samples
    _follow_split(job, learner)
    plan = build_plan(job, steps=batches.steps)
    results = fit(
        learner.network,
        batches,
        val,
        optimizer=learner.optimizer,
        plan=plan,
        precision=job.precision,
        set_training=lambda: set_training(job.classifier, freeze_norm_stats=config.freeze_norm_stats),
        state=state,
        traits=OptimizerTraits.from_choice(job.parts.optimizer),
        mixers=build_mixers(job.parts.augmentations, job.train_preprocess, classes=len(job.images.classes)),
        classes=len(job.images.classes),
        average=learner.average,
        micro_batches=job.micro_batches,
        compilation=build_compilation(job, images=loader.images_per_step),
        processes=job.processes,
        monitor=job.monitor,
        on_step=estimate_steps(job),
        safe_point=checkpointer.safe_point,
    )
    if random_states is not None:
        set_random_states(random_states, job.precision.device)  # last, because the code above may draw numbers
    try:
        with checkpointer.active():
            for result in results:
                save_epoch(job, result, _averaged(learner))
                checkpointer.end_epoch()
                yield result
                checkpointer.exit_if_requested()
    except DivergedError:
        job.restart = job.processes.is_single and not _is_checkpoint_good(job, learner, val)
        raise
    if plan.is_over(state) and state.epoch < plan.epochs:
        reason = f"{job.config.monitor} did not improve"
        if job.config.monitor == AUTO:
            reason = "the validation loss did not fall by more than its standard error"
        job.stopped = f"after epoch {state.epoch} of {plan.epochs}: {reason}"


def _restore(job: Job, learner: Learner) -> dict[str, Any] | None:
    """Restores a learner from the checkpoint of a run, and returns what `load_checkpoint` does."""
    learner.average = build_average(job.config, job.classifier)
    random_states = load_checkpoint(job.folder, learner, device=job.precision.device, processes=job.processes)
    if job.processes.is_main and has_lost_weights(job.folder, describe_checkpoint(job.folder)):
        save_weights(job.folder, _averaged(learner))
    return random_states


def _follow_split(job: Job, learner: Learner) -> None:
    """Gives a learner the network that is left to train, without the stages whose output is cached, and its average."""
    learner.network = job.classifier
    if learner.average is None:
        learner.average = build_average(job.config, job.classifier)
    else:  # of a resumed run, whose checkpoint has the average of all weights
        average: Any = learner.average.module
        learner.average.module = job.classifier.like(average.backbone, average.head)


def _is_checkpoint_good(job: Job, learner: Learner, val: Iterable[Batch]) -> bool:
    """Returns whether a run that diverged may continue from its checkpoint, which the learner gets.

    The weights may have been saved when they were lost already, but still finite.
    """
    if not job.record.saved:
        return False
    load_checkpoint(job.folder, learner, device=job.precision.device)
    outputs = compute_outputs(learner.network, islice(val, 1), job.precision, micro_batches=job.micro_batches)
    return not learner.state.log.is_lost(outputs.loss(learner.network.head), classes=len(job.images.classes))


def _averaged(learner: Learner) -> nn.Module:
    """Returns the network that is evaluated and saved."""
    return learner.network if learner.average is None else learner.average.module


def _make_loaders(job: Job) -> tuple[TrainLoader, EvalLoader]:
    config, preprocess = job.config, job.train_preprocess
    loader = TrainLoader(
        load_photos(job, "train", job.images.train, shrink_for_crops(preprocess, crop_scale=config.crop_scale)),
        preprocess=preprocess,
        crops=CropPolicy.from_config(config),
        augmenters=build_augmenters(job.parts.augmentations, preprocess, classes=len(job.images.classes)),
        batch_size=config.images_per_step,
        seed=config.seed,
        device=job.precision.device,
        views=cached_views(job),
        sampler=config.sampler,
        rank=job.processes.rank,
        world_size=job.processes.count,
    )
    return loader, eval_batches(job, "val")


def _save(job: Job, learner: Learner) -> None:
    """Saves the state, unless it is one that nobody wants to go back to; at a signal it is saved anyway."""
    state, rate = learner.state, learner.optimizer.param_groups[0]["lr"]
    state.log.check(epoch=state.epoch + 1)
    check_weights(learner.network, epoch=state.epoch + 1, step=state.step, rate=rate)
    if state.meter is not None and state.meter.images:
        check_loss(state.meter.read()[0], epoch=state.epoch + 1, step=state.step, rate=rate)
    if learner.average is not None:
        check_weights(_averaged(learner), epoch=state.epoch + 1, step=state.step, rate=rate, what="averaged weights")
    lost = state.log.is_lost(state.log.last, classes=len(job.images.classes))
    if job.processes.broadcast(lambda: lost and job.interrupts.requested is None):
        return
    hardware = job.record.hardware
    metadata = {
        "config": json.loads(json.dumps(job.record.config)),  # with the types that 'run.json' has
        "seconds": time.perf_counter() - job.started,
        "machine": {name: hardware[name] for name in DECIDED if name in hardware},
        **(describe_files(job.folder) if job.processes.is_main else {}),
    }
    save_checkpoint(job.folder, learner, metadata=metadata, device=job.precision.device, processes=job.processes)
    job.record = dataclasses.replace(job.record, saved={"epoch": state.epoch, "step": state.step})


def _sync_batch_norm(job: Job, *, min_images: int) -> None:
    """Makes batch normalisations compute statistics over the images of all processes, or warns if they cannot.

    Raises:
        ConfigError: A process would compute statistics over a single image.
    """
    if job.processes.is_single:
        return
    set_training(job.classifier, freeze_norm_stats=job.config.freeze_norm_stats)
    if unsynced := sync_batch_norm(job.classifier):
        if min_images < 2:
            raise ConfigError(
                f"A process gets only {min_images} image in some steps, too few for batch normalisation.",
                hint="Choose another --batch-size, or pass --freeze-norm-stats yes.",
            )
        text = (
            f"{unsynced} batch normalisations see the images of one process only, so the result differs from that of a "
            "single process. --freeze-norm-stats yes avoids it."
        )
        job.observer(Note(text=text, warning=True))
