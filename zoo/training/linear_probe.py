"""Trains the head of a job on what its backbone gives, which is run once: the probe, and runs with all of it frozen."""

from __future__ import annotations

import copy
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
from zoo.training.job import eval_batches, job_compilation, job_optimizer, make_average, save_epoch
from zoo.training.loop import Plan, fit
from zoo.training.state import TrainState

if TYPE_CHECKING:
    from zoo.training.job import Job
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from zoo.data.loading.loader import Batch, TrainLoader

PROBE_WEIGHT_DECAY = 0.1  # the best of a grid from 0 to 1 on 700 to 1,800 photos; see docs/recipes.md


def fit_probe(job: Job, loader: TrainLoader, val: Iterable[Batch], state: TrainState) -> EpochResult:
    """Fits the head on frozen features, so that fine-tuning does not begin by tearing the backbone apart.

    Kumar et al. 2022, https://arxiv.org/abs/2202.10054: linear probing, then fine-tuning.
    """
    started = time.perf_counter()
    kept = _keep(job, loader.unaugmented(), len(loader.store), "probe")
    loss = _solve(job, kept, solver="lbfgs", weight_decay=PROBE_WEIGHT_DECAY)
    return _evaluated(job, val, state, epoch=0, loss=loss, images=len(kept.labels), started=started)


def train_on_features(job: Job) -> Iterator[EpochResult]:
    """Trains the head of a job whose whole backbone is frozen; yields results as `zoo.training.train.train`."""
    config, head = job.config, job.classifier.head
    job.observer(Note(text="The backbone is run once, over the photos as evaluation sees them: no crops, no flips."))
    state, started = TrainState(), time.perf_counter()
    val_photos = eval_batches(job, "val", job.images.val)
    train_photos = eval_batches(job, "train", job.images.train)
    kept = _keep(job, train_photos, len(train_photos.store), "keep features of train")
    if config.optimizer in SOLVERS:
        loss = _solve(job, kept, solver=config.optimizer, weight_decay=config.weight_decay)
        result = _evaluated(job, val_photos, state, epoch=1, loss=loss, images=len(kept.labels), started=started)
        yield save_epoch(job, result, job.classifier)
        return
    val = _keep(job, val_photos, len(val_photos.store), "keep features of val")
    if not job.processes.is_main:
        return  # a head alone is not worth sharing: the first process trains it, `finalize` hands it round
    network = HeadOnFeatures(head)
    average = make_average(config, network)
    best: Any = network if average is None else average.module
    for result in fit(
        network,
        kept,
        val,
        optimizer=job_optimizer(job),
        plan=Plan.from_config(config),
        precision=job.precision,
        set_training=network.train,
        state=state,
        average=average,
        micro_batches=job.micro_batches,
        compilation=job_compilation(job, images=kept.images),
        on_step=job.observer,
    ):
        yield save_epoch(job, result, Classifier(job.classifier.backbone, best.head))


def _solve(job: Job, kept: FeatureBatches, *, solver: str, weight_decay: float) -> float:
    head = job.classifier.head
    loss = job.processes.broadcast(lambda: solve_head(head, kept, solver=solver, weight_decay=weight_decay))
    job.processes.sync_module(head)
    return loss


def _keep(job: Job, batches: Any, total: int, what: str) -> FeatureBatches:
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


def _evaluated(
    job: Job, val: Iterable[Batch], state: TrainState, *, epoch: int, loss: float, images: int, started: float
) -> EpochResult:
    trained = time.perf_counter() - started
    outputs = compute_outputs(
        job.classifier, val, job.precision, micro_batches=job.micro_batches, processes=job.processes
    )
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


_MOST_ITERATIONS = 500


def solve_head(head: Head, kept: FeatureBatches, *, solver: str, weight_decay: float) -> float:
    """Fits a head on all kept features at once, with SciPy's L-BFGS-B or CG, in float64.

    What is minimised is the mean loss + `weight_decay` / 2 x the sum of squared weights (biases left out) x the mean
    variance of the pooled features, so that one strength suits features of any scale. For a linear head and
    cross-entropy this is multinomial logistic regression, and convex.

    Args:
        head: Fitted in place, from its present weights; without dropout.
        kept: Features and labels.
        solver: ``"lbfgs"`` or ``"cg"``.
        weight_decay: Strength of the L2 penalty.

    Returns:
        The final value of what is minimised.

    Raises:
        TrainingError: The loss is not finite.
    """
    from scipy.optimize import minimize

    device = torch.device("cpu") if kept.labels.device.type == "mps" else kept.labels.device  # MPS lacks float64
    features = Features(*(each.to(device, torch.float64) for each in kept.features))
    labels = kept.labels.to(device)
    solved = copy.deepcopy(head).eval().to(device, torch.float64)
    parameters = list(solved.parameters())
    strength = weight_decay / 2 * float(features.pooled.var(dim=0, correction=0).mean())

    def objective(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        _write(parameters, flat)
        solved.zero_grad(set_to_none=True)
        penalty = sum(p.square().sum() for p in parameters if p.ndim > 1)
        value = solved.loss(solved(features), labels) + strength * penalty
        value.backward()
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        return float(value.detach()), torch.cat([g.flatten() for g in gradients]).cpu().numpy()

    start = torch.cat([p.detach().flatten() for p in parameters]).cpu().numpy()
    method = {"lbfgs": "L-BFGS-B", "cg": "CG"}[solver]
    found = minimize(objective, start, method=method, jac=True, options={"maxiter": _MOST_ITERATIONS})
    if not np.isfinite(found.fun):
        raise TrainingError(
            f"The solver '{solver}' ended with a loss of {found.fun}.", hint="Raise --weight-decay, or use adamw."
        )
    _write(parameters, found.x)
    head.load_state_dict(solved.state_dict())
    return float(found.fun)


@torch.no_grad()
def _write(parameters: list[nn.Parameter], flat: NDArray[np.float64]) -> None:
    values = torch.from_numpy(flat)
    for parameter, part in zip(parameters, values.split([p.numel() for p in parameters]), strict=True):
        parameter.copy_(part.view_as(parameter))
