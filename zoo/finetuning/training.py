"""Trains a job, on photos or on the kept features of a frozen backbone, and saves as it goes."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from zoo.config import SOLVERS
from zoo.data.cache import PhotoCache
from zoo.data.draws import Augmentation
from zoo.data.loader import EvalLoader, TrainLoader
from zoo.data.prepare import for_evaluation, with_room_for_crops
from zoo.engine.compilation import Compilation
from zoo.engine.evaluate import run_over
from zoo.engine.features import FeatureBatches, OnFeatures, keep_features, solve_head
from zoo.engine.finite import check_weights
from zoo.engine.fit import Plan, fit
from zoo.engine.folding import fold_batch_norm
from zoo.engine.machine import tuned_for
from zoo.engine.memory import Parts, is_out_of_memory
from zoo.engine.optimizer import make_optimizer, optimizer_kernels
from zoo.engine.parallel import share_batch_statistics
from zoo.engine.processes import ALONE
from zoo.engine.randomness import set_random_states
from zoo.engine.saving import Saving
from zoo.engine.state import TrainState
from zoo.errors import ConfigError, DataError, TrainingError
from zoo.events import EpochResult, Note, Work
from zoo.finetuning.checkpoint import Learner, load_checkpoint, save_checkpoint, save_weights
from zoo.finetuning.keeping import keep_frozen, shown_views
from zoo.finetuning.resumption import DECIDED
from zoo.interrupts import Interrupts
from zoo.model import Classifier, parameter_groups, set_training
from zoo.run import append_metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from torch import nn

    from zoo.config import FinetuneConfig
    from zoo.data.loader import Batch
    from zoo.data.prepare import Prepare
    from zoo.data.store import PhotoStore
    from zoo.engine.fit import TrainBatches
    from zoo.engine.precision import Precision
    from zoo.engine.processes import Processes
    from zoo.events import Observer
    from zoo.specs import ImageSet, Preprocess, Sample

_EVAL_BATCH = 64
PROBE_WEIGHT_DECAY = 0.1  # the best of a grid from 0 to 1 on 700 to 1,800 photos; see docs/recipes.md


@dataclass(frozen=True, slots=True, kw_only=True)
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
        parts: How many images the network is given at a time.
        evaluated: Parts that are ready to be evaluated again, each with its readable samples.
    """

    folder: Path
    config: FinetuneConfig
    images: ImageSet
    classifier: Classifier
    preprocess: Preprocess
    precision: Precision
    record: dict[str, Any]
    observer: Observer
    processes: Processes = ALONE
    started: float = field(default_factory=time.perf_counter)
    interrupts: Interrupts = field(init=False)
    cache: PhotoCache = field(init=False)
    parts: Parts = field(init=False)
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
            wait=self.processes.wait,
        )
        object.__setattr__(self, "cache", cache)
        object.__setattr__(self, "interrupts", Interrupts(patient=not self.processes.alone))
        # A resumed run goes on with the parts that were found to fit.
        object.__setattr__(self, "parts", Parts(self.record["hardware"].get("part_size"), tell=self._tell_parts))

    def _tell_parts(self, size: int) -> None:
        self.record["hardware"]["part_size"] = size
        text = f"Memory ran out: {size} images at a time from here on. The images of a step stay as many."
        self.observer(Note(text=text, warning=True))


def train(job: Job, *, resumed: bool = False) -> Iterator[EpochResult]:
    """Trains; yields each epoch's result once it is written down and its weights, if they are the best yet, are saved.

    Args:
        job: What to train.
        resumed: Whether to go on from the run's checkpoint.

    Raises:
        TrainingError: The loss is no longer finite, or the device's memory is too small even for single images.
    """
    results = _train_on_features(job) if job.config.freeze == "all" else _train_on_photos(job, resumed=resumed)
    try:
        with tuned_for(job.precision):
            yield from results
    except MemoryError as error:
        raise TrainingError(
            f"The memory of this machine is too small: {error or 'nothing is left'}.",
            hint="Lower --cache-size, --batch-size or --workers, or say --cache disk.",
        ) from error
    except RuntimeError as error:
        if "can't start new thread" in str(error):
            raise TrainingError(f"No further thread can be started: {error}.", hint="Lower --workers.") from error
        if not is_out_of_memory(error):
            raise
        raise TrainingError(  # where fewer images at a time would not help: the weights, the optimiser, kept features
            f"The memory of {job.precision.device} is too small: {error}",
            hint="Lower --batch-size or --image-size, freeze some stages, or choose a smaller backbone.",
        ) from error


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
    if len(set(job.processes.gather(tuple(failure.message for failure in store.failures)))) > 1:
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


def _train_on_photos(job: Job, *, resumed: bool) -> Iterator[EpochResult]:
    config, classifier, randomness = job.config, job.classifier, None
    loader, photos = _loaders(job)
    _share_batch_statistics(job, least=loader.least)
    state = TrainState(scaler=job.precision.loss_scaler())
    learner = Learner(network=classifier, optimizer=_optimizer(job), state=state)
    if resumed:
        learner.average = _average(config, classifier)
        randomness = load_checkpoint(job.folder, learner, device=job.precision.device, processes=job.processes)
    saving = Saving(
        lambda: _save(job, learner),
        every=None if config.save_every is None else 60 * config.save_every,
        interrupts=job.interrupts,
        processes=job.processes,
    )
    # Only now: a run that goes on has its weights from the checkpoint.
    train, val = keep_frozen(job, loader, photos, rest=saving.rest)
    job.evaluated["val"] = val, photos.store.samples
    if not resumed:
        if config.probe:
            yield _saved(job, _probe(job, loader, val, state), classifier)
        learner.average = _average(config, classifier)
    elif learner.average is not None:
        averaged: Any = learner.average.module
        averaged.frontier = classifier.frontier
    results = _fit(job, learner, train, val, rest=saving.rest)
    if randomness is not None:
        set_random_states(randomness, job.precision.device)  # last of all: what came before may have drawn
    with saving.active():
        for result in results:
            _saved(job, result, classifier if learner.average is None else learner.average.module)
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
        batch_size=config.step_images,
        seed=config.seed,
        device=job.precision.device,
        views=shown_views(job),
        rank=job.processes.rank,
        ranks=job.processes.count,
    )
    return loader, eval_batches(job, "val", job.images.val)


def _fit(
    job: Job, learner: Learner, train: TrainBatches, val: Iterable[Batch], *, rest: Callable[[], None]
) -> Iterator[EpochResult]:
    return fit(
        learner.network,
        train,
        val,
        optimizer=learner.optimizer,
        plan=_plan(job.config),
        precision=job.precision,
        set_training=lambda: set_training(job.classifier, freeze_norm_stats=job.config.freeze_norm_stats),
        state=learner.state,
        average=learner.average,
        parts=job.parts,
        compilation=_compilation(job),
        processes=job.processes,
        on_step=job.observer,
        rest=rest,
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


def _probe(job: Job, loader: TrainLoader, val: Iterable[Batch], state: TrainState) -> EpochResult:
    """Fits the head on frozen features, so that fine-tuning does not begin by tearing the backbone apart.

    Kumar et al. 2022, https://arxiv.org/abs/2202.10054: linear probing, then fine-tuning.
    """
    started = time.perf_counter()
    kept = _keep(job, loader.centred(), len(loader.store), "probe")
    loss = _solve(job, kept, solver="lbfgs", weight_decay=PROBE_WEIGHT_DECAY)
    return _evaluated(job, val, state, epoch=0, loss=loss, images=len(kept.labels), started=started)


def _train_on_features(job: Job) -> Iterator[EpochResult]:
    config, head = job.config, job.classifier.head
    job.observer(Note(text="The backbone is run once, over the photos as evaluation sees them: no crops, no flips."))
    state, started = TrainState(), time.perf_counter()
    val_photos = eval_batches(job, "val", job.images.val)
    train_photos = eval_batches(job, "train", job.images.train)
    kept = _keep(job, train_photos, len(train_photos.store), "keep features of train")
    if config.optimizer in SOLVERS:
        loss = _solve(job, kept, solver=config.optimizer, weight_decay=config.weight_decay)
        result = _evaluated(job, val_photos, state, epoch=1, loss=loss, images=len(kept.labels), started=started)
        yield _saved(job, result, job.classifier)
        return
    val = _keep(job, val_photos, len(val_photos.store), "keep features of val")
    if not job.processes.first:
        return  # a head alone is not worth sharing: the first process trains it, `conclude` hands it round
    network = OnFeatures(head)
    average = _average(config, network)
    best: Any = network if average is None else average.module
    for result in fit(
        network,
        kept,
        val,
        optimizer=_optimizer(job),
        plan=_plan(config),
        precision=job.precision,
        set_training=network.train,
        state=state,
        average=average,
        parts=job.parts,
        compilation=_compilation(job),
        on_step=job.observer,
    ):
        yield _saved(job, result, Classifier(job.classifier.backbone, best.head))


def _saved(job: Job, result: EpochResult, classifier: nn.Module) -> EpochResult:
    """Keeps the weights of an epoch if it is the best so far, and its figures. Only then is the checkpoint written.

    A run killed in between goes on from the epoch before and comes by the same again.
    """
    if not job.processes.first:
        return result
    if result.best:
        save_weights(job.folder, classifier)
    append_metrics(job.folder, result.to_dict())
    return result


def _solve(job: Job, kept: FeatureBatches, *, solver: str, weight_decay: float) -> float:
    head = job.classifier.head
    loss = job.processes.decide(lambda: solve_head(head, kept, solver=solver, weight_decay=weight_decay))
    job.processes.share(head)
    return loss


def _share_batch_statistics(job: Job, *, least: int) -> None:
    """Has what learns batch statistics look at the images of all processes, or tells that it does not.

    Raises:
        ConfigError: A process would be given `least`, a single image, to take statistics of.
    """
    if job.processes.alone:
        return
    set_training(job.classifier, freeze_norm_stats=job.config.freeze_norm_stats)
    if left := share_batch_statistics(job.classifier):
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


def _average(config: FinetuneConfig, network: nn.Module) -> AveragedModel | None:
    if config.ema is None:
        return None
    return AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(config.ema), use_buffers=True)


def _optimizer(job: Job) -> torch.optim.Optimizer:
    config = job.config
    groups = parameter_groups(job.classifier, config)
    optimizer = make_optimizer(config.optimizer, groups, lr=config.lr, momentum=config.momentum)
    job.record["hardware"]["optimizer_kernels"] = optimizer_kernels(optimizer)
    return optimizer


def _compilation(job: Job) -> Compilation:
    hardware = job.record["hardware"]

    def tell(on: bool, why: str) -> None:
        if on and not hardware.get("compile"):
            job.observer(Note(text=f"The network is compiled ({why}); the next step takes a while."))
        hardware.update(compile=on, compile_reason=why)

    if "compile" in hardware:  # a resumed run goes on as it was decided
        how, why = "yes" if hardware["compile"] else "no", hardware["compile_reason"]
        return Compilation(how, job.precision.device, tell=tell, why=why)
    if job.config.compile == "auto" and not job.processes.alone:  # which might decide it differently
        return Compilation("no", job.precision.device, tell=tell, why="several processes")
    return Compilation(job.config.compile, job.precision.device, tell=tell)


def _plan(config: FinetuneConfig) -> Plan:
    return Plan(
        epochs=config.epochs,
        lr=config.lr,
        schedule=config.schedule,
        warmup=config.warmup,
        clip_grad=config.clip_grad,
        mixup=config.mixup,
        seed=config.seed,
    )


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
