"""Decides what of the frozen stages' output a run keeps: of the validation photos, and of views of the training photos.

Nothing of it changes what is learnt, only how often it is computed. What is kept, and why the safe_point is not, is written
to the run record under ``kept``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo.events import Note, Work
from zoo.models.frozen_split import SplitClassifier, find_frozen_split
from zoo.models.tracing import UntraceableError
from zoo.training.frozen.activation_cache import ActivationCache, CachedViews, LazyActivationCache, cache_activations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from zoo.data.loading.loader import Batch, EvalLoader, TrainLoader
    from zoo.models.frozen_split import FrozenSplit
    from zoo.training.job import Job
    from zoo.training.loop import TrainBatches


def shown_views(job: Job) -> int | None:
    """Returns how many views of each training photo are shown in turn; None where every epoch draws its own.

    So it is where fewer views would save nothing: without frozen stages, or with mixup, which mixes images and not what
    the frozen stages make of them.
    """
    saves = _has_frozen(job) and not job.config.mixup
    return job.config.views if saves and (job.config.views or 0) < job.config.epochs else None


def cache_frozen_stages(
    job: Job, train: TrainLoader, val: EvalLoader, *, safe_point: Callable[[], None] = lambda: None
) -> tuple[TrainBatches, Iterable[Batch]]:
    """Returns what to learn from and what to evaluate on: kept values where they can be had, else the loaders.

    Args:
        job: Its classifier has the weights that it begins with, and is split where it can be; its record is added to.
        train: The training photos.
        val: The validation photos.
        safe_point: Called now and then while values are computed that are to be kept.
    """
    told = job.record["kept"] = {"values": [], "bytes": 0, "val": False, "views": 0, "reason": ""}
    if not job.processes.is_single:
        told["reason"] = "several processes share the photos, in a new way at each step"
        return train, val
    if not _has_frozen(job):
        told["reason"] = "no stage is frozen"
        return train, val
    split = None
    try:
        split = _frontier(job)
        job.classifier = SplitClassifier(job.classifier.backbone, job.classifier.head, split)
        told["values"] = [list(shape) for shape in split.shapes]
        told["reason"] = _too_large(needed := split.image_bytes * len(val.store), job.cache.room())
    except UntraceableError as error:
        told["reason"] = error.message
    if split is None or told["reason"]:
        job.observer(Note(text=f"The frozen stages are run in every epoch: {told['reason']}."))
        return train, val
    told.update(val=True, bytes=needed)
    job.cache.reserve("val", needed)

    def keep(batches: Iterable[Batch], loader: TrainLoader | EvalLoader, what: str) -> ActivationCache:
        return _keep(
            job, split, batches, count=len(loader.store), batch_size=loader.batch_size, what=what, safe_point=safe_point
        )

    return _views(job, split, train, lambda view: keep(view, train, "train")), LazyActivationCache(
        lambda: keep(val, val, "val")
    )


def _views(
    job: Job, split: FrozenSplit, train: TrainLoader, keep: Callable[[Iterable[Batch]], ActivationCache]
) -> TrainBatches:
    told, views, count = job.record["kept"], train.views, len(train.store)
    needed = split.image_bytes * count * (views or 0)
    if views is None:
        told["reason"] = "each epoch has views of its own"
    elif reason := _too_large(needed, job.cache.room()):
        told["reason"] = reason
        job.observer(Note(text=f"The frozen stages are run over the training photos in every epoch: {reason}."))
    else:
        told.update(views=views, bytes=told["bytes"] + needed)
        job.cache.reserve("train", needed)
        return CachedViews(train, views=views, keep=keep)
    return train


def _has_frozen(job: Job) -> bool:
    return not all(parameter.requires_grad for parameter in job.classifier.backbone.parameters())


def _frontier(job: Job) -> FrozenSplit:
    return find_frozen_split(
        job.classifier,
        image_size=job.preprocess.size,
        precision=job.precision,
        freeze_norm_stats=job.config.freeze_norm_stats,
    )


def _keep(
    job: Job,
    split: FrozenSplit,
    batches: Iterable[Batch],
    *,
    count: int,
    batch_size: int,
    what: str,
    safe_point: Callable[[], None],
) -> ActivationCache:
    def progress(done: int) -> None:
        job.observer(Work(what=f"frozen stages of {what}", done=done, total=count))
        safe_point()

    return cache_activations(
        split,
        batches,
        count=count,
        batch_size=batch_size,
        precision=job.precision,
        progress=progress,
        micro_batches=job.micro_batches,
    )


def _too_large(needed: int, free: int) -> str:
    if needed <= free:
        return ""
    return f"to keep what they give takes {needed / 1e9:.3g} GB, and {free / 1e9:.3g} GB may be taken"
