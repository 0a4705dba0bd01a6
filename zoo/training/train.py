"""Trains a job, and saves as it goes."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from zoo.data.loading.augment_params import Augmentation
from zoo.data.loading.loader import EvalLoader, TrainLoader
from zoo.data.loading.prepare import with_room_for_crops
from zoo.errors import ConfigError
from zoo.events import EpochResult, Note
from zoo.models.classifier import set_training
from zoo.models.runtime import tuned_for
from zoo.training.checkpoint import Learner, load_checkpoint, save_checkpoint
from zoo.training.distributed.ddp import sync_batch_norm
from zoo.training.finite import check_weights
from zoo.training.frozen.policy import cache_frozen_stages, shown_views
from zoo.training.job import decoded, eval_batches, record_epoch
from zoo.training.linear_probe import probe, train_on_features
from zoo.training.loop import fit
from zoo.training.random_state import set_random_states
from zoo.training.resume import DECIDED
from zoo.training.saving import Checkpointer
from zoo.training.settings import average_of, compilation_of, optimizer_of, plan_of
from zoo.training.state import TrainState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from zoo.data.loading.loader import Batch
    from zoo.training.compilation import Compilation
    from zoo.training.job import Job
    from zoo.training.loop import TrainBatches


def train(job: Job, *, resumed: bool = False) -> Iterator[EpochResult]:
    """Trains; yields each epoch's result once it is written down and its weights, if they are the best yet, are saved.

    Args:
        job: What to train.
        resumed: Whether to go on from the run's checkpoint.

    Raises:
        TrainingError: The loss is no longer finite, or the device's memory is too small even for single images.
    """
    with tuned_for(job.precision):
        yield from train_on_features(job) if job.config.freeze == "all" else _train_on_photos(job, resumed=resumed)


def _train_on_photos(job: Job, *, resumed: bool) -> Iterator[EpochResult]:
    config, randomness = job.config, None
    loader, photos = _loaders(job)
    _share_batch_statistics(job, least=loader.least)
    state = TrainState(scaler=job.precision.loss_scaler())
    learner = Learner(network=job.classifier, optimizer=optimizer_of(job), state=state)
    if resumed:
        learner.average = average_of(config, job.classifier)
        randomness = load_checkpoint(job.folder, learner, device=job.precision.device, processes=job.processes)
    saving = Checkpointer(
        lambda: _save(job, learner),
        every=None if config.save_every is None else 60 * config.save_every,
        interrupts=job.interrupts,
        processes=job.processes,
    )
    # Only now: a run that goes on has its weights from the checkpoint.
    train, val = cache_frozen_stages(job, loader, photos, safe_point=saving.safe_point)
    job.evaluated["val"] = val, photos.store.samples
    learner.network = job.classifier
    if not resumed:
        if config.probe:
            yield record_epoch(job, probe(job, loader, val, state), job.classifier)
        learner.average = average_of(config, job.classifier)
    elif learner.average is not None:
        average: Any = learner.average.module
        learner.average.module = job.classifier.like(average.backbone, average.head)
    compilation = compilation_of(job, images=loader.images)
    results = _fit(job, learner, train, val, compilation, safe_point=saving.safe_point)
    if randomness is not None:
        set_random_states(randomness, job.precision.device)  # last of all: what came before may have drawn
    with saving.active():
        for result in results:
            record_epoch(job, result, job.classifier if learner.average is None else learner.average.module)
            saving.end_epoch()
            yield result
            saving.leave()


def _loaders(job: Job) -> tuple[TrainLoader, EvalLoader]:
    config = job.config
    prepare = with_room_for_crops(job.preprocess, crop_scale=config.crop_scale)
    loader = TrainLoader(
        decoded(job, "train", job.images.train, prepare),
        preprocess=job.preprocess,
        augmentation=Augmentation.from_config(config),
        batch_size=config.images_per_step,
        seed=config.seed,
        device=job.precision.device,
        views=shown_views(job),
        rank=job.processes.rank,
        ranks=job.processes.count,
    )
    return loader, eval_batches(job, "val", job.images.val)


def _fit(
    job: Job,
    learner: Learner,
    train: TrainBatches,
    val: Iterable[Batch],
    compilation: Compilation,
    *,
    safe_point: Callable[[], None],
) -> Iterator[EpochResult]:
    return fit(
        learner.network,
        train,
        val,
        optimizer=learner.optimizer,
        plan=plan_of(job.config),
        precision=job.precision,
        set_training=lambda: set_training(job.classifier, freeze_norm_stats=job.config.freeze_norm_stats),
        state=learner.state,
        average=learner.average,
        micro_batches=job.micro_batches,
        compilation=compilation,
        processes=job.processes,
        on_step=job.observer,
        safe_point=safe_point,
    )


def _save(job: Job, learner: Learner) -> None:
    state, rate = learner.state, learner.optimizer.param_groups[0]["lr"]
    check_weights(learner.network, epoch=state.epoch + 1, step=state.step, rate=rate)
    hardware = job.record["hardware"]
    about = {
        "config": json.loads(json.dumps(job.record["config"])),  # as it is read back from 'run.json'
        "seconds": time.perf_counter() - job.started,
        "machine": {name: hardware[name] for name in DECIDED if name in hardware},
    }
    save_checkpoint(job.folder, learner, about=about, device=job.precision.device, processes=job.processes)
    job.record["saved"] = {"epoch": state.epoch, "step": state.step}


def _share_batch_statistics(job: Job, *, least: int) -> None:
    """Has what learns batch statistics look at the images of all processes, or tells that it does not.

    Raises:
        ConfigError: A process would be given `least`, a single image, to take statistics of.
    """
    if job.processes.is_single:
        return
    set_training(job.classifier, freeze_norm_stats=job.config.freeze_norm_stats)
    if left := sync_batch_norm(job.classifier):
        if least < 2:
            raise ConfigError(
                f"A process is given {least} image at a step, of which batch normalisation can learn no statistics.",
                hint="Choose another --batch-size, or say --freeze-norm-stats yes.",
            )
        text = (
            f"{left} batch normalisations learn from the images of one process each: the result is not that of a "
            "single process. With --freeze-norm-stats yes it is."
        )
        job.observer(Note(text=text, warning=True))
