"""Trains the head of a job on what its backbone gives, which is run once: the probe, and runs with all of it frozen."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from zoo.config import SOLVERS
from zoo.engine.evaluate import run_over
from zoo.engine.features import FeatureBatches, OnFeatures, keep_features, solve_head
from zoo.engine.fit import fit
from zoo.engine.folding import fold_batch_norm
from zoo.engine.state import TrainState
from zoo.events import EpochResult, Note, Work
from zoo.finetuning.job import eval_batches, written_down
from zoo.finetuning.settings import average_of, compilation_of, optimizer_of, plan_of
from zoo.model import Classifier

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from zoo.data.loader import Batch, TrainLoader
    from zoo.finetuning.job import Job

PROBE_WEIGHT_DECAY = 0.1  # the best of a grid from 0 to 1 on 700 to 1,800 photos; see docs/recipes.md


def probe(job: Job, loader: TrainLoader, val: Iterable[Batch], state: TrainState) -> EpochResult:
    """Fits the head on frozen features, so that fine-tuning does not begin by tearing the backbone apart.

    Kumar et al. 2022, https://arxiv.org/abs/2202.10054: linear probing, then fine-tuning.
    """
    started = time.perf_counter()
    kept = _keep(job, loader.centred(), len(loader.store), "probe")
    loss = _solve(job, kept, solver="lbfgs", weight_decay=PROBE_WEIGHT_DECAY)
    return _evaluated(job, val, state, epoch=0, loss=loss, images=len(kept.labels), started=started)


def train_on_features(job: Job) -> Iterator[EpochResult]:
    """Trains the head of a job whose whole backbone is frozen; yields results as `zoo.finetuning.training.train`."""
    config, head = job.config, job.classifier.head
    job.observer(Note(text="The backbone is run once, over the photos as evaluation sees them: no crops, no flips."))
    state, started = TrainState(), time.perf_counter()
    val_photos = eval_batches(job, "val", job.images.val)
    train_photos = eval_batches(job, "train", job.images.train)
    kept = _keep(job, train_photos, len(train_photos.store), "keep features of train")
    if config.optimizer in SOLVERS:
        loss = _solve(job, kept, solver=config.optimizer, weight_decay=config.weight_decay)
        result = _evaluated(job, val_photos, state, epoch=1, loss=loss, images=len(kept.labels), started=started)
        yield written_down(job, result, job.classifier)
        return
    val = _keep(job, val_photos, len(val_photos.store), "keep features of val")
    if not job.processes.first:
        return  # a head alone is not worth sharing: the first process trains it, `conclude` hands it round
    network = OnFeatures(head)
    average = average_of(config, network)
    best: Any = network if average is None else average.module
    for result in fit(
        network,
        kept,
        val,
        optimizer=optimizer_of(job),
        plan=plan_of(config),
        precision=job.precision,
        set_training=network.train,
        state=state,
        average=average,
        parts=job.parts,
        compilation=compilation_of(job, images=kept.images),
        on_step=job.observer,
    ):
        yield written_down(job, result, Classifier(job.classifier.backbone, best.head))


def _solve(job: Job, kept: FeatureBatches, *, solver: str, weight_decay: float) -> float:
    head = job.classifier.head
    loss = job.processes.decide(lambda: solve_head(head, kept, solver=solver, weight_decay=weight_decay))
    job.processes.share(head)
    return loss


def _keep(job: Job, batches: Any, total: int, what: str) -> FeatureBatches:
    return keep_features(
        fold_batch_norm(job.classifier.backbone, image_size=job.preprocess.size, precision=job.precision),
        job.classifier.head,
        batches,
        precision=job.precision,
        batch_size=job.config.step_images,
        seed=job.config.seed,
        progress=lambda done: job.observer(Work(what=what, done=min(total, done * job.processes.count), total=total)),
        parts=job.parts,
        processes=job.processes,
    )


def _evaluated(
    job: Job, val: Iterable[Batch], state: TrainState, *, epoch: int, loss: float, images: int, started: float
) -> EpochResult:
    trained = time.perf_counter() - started
    outputs = run_over(job.classifier, val, job.precision, parts=job.parts, processes=job.processes)
    val_loss, val_accuracy = outputs.loss(job.classifier.head), outputs.accuracy()
    return EpochResult(
        epoch=epoch,
        train_loss=loss,
        train_accuracy=float("nan"),
        val_loss=val_loss,
        val_accuracy=val_accuracy,
        learning_rate=0.0,
        seconds=time.perf_counter() - started,
        images_per_second=images / trained,
        best=state.improve(val_accuracy, val_loss),
    )
