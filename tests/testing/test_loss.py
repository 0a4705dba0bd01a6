"""Each test breaks a loss in one way, and checks that the kit says which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import torch
from contract_offers import violation
from plugin_helpers import plugin_of
from torch import Tensor
from torch.nn import functional as F

import zoo
from zoo.plugins.options import option
from zoo.testing import check_loss, check_plugin

if TYPE_CHECKING:
    from collections.abc import Callable


def soft(targets: Tensor, logits: Tensor) -> Tensor:
    return F.one_hot(targets, logits.shape[1]).to(logits) if targets.ndim == 1 else targets


def good(logits: Tensor, targets: Tensor) -> Tensor:
    return -(soft(targets, logits) * logits.log_softmax(dim=1)).sum(dim=1).mean()


def binary(logits: Tensor, targets: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, soft(targets, logits))


def spec_of(function: Any, **values: Any) -> zoo.LossSpec:
    return zoo.LossSpec(**{"name": "mine", "build": lambda request: function, **values})


def hides_steps(logits: Tensor, targets: Tensor) -> Tensor:
    """Has no gradient of soft targets."""
    return good(logits, targets) if targets.ndim == 1 else good(logits.detach(), targets)


def overflows(logits: Tensor, targets: Tensor) -> Tensor:
    return -(soft(targets, logits) * (logits.exp() / logits.exp().sum(dim=1, keepdim=True)).log()).sum(dim=1).mean()


def steep_at_one(logits: Tensor, targets: Tensor) -> Tensor:
    """Is finite, but its gradient is not."""
    log_p = logits.log_softmax(dim=1)
    return -(soft(targets, logits) * (1 - log_p.exp()).sqrt() * log_p).sum(dim=1).mean()


def shifts(logits: Tensor, targets: Tensor) -> Tensor:
    with torch.no_grad():
        logits.sub_(logits.mean(dim=1, keepdim=True))
    return good(logits, targets)


def changes_targets(logits: Tensor, targets: Tensor) -> Tensor:
    return good(logits, targets if targets.ndim == 1 else targets.div_(2))


def disagrees(logits: Tensor, targets: Tensor) -> Tensor:
    return good(logits, targets) * (1 if targets.ndim == 1 else 2)


def draws(logits: Tensor, targets: Tensor) -> Tensor:
    return good(logits + 1e-9 * torch.randn_like(logits), targets)


def reads(logits: Tensor, targets: Tensor) -> Tensor:
    loss = good(logits, targets)
    return loss if loss.item() > 0 else 2 * loss


def keeps_on_cpu(logits: Tensor, targets: Tensor) -> Tensor:
    weights = torch.ones(logits.shape[1], dtype=logits.dtype)
    return -(soft(targets, logits) * weights * logits.log_softmax(dim=1)).sum(dim=1).mean()


def always_float32(logits: Tensor, targets: Tensor) -> Tensor:
    return good(logits.float(), targets if targets.ndim == 1 else targets.float())


def refuses_float64(logits: Tensor, targets: Tensor) -> Tensor:
    return good(logits @ torch.eye(logits.shape[1]), targets)


def weighted(logits: Tensor, targets: Tensor) -> Tensor:
    """Divides by the weights of the batch, as torch does with class weights."""
    weights = torch.arange(1.0, 1 + logits.shape[1]).to(logits)
    shares = soft(targets, logits) * weights
    return -(shares * logits.log_softmax(dim=1)).sum() / shares.sum()


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (3, "build() must return a function of logits and targets, not int"),
        (lambda logits, targets: F.cross_entropy(logits, targets, reduction="none"), "must be a scalar, not (6,)"),
        (lambda logits, targets: 1.0, "must be a scalar, not float"),
        (lambda logits, targets: F.cross_entropy(logits, targets, reduction="sum"), "must be the mean over the photos"),
        (weighted, "must be the mean of the losses of its photos"),
        (
            lambda logits, targets: good(logits.detach(), targets),
            "the gradient of the loss of class indices must reach",
        ),
        (hides_steps, "the gradient of the loss of soft targets must reach the logits"),
        (overflows, "the loss must be finite for logits of -300 and 300 that are right"),
        (steep_at_one, "the gradient must be finite for logits of -300 and 300 that are right"),
        (lambda logits, targets: F.nll_loss(logits.log_softmax(dim=1), targets), "the loss of soft targets"),
        (shifts, "the loss of class indices must not change the logits in place"),
        (changes_targets, "the loss of soft targets must not change the targets in place"),
        (disagrees, "the same classes as one-hot soft targets must have the same loss"),
        (binary, "its activation is softmax, but the logits that minimise the loss are right with sigmoid"),
        (draws, "the loss must draw no random numbers"),
        (always_float32, "the loss of float64 logits and class indices must be float64, not torch.float32"),
        (refuses_float64, "the loss of float64 logits and class indices raised RuntimeError"),
        (reads, "the loss of class indices must read no value of a tensor"),
        (keeps_on_cpu, "must move its own tensors to the device of the logits"),
    ],
)
def test_a_mistake_is_named(function: Any, message: str) -> None:
    found = violation(lambda: check_loss(spec_of(function)))
    assert found.startswith("loss mine: ")
    assert message in found


def test_losses_of_both_activations_keep_the_contract() -> None:
    check_loss(spec_of(good))
    check_loss(spec_of(binary, activation="sigmoid"))
    check_loss(spec_of(None, build="zoo_losses.softmax:cross_entropy", smooths_labels=True))


def test_a_softmax_that_claims_to_be_a_sigmoid_is_named() -> None:
    found = violation(lambda: check_loss(spec_of(good, activation="sigmoid")))
    assert "its activation is sigmoid, but the logits that minimise the loss are right with softmax" in found
    assert "activation='softmax'" in found


def test_a_loss_that_claims_to_smooth_labels_must_do_so() -> None:
    found = violation(lambda: check_loss(spec_of(good, smooths_labels=True)))
    assert "with smooths_labels, the loss must spread request.label_smoothing" in found


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (good, "must be the loss of each, (6,), not ()"),
        (lambda logits, targets: good(logits, targets).repeat(6) * 2, "must be the loss without it: for class indices"),
    ],
)
def test_a_loss_that_claims_to_give_that_of_each_photo_must_do_so(
    function: Callable[[Tensor, Tensor], Tensor], message: str
) -> None:
    def build(request: zoo.LossRequest) -> Callable[[Tensor, Tensor], Tensor]:
        return function if request.per_image else good

    assert message in violation(lambda: check_loss(spec_of(None, build=build, per_image=True)))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda losses: losses.sum(dim=1), "must be the loss of each label, (6, 3), not (6,)"),
        (lambda losses: losses / 3, "must add up to that of the photo without it: for class indices"),
    ],
)
def test_a_loss_that_claims_to_give_that_of_each_label_must_do_so(
    function: Callable[[Tensor], Tensor], message: str
) -> None:
    def build(request: zoo.LossRequest) -> Callable[[Tensor, Tensor], Tensor]:
        def loss(logits: Tensor, targets: Tensor) -> Tensor:
            soft = F.one_hot(targets, logits.shape[1]).to(logits) if targets.ndim == 1 else targets
            losses = F.binary_cross_entropy_with_logits(logits, soft, reduction="none")
            return function(losses) if request.per_label else losses.sum(dim=1).mean()

        return loss

    assert message in violation(lambda: check_loss(spec_of(None, build=build, activation="sigmoid", per_label=True)))


@dataclass(frozen=True, kw_only=True)
class Options:
    reduction_is_mean: bool = option(True, help="Whether it is the mean.")
    scale: float = option(help="A factor.", minimum=0.1)


def test_every_choice_of_the_options_is_checked() -> None:
    def build(request: zoo.LossRequest) -> Callable[[Tensor, Tensor], Tensor]:
        options = request.options
        return lambda logits, targets: (
            good(logits, targets) * options.scale * (1 if options.reduction_is_mean else len(logits))
        )

    spec = zoo.LossSpec(name="mine", build=build, options=Options)
    found = violation(lambda: check_loss(spec, options={"scale": 2}))
    assert "must be the mean over the photos" in found
    assert "it requires the option 'scale'" in violation(lambda: check_loss(spec))


def test_the_kit_of_a_plugin_checks_its_losses() -> None:
    plugin = plugin_of(zoo_losses=lambda: [spec_of(overflows)])
    assert "loss mine: the loss must be finite" in violation(lambda: check_plugin(plugin))
