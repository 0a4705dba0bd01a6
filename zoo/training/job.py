"""A training in progress, and what the training loop needs: photos, optimizer, compilation, average, saved epochs."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from zoo.data.loading.cache import PhotoCache
from zoo.data.loading.loader import EvalLoader
from zoo.data.loading.transform import EvalTransform
from zoo.errors import DataError
from zoo.events import Note, Work
from zoo.models.engines import TORCH, UNSUPPORTED, Engine, choose_engine
from zoo.runs.run import append_metrics
from zoo.runs.weights import save_weights
from zoo.training.balance import ClassBalance
from zoo.training.compilation import UNDECIDED, Compilation
from zoo.training.distributed.process_group import SINGLE_PROCESS
from zoo.training.ema import WeightAverage
from zoo.training.loop import Plan
from zoo.training.micro_batches import MicroBatches
from zoo.training.monitor import Monitor
from zoo.training.optimizer import OptimizerTraits, make_optimizer, optimizer_kernels, parameter_groups
from zoo.training.parts import Parts
from zoo.training.schedule import check_rates, make_rate_factor
from zoo.utils.interrupts import Interrupts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from torch import Tensor, nn

    from zoo.config import FinetuneConfig
    from zoo.data.loading.loader import Batch
    from zoo.data.loading.store import PhotoStore
    from zoo.data.loading.transform import Transform
    from zoo.events import EpochResult, Observer
    from zoo.models.classifier import Classifier
    from zoo.models.offers import Offers
    from zoo.models.precision import Precision
    from zoo.plugins.specs import ImageSet, Sample
    from zoo.preprocess import Preprocess
    from zoo.runs.record import RunRecord
    from zoo.training.distributed.process_group import ProcessGroup
    from zoo.training.frozen.features import FeatureBatches
    from zoo.training.parts import Parts
    from zoo.training.scores import Scores

_EVAL_BATCH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class FrozenFeatures:
    """What the head of a job caches of photos, with a backbone that does not change.

    Attributes:
        run: Maps normalised images to it, in the engine of the run.
        train: That of the training photos, in batches.
        val: That of the validation photos, in batches.
        vectors: The feature vectors of the training and of the validation photos, ``(N, D)`` float32 each; None if the
            configuration needs none.
    """

    run: Callable[[Tensor], Any]
    train: FeatureBatches
    val: FeatureBatches
    vectors: tuple[Tensor, Tensor] | None = None


@dataclass(slots=True, kw_only=True)
class Job:
    """A training in progress, with everything checked, loaded and built.

    Attributes:
        folder: The run folder.
        config: The configuration.
        offers: The backbone, the head and the loss that the configuration names.
        parts: The other parts that it names: optimizer, schedule ...
        images: All splits.
        classifier: The network, on the device; split at the end of its frozen stages once their output is cached.
        preprocess: How pixels become its input.
        precision: The precision of forward passes, and the device.
        record: The content of ``run.json`` so far; replaced as training proceeds.
        balance: What is done about classes of different size.
        observer: Called with events. What it raises in an epoch ends the training as a signal does: after a save.
        processes: The processes that train together; only the main one writes to the folder.
        started: Start time by `time.perf_counter`; for a resumed run, as if it had never been stopped.
        pictures: Whether to write the pictures of the finished run.
        trial: As in `zoo.training.request.TrainingRequest`.
        scores: As in `zoo.training.request.TrainingRequest`.
        shared_features: As in `zoo.training.request.TrainingRequest`.
        monitor: Measures the epochs.
        interrupts: Ctrl-C, SIGTERM and SIGHUP, and errors of the observer.
        cache: The cache of decoded photos.
        micro_batches: How many images the network processes at a time.
        stopped: When and why training ended before the last epoch; empty if it did not.
        restart: Whether the run diverged, and its checkpoint is no good state either.
        features: Features of the backbone as it was before training.
        evaluated: Splits whose batches can be evaluated again, each with its readable samples.
    """

    folder: Path
    config: FinetuneConfig
    offers: Offers
    parts: Parts
    images: ImageSet
    classifier: Classifier
    preprocess: Preprocess
    precision: Precision
    record: RunRecord
    balance: ClassBalance = field(default_factory=ClassBalance)
    observer: Observer
    processes: ProcessGroup = SINGLE_PROCESS
    started: float = field(default_factory=time.perf_counter)
    pictures: bool = True
    trial: bool = False
    scores: dict[str, Scores] | None = None
    shared_features: dict[tuple[Any, ...], Any] | None = None
    monitor: Monitor = field(init=False)
    interrupts: Interrupts = field(init=False)
    cache: PhotoCache = field(init=False)
    micro_batches: MicroBatches = field(init=False)
    features: FrozenFeatures | None = None
    stopped: str = ""
    restart: bool = False
    evaluated: dict[str, tuple[Iterable[Batch], Sequence[Sample]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        gigabytes = self.config.cache_size
        self.cache = PhotoCache(
            mode=self.config.cache,
            budget=None if gigabytes is None else int(gigabytes * 2**30),
            workers=self.config.workers or max(1, torch.get_num_threads()),
            device=self.precision.device,
            local_rank=self.processes.local_rank,
            local_world_size=self.processes.local_count,
            barrier=self.processes.barrier,
            multi_hot=len(self.images.classes) if self.images.multi_label else None,
        )
        self.interrupts = Interrupts(defer_repeats=not self.processes.is_single)
        self.observer = self.interrupts.defer_errors(self.observer)
        self.monitor = Monitor(
            rule=self.config.monitor,
            metrics=self.parts.metrics,
            monitored=self.parts.monitored,
            classes=self.images.classes,
            observer=self.observer,
        )
        # A resumed run continues with the size that fitted into memory.
        size = self.record.hardware.get("micro_batch_size")
        self.micro_batches = MicroBatches(size, on_change=self._record_micro_batches)

    @property
    def train_preprocess(self) -> Preprocess:
        """How pixels become the input of a training step, which may be smaller."""
        return self.preprocess.for_training(self.config.train_size)

    def _record_micro_batches(self, size: int) -> None:
        self.record = self.record.with_hardware(micro_batch_size=size)
        text = f"Out of memory: continuing with {size} images at a time. Each step still uses the whole batch."
        self.observer(Note(text=text, warning=True))


def set_values(job: Job, **values: Any) -> None:
    """Replaces values of a job's configuration by what was chosen for it, in its record too."""
    before, job.config = job.config, replace(job.config, **values)
    requested = {**find_replaced(before, job.config), **job.record.requested}
    job.record = replace(job.record, config=job.config.to_dict(), requested=requested)


def find_replaced(requested: FinetuneConfig, chosen: FinetuneConfig) -> dict[str, Any]:
    """Returns the fields of a configuration in which what was chosen differs, as they were requested."""
    now = chosen.to_dict()
    return {name: value for name, value in requested.to_dict().items() if value != now[name]}


def load_photos(job: Job, split: str, samples: Sequence[Sample], transform: Transform) -> PhotoStore:
    """Returns the photos of a split, decoded into the cache; leaves out unreadable ones.

    What it finds when a split is loaded for the first time is reported and recorded.

    Raises:
        DataError: No photo is readable, or the processes cannot read the same ones.
    """
    loaded_before = split in job.cache.placements
    store = job.cache.load(
        split,
        samples,
        transform,
        progress=lambda done, total: job.observer(Work(what=f"decode {split}", done=done, total=total)),
    )
    if loaded_before:
        return store
    placement = job.cache.placements[split]
    job.record = job.record.with_data(cache={**job.record.data.cache, split: placement})
    messages = [failure.message for failure in store.failures]
    for message in messages:
        job.observer(Note(text=f"Left out: {message}", warning=True))
    if len(set(job.processes.all_gather(tuple(messages)))) > 1:
        raise DataError(
            f"Some {split} photos can be read by some processes, but not by all.",
            hint="Is the folder the same on every machine?",
        )
    if messages:
        job.record = job.record.with_data(unreadable={**job.record.data.unreadable, split: messages})
    if uncached := len(store) - store.cached:
        reason = placement["reason"]
        job.observer(
            Note(text=f"{uncached} of {len(store)} {split} photos are decoded again in every epoch: {reason}.")
        )
    return store


def eval_batches(job: Job, split: str, samples: Sequence[Sample] | None = None) -> EvalLoader:
    """Returns the photos of a split, preprocessed for evaluation, in batches.

    Args:
        job: The training.
        split: The name of the split.
        samples: Those of its photos to load, if the split is not loaded yet; by default all.
    """
    photos = getattr(job.images, split) if samples is None else samples
    return EvalLoader(
        load_photos(job, split, photos, EvalTransform(job.preprocess)),
        preprocess=job.preprocess,
        batch_size=_EVAL_BATCH,
        device=job.precision.device,
        rank=job.processes.rank,
        world_size=job.processes.count,
    )


def find_engine(
    job: Job, network: nn.Module, *, what: str, images: int, image_size: tuple[int, int] | None = None
) -> Engine:
    """Returns the engine that runs a network without gradients; records the first decision, which holds for the run.

    Args:
        job: The training.
        network: As for `zoo.models.engines.choose_engine`.
        what: Names the part of the network.
        images: How many images it will run on.
        image_size: (height, width) in pixels; by default that of evaluation.
    """
    height, width = image_size or job.preprocess.size
    if not job.processes.is_single:
        return Engine(name=TORCH, reason="several processes", run=network)
    if job.config.precision not in ("auto", "fp32"):
        return Engine(name=TORCH, reason=f"--precision {job.config.precision}", run=network)
    if job.config.compile == "yes":  # of the whole network, frozen stages included
        return Engine(name=TORCH, reason="--compile yes", run=network)
    recorded = job.record.hardware.get("engine")
    engine = choose_engine(
        network,
        images=images,
        image_size=(height, width),
        precision=job.precision,
        key=f"{job.record.backbone}, {what}, {height} x {width}",
        name=recorded["name"] if recorded else "auto",
    )
    if not recorded:
        job.record = job.record.with_hardware(engine=engine.describe())
        if engine.reason.startswith(UNSUPPORTED):
            job.observer(Note(text=f"{engine.reason}. It runs in torch."))
    return engine


def build_average(config: FinetuneConfig, network: nn.Module) -> WeightAverage | None:
    """Returns the moving average of a network's weights, or None where the configuration asks for none."""
    return None if config.ema is None else WeightAverage(network, decay=config.ema)


def build_optimizer(job: Job) -> torch.optim.Optimizer:
    """Returns the optimizer of the trainable parameters; records which kernels it uses."""
    config = job.config
    groups = parameter_groups(job.classifier, config, auto_decay=job.parts.optimizer.spec.auto_weight_decay)
    optimizer = make_optimizer(job.parts.optimizer, groups, lr=config.lr, momentum=config.momentum)
    job.record = job.record.with_hardware(optimizer_kernels=optimizer_kernels(optimizer))
    return optimizer


def build_plan(job: Job, *, steps: int) -> Plan:
    """Returns the plan of a training, after its schedule was tried.

    Args:
        job: The training.
        steps: Steps per epoch, unless the optimizer takes one on all photos.

    Raises:
        PluginError: The schedule failed.
    """
    config, schedule = job.config, job.parts.schedule
    steps = 1 if OptimizerTraits.from_choice(job.parts.optimizer).full_batch else steps
    check_rates(schedule, steps=config.epochs * steps, warmup=config.warmup)
    return Plan.from_config(config, make_rate_factor(schedule, warmup=config.warmup))


def build_compilation(job: Job, *, images: int) -> Compilation:
    """Returns what calls the network, compiled or not; records the decision and its reason.

    Args:
        job: The training.
        images: Images of this process in a whole step. (A resumed run may start with the last, shorter step of an
            epoch.)
    """

    def record(on: bool, reason: str) -> None:
        if on and not job.record.hardware.get("compile"):
            job.observer(Note(text=f"Compiling the network ({reason}); the next step takes a while."))
        job.record = job.record.with_hardware(compile=on, compile_reason=reason)

    compilation = partial(
        Compilation, device=job.precision.device, images=images, micro_batches=job.micro_batches, on_change=record
    )
    hardware = job.record.hardware
    if hardware.get("compile_reason", UNDECIDED) != UNDECIDED:  # a resumed run keeps its decision
        return compilation("yes" if hardware["compile"] else "no", reason=hardware["compile_reason"])
    if job.config.compile == "auto" and not job.processes.is_single:  # the processes might decide differently
        return compilation("no", reason="several processes")
    return compilation(job.config.compile)


def save_epoch(job: Job, result: EpochResult, classifier: nn.Module) -> EpochResult:
    """Saves the metrics of an epoch, then its weights if it is the best so far; returns the result.

    The checkpoint is written afterwards: a run that is killed in between repeats the epoch, with the same result.
    Weights without metrics would look damaged (`zoo.training.recovery`).
    """
    if job.processes.is_main:
        append_metrics(job.folder, result.to_dict())
        if result.best:
            save_weights(job.folder, classifier)
    return result
