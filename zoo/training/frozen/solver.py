"""Fits heads to cached features, all photos at once: with L-BFGS or conjugate gradients, in float32.

Minimises the mean loss + strength / 2 x the sum of squared weights (without biases), in units in which a feature has
the variance 1. For a linear head and cross-entropy this is multinomial logistic regression, a convex problem. The
number of evaluations is bounded, so that every fit ends in a result, and logits are computed block by block.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from zoo.errors import TrainingError
from zoo.models.nested import flatten_tensors, map_tensors
from zoo.training.frozen.folds import FOLDS, assign_folds
from zoo.training.micro_batches import select

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from zoo.plugins.contracts import Head

    Strength = float | Sequence[float]

_MAX_EVALUATIONS, _MIN_EVALUATIONS = 300, 30
_MAX_WORK = 1e13  # multiplications of one fit: about two minutes on two cores
_BLOCK = 2**24  # numbers computed at a time: 64 MiB
_CROSS_VALIDATED = 4000  # photos at most: more do not change the choice
_HISTORY = 10  # steps from which L-BFGS estimates the curvature
_GRADIENT_TOLERANCE, _LOSS_TOLERANCE = 1e-5, 1e-7
_COMPARED = 1e-5  # the tolerance of losses that are only compared
_CONSTANT = 1e-6  # the standard deviation of a constant feature, as a share of the largest


def fit_head(
    head: Head,
    pooled: Any,
    labels: Tensor,
    *,
    solver: str,
    strength: Strength,
    draws: Sequence[float] = (),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> float:
    """Fits a head in place, from its present weights and without dropout; returns the minimum.

    Args:
        head: The head, on the device of the features.
        pooled: The result of `Head.pool` for all photos.
        labels: int64 ``(N,)``, or multi-hot ``(N, outputs)``.
        solver: ``"lbfgs"`` or ``"cg"``.
        strength: Strength of the L2 penalty; for a linear output layer also one for each output.
        draws: How often an epoch would show a photo of each class on average, if not once: the solver sees all photos
            at once, and gives them these weights, beside those that the loss has.
        progress: Called with the number of evaluations so far, and with the most that there can be.

    Raises:
        TrainingError: The loss is not finite, or the variance of the features is infinite.
    """
    with _solving(head, draws):
        problem = (_LinearProblem if head.output_layer else _Problem)(head, pooled, labels)
        minimum = _minimise(problem, solver=solver, strength=strength, progress=progress)
        problem.finish()
    return minimum


def cross_validate(
    head: Head,
    pooled: Tensor,
    labels: Tensor,
    strengths: Sequence[float],
    *,
    seed: int,
    groups: Sequence[str] = (),
    draws: Sequence[float] = (),
) -> dict[float, float]:
    """Returns the mean validation loss of a head with a linear output layer, for several strengths of the penalty.

    Returns nothing if the groups are too few to hold one out.

    It ends after the first strength that is worse than one before. Every photo is in the validation part of one of five
    folds, which are stratified by class; all folds are fitted at once. Of many photos, only some are used. A group is
    in one fold; the only group of a class is in none, and is trained on in all of them.

    Args:
        head: The head, on the device of the features; not changed.
        pooled: The result of `Head.pool` for all photos.
        labels: int64 ``(N,)``.
        strengths: Strengths of the penalty, from strong to weak. Each fit starts from the one before.
        seed: Seeds the folds.
        groups: The group of each photo, empty for one that is its own; or nothing if there are no groups.
        draws: As in `fit_head`; they weigh the validation losses, too.

    Raises:
        TrainingError: The loss is not finite, or the variance of the features is infinite.
    """
    order = _draw_order(labels, seed)
    pooled, labels = pooled[order], labels[order]
    folds = assign_folds(labels, [groups[number] for number in order] if any(groups) else ())
    if len(folds[folds >= 0].unique()) < 2:
        return {}
    losses: dict[float, float] = {}
    with _solving(head, draws):
        problem = _LinearProblem(head, pooled, labels, folds=folds)
        for strength in strengths:
            _minimise(problem, solver="lbfgs", strength=strength, tolerance=_COMPARED)
            losses[strength] = loss = problem.validation_loss()
            if loss > min(losses.values()):
                break
    return losses


@torch.no_grad()
def predict_held_out(
    head: Head,
    pooled: Tensor,
    labels: Tensor,
    strengths: Sequence[Strength],
    *,
    seed: int,
    groups: Sequence[str] = (),
    draws: Sequence[float] = (),
) -> tuple[list[Tensor], Tensor]:
    """Returns the logits of photos in cross-validation, each by the fit that did not see the photo.

    The folds are those of `cross_validate`; of many photos, only some are used. The order is the same for all features
    of the same photos.

    Args:
        head: The head with a linear output layer, on the device of the features; not changed.
        pooled: The result of `Head.pool` for all photos.
        labels: int64 ``(N,)``, or multi-hot ``(N, outputs)``.
        strengths: Strengths of the penalty, from strong to weak. Each fit starts from the one before.
        seed: Seeds the folds.
        groups: As in `cross_validate`.
        draws: As in `fit_head`.

    Returns:
        The logits ``(M, outputs)`` float32 for each strength, and the labels of the M photos; none if the groups are
        too few to hold one out.

    Raises:
        TrainingError: The loss is not finite, or the variance of the features is infinite.
    """
    order = _draw_order(labels, seed)
    pooled, labels = pooled[order], labels[order]
    folds = assign_folds(labels, [groups[number] for number in order] if any(groups) else ())
    held_out = folds >= 0
    if len(folds[held_out].unique()) < 2:
        return [], labels[:0]
    logits = []
    with _solving(head, draws):
        problem = _LinearProblem(head, pooled, labels, folds=folds)
        for strength in strengths:
            with torch.enable_grad():
                _minimise(problem, solver="lbfgs", strength=strength, tolerance=_COMPARED)
            logits.append(problem.held_out_logits()[held_out])
    return logits, labels[held_out]


@torch.no_grad()
def predict_folds(head: Head, pooled: Tensor, labels: Tensor, folds: Tensor, *, strength: Strength) -> Tensor:
    """Returns the logits ``(N, outputs)`` float32 of all photos, each by the fit that did not see its fold.

    Args:
        head: The head with a linear output layer, on the device of the features; not changed.
        pooled: The result of `Head.pool` for all photos.
        labels: int64 ``(N,)``, or multi-hot ``(N, outputs)``.
        folds: The fold of each photo, int64 ``(N,)``; -1 for photos that are only trained on, whose logits are NaN.
        strength: Strength of the penalty.

    Raises:
        TrainingError: The loss is not finite, or the variance of the features is infinite.
    """
    with _solving(head, ()):
        problem = _LinearProblem(head, pooled, labels, folds=folds)
        with torch.enable_grad():
            _minimise(problem, solver="lbfgs", strength=strength, tolerance=_COMPARED)
        logits = problem.held_out_logits()
    logits[folds < 0] = torch.nan
    return logits


def _draw_order(labels: Tensor, seed: int) -> Tensor:
    """Returns the photos of a cross-validation, int64 ``(M,)``."""
    return torch.from_numpy(np.random.default_rng(seed).permutation(len(labels)))[:_CROSS_VALIDATED].to(labels.device)


@contextmanager
def _solving(head: Head, draws: Sequence[float]) -> Iterator[None]:
    """Puts a head into eval mode for a block, with a loss that weighs photos as they would be drawn."""
    training, criterion = head.training, head.criterion
    head.eval()
    head.criterion = criterion.reweighted(draws) if draws else criterion
    try:
        yield
    finally:
        head.criterion = criterion
        head.train(training)


class _Problem:
    """A head with its features: the loss of all photos as a function of the trainable weights."""

    def __init__(self, head: Head, pooled: Any, labels: Tensor) -> None:
        self.head = head
        self.labels = labels
        self.parameters = [parameter for parameter in head.parameters() if parameter.requires_grad]
        self._pooled = pooled
        vectors = flatten_tensors(pooled)[0]
        self.scale = float(vectors.var(dim=0, correction=0).mean())  # makes the strength independent of their scale
        self._width = max(1, sum(tensor[0].numel() for tensor in flatten_tensors(pooled)))
        if math.isinf(self.scale):
            raise TrainingError(
                f"The features are up to {float(vectors.abs().max()):.2g}: their variance is not finite in float32.",
                hint="The weights of the backbone are far too large, or its plugin is at fault.",
            )

    @property
    def work(self) -> float:
        """Multiplications of one evaluation, roughly."""
        return 3.0 * len(self.labels) * sum(parameter.numel() for parameter in self.parameters)

    def evaluate(self, strength: Strength) -> float:
        """Returns the objective, and adds its gradient to the parameters."""
        total = torch.zeros((), device=self.labels.device)
        for block in self._blocks():
            loss = self._loss(block)
            loss.backward()
            total += loss.detach()
        penalty = self._penalty(strength)
        if penalty.requires_grad:
            penalty.backward()
        return float(total + penalty.detach())

    def finish(self) -> None:
        """Stores the solution in the head."""

    def _penalty(self, strength: Strength) -> Tensor:
        assert isinstance(strength, int | float)
        penalty = sum(parameter.square().sum() for parameter in self.parameters if parameter.ndim > 1)
        return strength * self.scale / 2 * torch.as_tensor(penalty)

    def _loss(self, block: slice) -> Tensor:
        # Maps are cached in the type of the forward pass.
        pooled = map_tensors(Tensor.float, select(self._pooled, block))
        logits = self.head.classify(pooled)
        return self.head.loss(logits, self.labels[block]) * (len(logits) / len(self.labels))

    def _blocks(self) -> Iterator[slice]:
        rows = max(1, _BLOCK // self._width)
        return (slice(start, start + rows) for start in range(0, len(self.labels), rows))


class _LinearProblem(_Problem):
    """Linear output layers on standardised features: one for all photos, or one for the training part of each fold.

    Standardising makes the penalty treat all features alike, and the solver needs fewer steps. The solution is
    converted to weights for the features as they are.
    """

    def __init__(self, head: Head, pooled: Tensor, labels: Tensor, *, folds: Tensor | None = None) -> None:
        super().__init__(head, pooled, labels)
        layer = head.output_layer
        assert layer is not None
        self._layer = layer
        self.scale = 1.0
        mean, std = pooled.mean(dim=0), pooled.std(dim=0, correction=0)
        self._mean, self._std = mean, torch.where(std > _CONSTANT * std.max(), std, torch.ones_like(std))
        self._pooled = (pooled - self._mean) / self._std
        count = 1 if folds is None else FOLDS
        weight = (layer.weight.detach() * self._std).T.repeat(1, count)
        bias = (layer.bias.detach() + layer.weight.detach() @ self._mean).repeat(count)
        if folds is not None:
            weight, bias = torch.zeros_like(weight), torch.zeros_like(bias)
        self.parameters = [nn.Parameter(weight.contiguous()), nn.Parameter(bias)]
        self._folds = folds
        self._trained = [None] if folds is None else [folds != fold for fold in range(count)]
        self._width = max(pooled.shape[1], len(bias))
        self._outputs = layer.out_features

    def _loss(self, block: slice) -> Tensor:
        logits, labels = self._logits(block), self.labels[block]
        loss = torch.zeros((), device=labels.device)
        for number, trained in enumerate(self._trained):
            own = logits[:, number * self._outputs : (number + 1) * self._outputs]
            where = slice(None) if trained is None else trained[block]
            share = len(labels[where]) / int(len(self.labels) if trained is None else trained.sum())
            if share:
                loss = loss + self.head.loss(own[where], labels[where]) * share
        return loss

    def _penalty(self, strength: Strength) -> Tensor:
        if isinstance(strength, int | float):
            return super()._penalty(strength)
        weight = self.parameters[0]
        own = torch.tensor(strength, dtype=weight.dtype, device=weight.device)
        return (weight.square().sum(dim=0) * own.repeat(len(self._trained))).sum() / 2

    def _logits(self, block: slice) -> Tensor:
        weight, bias = self.parameters
        return torch.addmm(bias, self._pooled[block], weight)

    @torch.no_grad()
    def validation_loss(self) -> float:
        """Returns the mean loss of the photos in folds, each by the fit of the fold that did not train on it."""
        total, count = 0.0, 0
        for block in self._blocks():
            logits, labels = self._logits(block), self.labels[block]
            for number, trained in enumerate(self._trained):
                own = logits[:, number * self._outputs : (number + 1) * self._outputs]
                where = slice(None) if trained is None else ~trained[block]
                if len(labels[where]):
                    total += float(self.head.loss(own[where], labels[where])) * len(labels[where])
                    count += len(labels[where])
        return total / count

    @torch.no_grad()
    def held_out_logits(self) -> Tensor:
        """Returns the logits of all photos ``(N, outputs)``, each by the fit of the fold that did not train on it."""
        assert self._folds is not None
        logits = torch.cat([self._logits(block) for block in self._blocks()])
        photos = torch.arange(len(logits), device=logits.device)
        return logits.view(len(logits), FOLDS, self._outputs)[photos, self._folds]

    @torch.no_grad()
    def finish(self) -> None:
        weight, bias = (parameter.detach() for parameter in self.parameters)
        self._layer.weight.copy_((weight / self._std[:, None]).T)
        self._layer.bias.copy_(bias - self._layer.weight @ self._mean)


def _minimise(
    problem: _Problem,
    *,
    solver: str,
    strength: Strength,
    tolerance: float = _LOSS_TOLERANCE,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> float:
    """Minimises the objective of a problem, and returns the minimum."""
    limit = int(min(_MAX_EVALUATIONS, max(_MIN_EVALUATIONS, _MAX_WORK / problem.work)))
    parameters, done = problem.parameters, 0

    def evaluate() -> float:
        nonlocal done
        done += 1
        progress(min(done, limit), limit)
        for parameter in parameters:
            parameter.grad = None
        value = problem.evaluate(strength)
        if not math.isfinite(value):
            raise TrainingError(
                f"The solver '{solver}' ended with a loss of {value}.", hint="Raise --weight-decay, or use adamw."
            )
        for parameter in parameters:
            parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        return value

    if solver == "lbfgs":
        optimizer = torch.optim.LBFGS(
            parameters,
            max_iter=limit,
            max_eval=limit,
            tolerance_grad=_GRADIENT_TOLERANCE,
            tolerance_change=tolerance,
            history_size=_HISTORY,
            line_search_fn="strong_wolfe",
        )
        optimizer.step(evaluate)
    else:
        _conjugate_gradients(parameters, evaluate, limit)
    minimum = evaluate()
    for parameter in parameters:
        parameter.grad = None
    progress(limit, limit)
    return minimum


def _conjugate_gradients(parameters: list[nn.Parameter], evaluate: Callable[[], float], limit: int) -> None:
    from scipy.optimize import minimize

    def objective(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        _assign(parameters, flat)
        value = evaluate()
        gradients = [parameter.grad.flatten() for parameter in parameters if parameter.grad is not None]
        return value, torch.cat(gradients).cpu().double().numpy()

    start = torch.cat([parameter.detach().flatten() for parameter in parameters]).cpu().double().numpy()
    options = {"maxiter": max(1, limit // 2), "gtol": _GRADIENT_TOLERANCE}  # about two evaluations an iteration
    _assign(parameters, minimize(objective, start, method="CG", jac=True, options=options).x)


@torch.no_grad()
def _assign(parameters: list[nn.Parameter], flat: NDArray[np.float64]) -> None:
    sizes = [parameter.numel() for parameter in parameters]
    for parameter, values in zip(parameters, torch.from_numpy(flat).split(sizes), strict=True):
        parameter.copy_(values.view_as(parameter))
