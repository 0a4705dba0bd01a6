"""Trains a head on the features of a frozen backbone: as a probe before fine-tuning, or as the whole training."""

from __future__ import annotations

import copy
import math
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from zoo.config import SOLVERS
from zoo.data.loading.loader import Batch
from zoo.errors import TrainingError
from zoo.events import EpochResult, Note, Work
from zoo.models.classifier import Classifier
from zoo.models.fold_bn import fold_batch_norm
from zoo.plugins.contracts import Features, Head
from zoo.training.forward import compute_outputs
from zoo.training.frozen.features import FeatureBatches, HeadOnFeatures, extract_features
from zoo.training.job import build_average, build_compilation, build_optimizer, eval_batches, save_epoch
from zoo.training.loop import Plan, fit
from zoo.training.state import TrainState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from zoo.data.loading.loader import Batch, TrainLoader
    from zoo.training.job import Job

PROBE_WEIGHT_DECAY = 0.1  # the best of a grid from 0 to 1 on 700 to 1,800 photos; see docs/recipes.md
_MAX_ITERATIONS = 500


def fit_probe(job: Job, loader: TrainLoader, val: Iterable[Batch], state: TrainState) -> EpochResult:
    """Fits the head on frozen features before fine-tuning, so that a random head does not distort the backbone.

    Kumar et al. 2022, https://arxiv.org/abs/2202.10054: linear probing, then fine-tuning.
    """
    started = time.perf_counter()
    features = _extract(job, loader.unaugmented(), len(loader.store), "probe")
    loss = _solve(job, features, solver="lbfgs", weight_decay=PROBE_WEIGHT_DECAY)
    return _evaluate(job, val, state, epoch=0, loss=loss, images=len(features.labels), started=started)


def train_on_features(job: Job) -> Iterator[EpochResult]:
    """Trains the head of a job whose whole backbone is frozen; yields results as `zoo.training.train.train`."""
    config, head = job.config, job.classifier.head
    job.observer(
        Note(text="The backbone runs once, over the photos as evaluation sees them: without random crops or flips.")
    )
    state, started = TrainState(), time.perf_counter()
    val_photos = eval_batches(job, "val", job.images.val)
    train_photos = eval_batches(job, "train", job.images.train)
    features = _extract(job, train_photos, len(train_photos.store), "cache features of train")
    if config.optimizer in SOLVERS:
        loss = _solve(job, features, solver=config.optimizer, weight_decay=config.weight_decay)
        result = _evaluate(job, val_photos, state, epoch=1, loss=loss, images=len(features.labels), started=started)
        yield save_epoch(job, result, job.classifier)
        return
    val = _extract(job, val_photos, len(val_photos.store), "cache features of val")
    if not job.processes.is_main:
        return  # a head is too small to share: the main process trains it, and `finalize` copies it to the others
    network = HeadOnFeatures(head)
    average = build_average(config, network)
    best: Any = network if average is None else average.module
    for result in fit(
        network,
        features,
        val,
        optimizer=build_optimizer(job),
        plan=Plan.from_config(config),
        precision=job.precision,
        set_training=network.train,
        state=state,
        average=average,
        micro_batches=job.micro_batches,
        compilation=build_compilation(job, images=features.images_per_step),
        on_step=job.observer,
    ):
        yield save_epoch(job, result, Classifier(job.classifier.backbone, best.head))


def _solve(job: Job, features: FeatureBatches, *, solver: str, weight_decay: float) -> float:
    head = job.classifier.head
    loss = job.processes.broadcast(lambda: solve_head(head, features, solver=solver, weight_decay=weight_decay))
    job.processes.sync_module(head)
    return loss


def _extract(job: Job, batches: Iterable[Batch], total: int, what: str) -> FeatureBatches:
    return extract_features(
        fold_batch_norm(job.classifier.backbone, image_size=job.preprocess.size, precision=job.precision),
        job.classifier.head,
        batches,
        precision=job.precision,
        batch_size=job.config.images_per_step,
        seed=job.config.seed,
        progress=lambda done: job.observer(Work(what=what, done=min(total, done * job.processes.count), total=total)),
        micro_batches=job.micro_batches,
        processes=job.processes,
    )


def _evaluate(
    job: Job, val: Iterable[Batch], state: TrainState, *, epoch: int, loss: float, images: int, started: float
) -> EpochResult:
    seconds = time.perf_counter() - started
    outputs = compute_outputs(
        job.classifier, val, job.precision, micro_batches=job.micro_batches, processes=job.processes
    )
    val_loss, val_accuracy = outputs.loss(job.classifier.head), outputs.accuracy()
    if not math.isfinite(val_loss):
        raise TrainingError(
            f"The validation loss became {val_loss} after the head was fitted.",
            hint="Use --precision fp32, or check the weights of the backbone.",
        )
    return EpochResult(
        epoch=epoch,
        train_loss=loss,
        train_accuracy=float("nan"),
        val_loss=val_loss,
        val_accuracy=val_accuracy,
        learning_rate=0.0,
        seconds=time.perf_counter() - started,
        images_per_second=images / seconds,
        best=state.improve(val_accuracy, val_loss),
    )


def solve_head(head: Head, batches: FeatureBatches, *, solver: str, weight_decay: float) -> float:
    """Fits a head on all features at once, with SciPy's L-BFGS-B or CG, in float64.

    Minimises the mean loss + `weight_decay` / 2 x the sum of squared weights (without biases) x the mean variance of
    the pooled features, which makes the strength independent of the scale of the features. For a linear head and
    cross-entropy this is multinomial logistic regression, a convex problem.

    Args:
        head: The head, fitted in place from its present weights and without dropout.
        batches: The features and labels.
        solver: ``"lbfgs"`` or ``"cg"``.
        weight_decay: Strength of the L2 penalty.

    Returns:
        The minimum.

    Raises:
        TrainingError: It is not finite.
    """
    from scipy.optimize import minimize

    device = torch.device("cpu") if batches.labels.device.type == "mps" else batches.labels.device  # MPS lacks float64
    features = Features(*(each.to(device, torch.float64) for each in batches.features))
    labels = batches.labels.to(device)
    duplicate = copy.deepcopy(head).eval().to(device, torch.float64)
    parameters = list(duplicate.parameters())
    strength = weight_decay / 2 * float(features.pooled.var(dim=0, correction=0).mean())

    def objective(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        _assign(parameters, flat)
        duplicate.zero_grad(set_to_none=True)
        penalty = sum(p.square().sum() for p in parameters if p.ndim > 1)
        value = duplicate.loss(duplicate(features), labels) + strength * penalty
        value.backward()
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        return float(value.detach()), torch.cat([g.flatten() for g in gradients]).cpu().numpy()

    start = torch.cat([p.detach().flatten() for p in parameters]).cpu().numpy()
    method = {"lbfgs": "L-BFGS-B", "cg": "CG"}[solver]
    optimum = minimize(objective, start, method=method, jac=True, options={"maxiter": _MAX_ITERATIONS})
    if not np.isfinite(optimum.fun):
        raise TrainingError(
            f"The solver '{solver}' ended with a loss of {optimum.fun}.", hint="Raise --weight-decay, or use adamw."
        )
    _assign(parameters, optimum.x)
    head.load_state_dict(duplicate.state_dict())
    return float(optimum.fun)


@torch.no_grad()
def _assign(parameters: list[nn.Parameter], flat: NDArray[np.float64]) -> None:
    sizes = [parameter.numel() for parameter in parameters]
    for parameter, values in zip(parameters, torch.from_numpy(flat).split(sizes), strict=True):
        parameter.copy_(values.view_as(parameter))
