"""A run being made: what it consists of, the photos of its parts, and how an epoch of it is written down."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from zoo.data.loading.cache import PhotoCache
from zoo.data.loading.loader import EvalLoader
from zoo.data.loading.prepare import for_evaluation
from zoo.errors import DataError
from zoo.events import Note, Work
from zoo.runs.run import append_metrics
from zoo.runs.weights import save_weights
from zoo.training.distributed.process_group import SINGLE_PROCESS
from zoo.training.micro_batches import MicroBatches
from zoo.utils.interrupts import Interrupts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from torch import nn

    from zoo.config import FinetuneConfig
    from zoo.data.loading.loader import Batch
    from zoo.data.loading.prepare import Prepare
    from zoo.data.loading.store import PhotoStore
    from zoo.events import EpochResult, Observer
    from zoo.models.classifier import Classifier
    from zoo.models.precision import Precision
    from zoo.plugins.specs import ImageSet, Sample
    from zoo.preprocess import Preprocess
    from zoo.training.distributed.process_group import ProcessGroup

_EVAL_BATCH = 64


@dataclass(slots=True, kw_only=True)
class Job:
    """A run being made: everything checked, loaded and built.

    Attributes:
        folder: The run folder.
        config: What was asked for.
        images: All parts.
        classifier: On the device, its frozen parts frozen.
        preprocess: How pixels become its input.
        precision: What is computed in, and where.
        record: The content of ``run.json`` so far; added to on the way.
        observer: Who is told.
        processes: Those that train together; the first alone writes to the folder.
        started: When, by `time.perf_counter`; of a run that goes on, as if it had never been stopped.
        interrupts: Ctrl-C and SIGTERM.
        cache: Where decoded photos are kept.
        micro_batches: How many images the network is given at a time.
        evaluated: MicroBatches that are ready to be evaluated again, each with its readable samples.
    """

    folder: Path
    config: FinetuneConfig
    images: ImageSet
    classifier: Classifier
    preprocess: Preprocess
    precision: Precision
    record: dict[str, Any]
    observer: Observer
    processes: ProcessGroup = SINGLE_PROCESS
    started: float = field(default_factory=time.perf_counter)
    interrupts: Interrupts = field(init=False)
    cache: PhotoCache = field(init=False)
    micro_batches: MicroBatches = field(init=False)
    evaluated: dict[str, tuple[Iterable[Batch], Sequence[Sample]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        size = self.config.cache_size
        cache = PhotoCache(
            mode=self.config.cache,
            budget=None if size is None else int(size * 2**30),
            workers=self.config.workers or max(1, torch.get_num_threads()),
            device=self.precision.device,
            rank=self.processes.local_rank,
            ranks=self.processes.local_count,
            wait=self.processes.barrier,
        )
        self.cache = cache
        self.interrupts = Interrupts(patient=not self.processes.is_single)
        # A resumed run goes on with the parts that were found to fit.
        self.micro_batches = MicroBatches(self.record["hardware"].get("part_size"), tell=self._tell_parts)

    def _tell_parts(self, size: int) -> None:
        self.record["hardware"]["part_size"] = size
        text = f"Memory ran out: {size} images at a time from here on. The images of a step stay as many."
        self.observer(Note(text=text, warning=True))


def decoded(job: Job, part: str, samples: Sequence[Sample], prepare: Prepare) -> PhotoStore:
    """Returns the photos of a part, each decoded once; unreadable ones are told, recorded and left out."""
    known = job.record["data"].setdefault("cache", {})
    store = job.cache.load(
        part,
        samples,
        prepare,
        progress=lambda done, total: job.observer(Work(what=f"decode {part}", done=done, total=total)),
    )
    if part in known and known[part] is job.cache.placements[part]:  # as it was told before
        return store
    placement = known[part] = job.cache.placements[part]
    for failure in store.failures:
        job.observer(Note(text=f"Left out: {failure.message}", warning=True))
    if len(set(job.processes.all_gather(tuple(failure.message for failure in store.failures)))) > 1:
        raise DataError(
            f"The {part} photos are not the same in every process: some cannot be read everywhere.",
            hint="Is the folder the same on every machine?",
        )
    if store.failures:
        job.record["data"].setdefault("unreadable", {})[part] = [failure.message for failure in store.failures]
    if left := len(store) - store.kept:
        reason = placement["reason"]
        job.observer(Note(text=f"{left} of {len(store)} {part} photos are decoded anew each time: {reason}."))
    return store


def eval_batches(job: Job, part: str, samples: Sequence[Sample]) -> EvalLoader:
    """Returns a part's photos as evaluation sees them."""
    store = decoded(job, part, samples, for_evaluation(job.preprocess))
    return EvalLoader(
        store,
        preprocess=job.preprocess,
        batch_size=_EVAL_BATCH,
        device=job.precision.device,
        rank=job.processes.rank,
        ranks=job.processes.count,
    )


def record_epoch(job: Job, result: EpochResult, classifier: nn.Module) -> EpochResult:
    """Keeps the weights of an epoch if it is the best so far, and its figures. Only then is the checkpoint written.

    A run killed in between goes on from the epoch before and comes by the same again.
    """
    if not job.processes.is_main:
        return result
    if result.best:
        save_weights(job.folder, classifier)
    append_metrics(job.folder, result.to_dict())
    return result
