"""The contract of a loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.models.random_state import restore_random_states
from zoo.plugins.calls import resolve_callable
from zoo.plugins.criterion import Criterion
from zoo.plugins.specs import LossRequest
from zoo.testing.contract import Contract, check_options, is_close, option_variants, seeded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from zoo.plugins.specs import LossSpec

    LossFunction = Callable[[Tensor, Tensor], Tensor]

BATCH, CLASSES = 6, 3
LARGE = 300.0  # logits of a trained network that is certain: their exponentials overflow
_TARGET = (0.6, 0.3, 0.1)  # which the probabilities that minimise a loss are compared with
_NEAR, _FAR = 0.02, 0.05


@restore_random_states()
def check_loss(spec: LossSpec, *, options: Mapping[str, Any] | None = None) -> None:
    """Checks a loss on random logits, with every choice of its options and different numbers of classes.

    Args:
        spec: The loss, as returned by the hook ``zoo_losses``.
        options: Values of its options; those that are missing keep their defaults.

    Raises:
        AssertionError: The loss violates its contract; the message says what the contract requires.
    """
    contract = Contract(f"loss {spec.name}")
    contract.require(
        spec.activation in ("softmax", "sigmoid"), f"its activation must be softmax or sigmoid, not {spec.activation!r}"
    )
    instance = check_options(contract, spec.options, options or {})
    with seeded():
        for variant in (instance, *option_variants(instance)):
            for classes in (CLASSES, 2, 11):
                function = _build(contract, spec, variant, classes=classes)
                _check_result(contract, function, classes)
            function = _build(contract, spec, variant)
            _check_targets(contract, function, spec)
            _check_mean(contract, function)
            _check_large_logits(contract, function)
            _check_types(contract, function)
            _check_randomness(contract, function)
            _check_device(contract, function)
        _check_smoothing(contract, spec, instance)
        _check_per_image(contract, spec, instance)
        _check_per_label(contract, spec, instance)
        _check_activation(contract, _build(contract, spec, instance), spec)


def _build(
    contract: Contract,
    spec: LossSpec,
    options: Any,
    *,
    classes: int = CLASSES,
    label_smoothing: float = 0.0,
    per_image: bool = False,
    per_label: bool = False,
) -> LossFunction:
    request = LossRequest(
        classes=classes,
        label_smoothing=label_smoothing,
        options=options,
        per_image=per_image,
        per_label=per_label,
        multi_label=per_label,
    )
    with contract.calling(f"build({request})"):
        function: LossFunction = resolve_callable(spec.build)(request)
    contract.require(
        callable(function), f"build() must return a function of logits and targets, not {type(function).__name__}"
    )
    return function


def _call(contract: Contract, function: LossFunction, logits: Tensor, targets: Tensor, what: str) -> Tensor:
    with contract.calling(f"the loss {what}"):
        loss: Any = function(logits, targets)
    found = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
    contract.require(isinstance(loss, Tensor) and loss.shape == (), f"the loss {what} must be a scalar, not {found}")
    result: Tensor = loss
    return result


def _batch(classes: int = CLASSES) -> tuple[Tensor, Tensor]:
    return torch.randn(BATCH, classes), torch.arange(BATCH) % classes


def _check_result(contract: Contract, function: LossFunction, classes: int) -> None:
    logits, labels = _batch(classes)
    leaf = logits.clone().requires_grad_()
    targets = (("class indices", labels), ("soft targets", torch.randn(BATCH, classes).softmax(dim=1)))
    for kind, values in targets:
        copy = values.clone()
        loss = _call(contract, function, leaf, values, f"of {kind} (N, {classes} classes)")
        contract.require(bool(loss.isfinite()), f"the loss of {kind} must be finite; it is {loss.item()}")
        contract.require(torch.equal(leaf.detach(), logits), f"the loss of {kind} must not change the logits in place")
        contract.require(torch.equal(copy, values), f"the loss of {kind} must not change the targets in place")
        with contract.calling(f"the backward pass of the loss of {kind}"):
            gradient = torch.autograd.grad(loss, leaf, allow_unused=True)[0] if loss.requires_grad else None
        contract.require(
            gradient is not None and bool(gradient.any()),
            f"the gradient of the loss of {kind} must reach the logits, or the network cannot learn",
        )


def _check_targets(contract: Contract, function: LossFunction, spec: LossSpec) -> None:
    logits, labels = _batch()
    one_hot = F.one_hot(labels, CLASSES).float()
    hard = _call(contract, function, logits, labels, "of class indices")
    soft = _call(contract, function, logits, one_hot, "of one-hot soft targets")
    contract.require(
        is_close(hard, soft),
        f"class indices and the same classes as one-hot soft targets must have the same loss; they have {float(hard)} "
        f"and {float(soft)}",
    )
    if spec.activation == "sigmoid":
        loss = _call(
            contract, function, logits, (one_hot + one_hot.roll(1, dims=1)), "of targets with two classes each"
        )
        contract.require(bool(loss.isfinite()), "the loss of targets with two classes each must be finite")


def _check_mean(contract: Contract, function: LossFunction) -> None:
    logits, labels = _batch()
    once = _call(contract, function, logits, labels, "of a batch")
    twice = _call(contract, function, logits.repeat(2, 1), labels.repeat(2), "of the same batch twice")
    contract.require(
        is_close(once, twice),
        f"the loss must be the mean over the photos, not their sum: it is {float(once)} for a batch and {float(twice)} "
        "for the same photos twice, so that the learning rate would depend on the batch size",
    )
    parts = torch.stack(
        [_call(contract, function, logits[i : i + 1], labels[i : i + 1], "of a photo") for i in range(BATCH)]
    )
    contract.require(
        is_close(parts.mean(), once),
        "the loss of a batch must be the mean of the losses of its photos: where memory is short, and on several GPUs, "
        f"a step computes it in parts; it is {float(once)}, and the mean of the parts is {float(parts.mean())}",
    )


def _check_large_logits(contract: Contract, function: LossFunction) -> None:
    _, labels = _batch()
    for sign, kind in ((1, "right"), (-1, "wrong")):
        logits = sign * LARGE * (2 * F.one_hot(labels, CLASSES).float() - 1)
        leaf = logits.requires_grad_()
        loss = _call(contract, function, leaf, labels, f"of logits of {LARGE:g} that are {kind}")
        gradient = torch.autograd.grad(loss, leaf)[0]
        contract.require(
            bool(loss.isfinite()),
            f"the loss must be finite for logits of -{LARGE:g} and {LARGE:g} that are {kind}, where exponentials "
            f"overflow; it is {loss.item()} (F.log_softmax and F.logsigmoid are safe)",
        )
        contract.require(
            bool(gradient.isfinite().all()),
            f"the gradient must be finite for logits of -{LARGE:g} and {LARGE:g} that are {kind}, too",
        )


def _check_types(contract: Contract, function: LossFunction) -> None:
    logits, labels = _batch()
    exact = logits.double().requires_grad_()
    for kind, targets in (("class indices", labels), ("soft targets", F.one_hot(labels, CLASSES).double())):
        loss = _call(contract, function, exact, targets, f"of float64 logits and {kind}")
        contract.require(
            loss.dtype == torch.float64, f"the loss of float64 logits and {kind} must be float64, not {loss.dtype}"
        )
    loss = _call(contract, function, logits, labels, "of float32 logits")
    contract.require(loss.dtype == torch.float32, f"the loss of float32 logits must be float32, not {loss.dtype}")


def _check_randomness(contract: Contract, function: LossFunction) -> None:
    logits, labels = _batch()
    before = torch.get_rng_state()
    first = _call(contract, function, logits, labels, "of a batch")
    drawn = not torch.equal(before, torch.get_rng_state())
    second = _call(contract, function, logits, labels, "of the same batch again")
    contract.require(
        not drawn and bool(first == second),
        "the loss must draw no random numbers: the same logits and targets must have the same loss",
    )


def _check_device(contract: Contract, function: LossFunction) -> None:
    """Computes the loss of meta tensors, which have no values: whatever reads one would wait for a GPU."""
    logits, labels = _batch()
    for kind, targets in (("class indices", labels), ("soft targets", F.one_hot(labels, CLASSES).float())):
        try:
            function(logits.to("meta"), targets.to("meta"))
        except Exception as error:
            raise AssertionError(
                f"{contract.name}: the loss of {kind} must read no value of a tensor (.item(), float(), 'if' and "
                "boolean masks do), because each makes the training wait for the GPU, and must move its own tensors to "
                f"the device of the logits; with tensors without values it raised {type(error).__name__}: {error}"
            ) from error


def _check_smoothing(contract: Contract, spec: LossSpec, options: Any) -> None:
    if not spec.smooths_labels:
        return
    logits, labels = _batch()
    smoothing = 0.3
    function = _build(contract, spec, options, label_smoothing=smoothing)
    soft = F.one_hot(labels, CLASSES).float() * (1 - smoothing) + smoothing / CLASSES
    smoothed = _call(contract, function, logits, labels, "with label smoothing")
    wanted = _call(contract, _build(contract, spec, options), logits, soft, "of smoothed soft targets")
    contract.require(
        is_close(smoothed, wanted),
        "with smooths_labels, the loss must spread request.label_smoothing of each target evenly over all classes: it "
        f"is {float(smoothed)}, and that of such soft targets {float(wanted)}",
    )


def _check_per_image(contract: Contract, spec: LossSpec, options: Any) -> None:
    if not spec.per_image:
        return
    logits, labels = _batch()
    function, mean = _build(contract, spec, options, per_image=True), _build(contract, spec, options)
    for kind, targets in (("class indices", labels), ("soft targets", torch.randn(BATCH, CLASSES).softmax(dim=1))):
        with contract.calling(f"the losses of {kind}"):
            losses: Any = function(logits, targets)
        found = tuple(losses.shape) if isinstance(losses, Tensor) else type(losses).__name__
        contract.require(
            isinstance(losses, Tensor) and losses.shape == (BATCH,),
            f"with request.per_image, the result for {BATCH} photos with {kind} must be the loss of each, ({BATCH},), "
            f"not {found}",
        )
        wanted = _call(contract, mean, logits, targets, f"of {kind}")
        contract.require(
            is_close(losses.mean(), wanted),
            f"the mean of the losses with request.per_image must be the loss without it: for {kind} it is "
            f"{float(losses.mean())}, not {float(wanted)}",
        )


def _check_per_label(contract: Contract, spec: LossSpec, options: Any) -> None:
    if not spec.per_label:
        return
    logits, labels = _batch()
    one_hot = F.one_hot(labels, CLASSES).float()
    function, mean = _build(contract, spec, options, per_label=True), _build(contract, spec, options)
    for kind, targets in (("class indices", labels), ("several labels", one_hot + one_hot.roll(1, dims=1))):
        with contract.calling(f"the losses of {kind}"):
            losses: Any = function(logits, targets)
        found = tuple(losses.shape) if isinstance(losses, Tensor) else type(losses).__name__
        contract.require(
            isinstance(losses, Tensor) and losses.shape == logits.shape,
            f"with request.per_label, the result for {BATCH} photos with {kind} must be the loss of each label, "
            f"{tuple(logits.shape)}, not {found}",
        )
        wanted = _call(contract, mean, logits, targets, f"of {kind}")
        contract.require(
            is_close(losses.sum(dim=1).mean(), wanted),
            f"the losses with request.per_label must add up to that of the photo without it: for {kind} their mean is "
            f"{float(losses.sum(dim=1).mean())}, not {float(wanted)}",
        )


def _check_activation(contract: Contract, function: LossFunction, spec: LossSpec) -> None:
    """Minimises the loss of soft targets, and looks which activation of the logits gives them back."""
    target = torch.tensor([_TARGET])
    logits = torch.zeros(1, CLASSES, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = _call(contract, function, logits, target, "of soft targets")
        loss.backward()
        return loss

    optimizer.step(closure)
    errors = {
        name: float(
            (Criterion(name=name, function=None, activation=name).probabilities(logits.detach()) - target).abs().max()
        )
        for name in ("softmax", "sigmoid")
    }
    own, other = errors.pop(spec.activation), errors.popitem()
    contract.require(
        not (other[1] < _NEAR and own > _FAR),
        f"its activation is {spec.activation}, but the logits that minimise the loss are right with {other[0]}: pass "
        f"activation='{other[0]}' to zoo.LossSpec",
    )
