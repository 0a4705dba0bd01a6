"""Decides what of the frozen stages' output a run keeps: of the validation photos, and of views of the training photos.

Nothing of it changes what is learnt, only how often it is computed. What is kept, and why the rest is not, is written
to the run record under ``kept``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo.events import Note, Work
from zoo.models.frozen_split import find_frontier
from zoo.models.tracing import UntraceableError
from zoo.training.frozen.activation_cache import KeptLater, KeptPart, KeptViews, keep_part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from zoo.data.loading.loader import Batch, EvalLoader, TrainLoader
    from zoo.models.frozen_split import Frontier
    from zoo.training.job import Job
    from zoo.training.loop import TrainBatches


def shown_views(job: Job) -> int | None:
    """Returns how many views of each training photo are shown in turn; None where every epoch draws its own.

    So it is where fewer views would save nothing: without frozen stages, or with mixup, which mixes images and not what
    the frozen stages make of them.
    """
    saves = _has_frozen(job) and not job.config.mixup
    return job.config.views if saves and (job.config.views or 0) < job.config.epochs else None


def keep_frozen(
    job: Job, train: TrainLoader, val: EvalLoader, *, rest: Callable[[], None] = lambda: None
) -> tuple[TrainBatches, Iterable[Batch]]:
    """Returns what to learn from and what to evaluate on: kept values where they can be had, else the loaders.

    Args:
        job: Its classifier has the weights that it begins with, and is given its frontier; its record is added to.
        train: The training photos.
        val: The validation photos.
        rest: Called now and then while values are computed that are to be kept.
    """
    told = job.record["kept"] = {"values": [], "bytes": 0, "val": False, "views": 0, "reason": ""}
    if not job.processes.alone:
        told["reason"] = "several processes share the photos, in a new way at each step"
        return train, val
    if not _has_frozen(job):
        told["reason"] = "no stage is frozen"
        return train, val
    frontier = None
    try:
        job.classifier.frontier = frontier = _frontier(job)
        told["values"] = [list(shape) for shape in frontier.shapes]
        told["reason"] = _too_large(needed := frontier.image_bytes * len(val.store), job.cache.room())
    except UntraceableError as error:
        told["reason"] = error.message
    if frontier is None or told["reason"]:
        job.observer(Note(text=f"The frozen stages are run in every epoch: {told['reason']}."))
        return train, val
    told.update(val=True, bytes=needed)
    job.cache.reserve("val", needed)

    def keep(batches: Iterable[Batch], loader: TrainLoader | EvalLoader, what: str) -> KeptPart:
        return _keep(
            job, frontier, batches, count=len(loader.store), batch_size=loader.batch_size, what=what, rest=rest
        )

    return _views(job, frontier, train, lambda view: keep(view, train, "train")), KeptLater(
        lambda: keep(val, val, "val")
    )


def _views(
    job: Job, frontier: Frontier, train: TrainLoader, keep: Callable[[Iterable[Batch]], KeptPart]
) -> TrainBatches:
    told, views, count = job.record["kept"], train.views, len(train.store)
    needed = frontier.image_bytes * count * (views or 0)
    if views is None:
        told["reason"] = "each epoch has views of its own"
    elif reason := _too_large(needed, job.cache.room()):
        told["reason"] = reason
        job.observer(Note(text=f"The frozen stages are run over the training photos in every epoch: {reason}."))
    else:
        told.update(views=views, bytes=told["bytes"] + needed)
        job.cache.reserve("train", needed)
        return KeptViews(train, views=views, keep=keep)
    return train


def _has_frozen(job: Job) -> bool:
    return not all(parameter.requires_grad for parameter in job.classifier.backbone.parameters())


def _frontier(job: Job) -> Frontier:
    return find_frontier(
        job.classifier,
        image_size=job.preprocess.size,
        precision=job.precision,
        freeze_norm_stats=job.config.freeze_norm_stats,
    )


def _keep(
    job: Job,
    frontier: Frontier,
    batches: Iterable[Batch],
    *,
    count: int,
    batch_size: int,
    what: str,
    rest: Callable[[], None],
) -> KeptPart:
    def progress(done: int) -> None:
        job.observer(Work(what=f"frozen stages of {what}", done=done, total=count))
        rest()

    return keep_part(
        frontier,
        batches,
        count=count,
        batch_size=batch_size,
        precision=job.precision,
        progress=progress,
        parts=job.parts,
    )


def _too_large(needed: int, free: int) -> str:
    if needed <= free:
        return ""
    return f"to keep what they give takes {needed / 1e9:.3g} GB, and {free / 1e9:.3g} GB may be taken"
