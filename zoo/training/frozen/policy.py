"""Decides what to cache of the output of frozen stages, for the validation photos and for views of the training photos.

The decision changes no result, only how often the stages are computed. The run record lists it, with the reasons,
under ``activation_cache``.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from zoo.events import Note, Work
from zoo.models.engines import TORCH
from zoo.models.frozen_split import FrozenPart, SplitClassifier, find_frozen_split
from zoo.models.tracing import UntraceableError
from zoo.training.finite import FrozenOutputs
from zoo.training.frozen.activation_cache import ActivationCache, CachedViews, LazyActivationCache, cache_activations
from zoo.training.job import find_engine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from zoo.data.loading.loader import Batch, EvalLoader, TrainLoader
    from zoo.models.frozen_split import FrozenSplit
    from zoo.training.job import Job
    from zoo.training.step_batches import TrainBatches


def cached_views(job: Job) -> int | None:
    """Returns how many views of each training photo take turns; None if every epoch has views of its own.

    It is None where fewer views would save no computation: without frozen stages, and where augmentations mix images,
    because activations are not mixed.
    """
    saves_work = _has_frozen_stages(job) and not any(each.spec.mixes_labels for each in job.parts.augmentations)
    return job.config.views if saves_work and (job.config.views or 0) < job.config.epochs else None


def cache_frozen_stages(
    job: Job, train: TrainLoader, val: EvalLoader, *, safe_point: Callable[[], None] = lambda: None
) -> tuple[TrainBatches, Iterable[Batch]]:
    """Returns the training and validation batches: cached activations if they fit into memory, else photos.

    Args:
        job: The training; its classifier has its initial weights. Its record is updated, and its classifier is split at
            the end of the frozen stages, if that is possible.
        train: The training photos.
        val: The validation photos.
        safe_point: Called from time to time while activations are computed.
    """
    batches, activations, record = _cache(job, train, val, safe_point)
    job.record = dataclasses.replace(job.record, activation_cache=dataclasses.asdict(record))
    return batches, activations


@dataclass(frozen=True, slots=True, kw_only=True)
class _CacheRecord:
    """The ``activation_cache`` of the run record.

    Attributes:
        values: Shapes of the activations of an image.
        bytes: Size of the cache, at most: training images may be smaller.
        val: Whether the activations of the validation photos are cached.
        views: Number of views of the training photos whose activations are cached.
        reason: Why no more is cached; empty if everything is.
        engine: The engine that runs the frozen stages; empty if the backbone is not split.
    """

    values: list[list[int]] = field(default_factory=list)
    bytes: int = 0
    val: bool = False
    views: int = 0
    reason: str = ""
    engine: str = ""


def _cache(
    job: Job, train: TrainLoader, val: EvalLoader, safe_point: Callable[[], None]
) -> tuple[TrainBatches, Iterable[Batch], _CacheRecord]:
    if not job.processes.is_single:
        reason = "several processes share the photos, in a new way at each step"
        return train, val, _CacheRecord(reason=reason)
    if not _has_frozen_stages(job):
        return train, val, _CacheRecord(reason="no stage is frozen")
    record = _CacheRecord()
    try:
        images = Counter({val.preprocess.size: len(val.store)})
        images[train.preprocess.size] += len(train.store) * (train.views or job.config.epochs)
        split, engine = _split(job, images)
        record = _CacheRecord(values=[list(shape) for shape in split.shapes], engine=engine)
        reason = _why_too_large(needed := split.image_bytes * len(val.store), job.cache.available_bytes())
    except UntraceableError as error:
        reason = f"the backbone cannot be split, because {error.message}"
    if reason:
        job.observer(Note(text=f"The frozen stages run in every epoch: {reason}."))
        return train, val, dataclasses.replace(record, reason=reason)
    job.cache.reserve("val", needed)
    record = dataclasses.replace(record, val=True, bytes=needed)

    def fill(batches: Iterable[Batch], loader: TrainLoader | EvalLoader, name: str) -> ActivationCache:
        def progress(done: int) -> None:
            job.observer(Work(what=f"cache activations of {name}", done=done, total=len(loader.store)))
            safe_point()

        return cache_activations(
            split,
            batches,
            count=len(loader.store),
            batch_size=loader.batch_size,
            precision=job.precision,
            progress=progress,
            micro_batches=job.micro_batches,
            described=FrozenOutputs(what="outputs of the frozen stages", split=name, samples=loader.store.samples),
        )

    activations = LazyActivationCache(lambda: fill(val, val, "val"))
    views, needed = train.views, split.image_bytes * len(train.store) * (train.views or 0)
    if views is None:
        return train, activations, dataclasses.replace(record, reason="each epoch has views of its own")
    if reason := _why_too_large(needed, job.cache.available_bytes()):
        job.observer(Note(text=f"The frozen stages run over the training photos in every epoch: {reason}."))
        return train, activations, dataclasses.replace(record, reason=reason)
    job.cache.reserve("train", needed)
    record = dataclasses.replace(record, views=views, bytes=record.bytes + needed)
    return CachedViews(train, views=views, fill=lambda view: fill(view, train, "train")), activations, record


def _has_frozen_stages(job: Job) -> bool:
    return not all(parameter.requires_grad for parameter in job.classifier.backbone.parameters())


def _split(job: Job, images: Mapping[tuple[int, int], int]) -> tuple[FrozenSplit, str]:
    """Splits the classifier of a job at the end of its frozen stages.

    Args:
        job: The training.
        images: How many images of each (height, width) the frozen stages will run on.

    Returns:
        The split, and the name of the engine that runs its frozen part.
    """
    split = find_frozen_split(
        job.classifier,
        image_sizes=list(images),
        precision=job.precision,
        freeze_norm_stats=job.config.freeze_norm_stats,
    )
    frozen = FrozenPart(split).eval()
    engines = {
        size: find_engine(job, frozen, what="frozen stages", images=count, image_size=size)
        for size, count in images.items()
    }
    split = dataclasses.replace(split, engines={size: each.run for size, each in engines.items() if each.name != TORCH})
    job.classifier = SplitClassifier(job.classifier.backbone, job.classifier.head, split)
    return split, engines[job.preprocess.size].name


def _why_too_large(needed: int, free: int) -> str:
    if needed <= free:
        return ""
    return f"caching their output takes {needed / 1e9:.3g} GB, and {free / 1e9:.3g} GB are available"
