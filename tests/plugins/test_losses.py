from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import pytest
import torch
from criteria import make_criterion
from fakes import make_registry
from plugin_helpers import plugin_of
from torch import Tensor
from torch.nn import functional as F

import zoo
from zoo.errors import ConfigError, PluginError
from zoo.plugins.criterion import Criterion
from zoo.plugins.kinds import LOSS
from zoo.plugins.losses import build_criterion

if TYPE_CHECKING:
    from collections.abc import Callable

LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.0, 0.0, 3.0]])
TARGETS = torch.tensor([0, 1])


def build(function: Any, *, label_smoothing: float = 0.0, **values: Any) -> Criterion:
    """Returns the criterion of a third-party loss."""
    spec = zoo.LossSpec(**{"name": "mine", "build": lambda request: function, **values})
    registry = make_registry(plugin_of(zoo_losses=lambda: [spec]), "acme")
    return build_criterion(registry.choose(LOSS, "mine", {}), classes=3, label_smoothing=label_smoothing)


def soft_only(seen: list[Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        seen.append(targets)
        soft = F.one_hot(targets, 3) if targets.ndim == 1 else targets
        return -(soft * logits.log_softmax(dim=1)).sum(dim=1).mean()

    return loss


@pytest.mark.parametrize("smoothing", [-0.1, 1.1, math.nan])
def test_label_smoothing_is_a_share(smoothing: float) -> None:
    with pytest.raises(ConfigError, match="label_smoothing is"):
        Criterion(name="mine", function=F.cross_entropy, label_smoothing=smoothing)


def test_labels_are_smoothed_for_a_loss_that_does_not() -> None:
    seen: list[Tensor] = []
    criterion = build(soft_only(seen), label_smoothing=0.3)
    wanted = F.cross_entropy(LOGITS, TARGETS, label_smoothing=0.3)
    torch.testing.assert_close(criterion.loss(LOGITS, TARGETS), wanted)
    torch.testing.assert_close(seen[-1], torch.tensor([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1]]))
    assert build(soft_only(seen)).loss(LOGITS, TARGETS)
    assert torch.equal(seen[-1], TARGETS), "without smoothing, indices stay indices"


def test_a_loss_that_smooths_labels_itself_gets_them_as_they_are() -> None:
    seen: list[Tensor] = []
    build(soft_only(seen), label_smoothing=0.3, smooths_labels=True).loss(LOGITS, TARGETS)
    assert torch.equal(seen[-1], TARGETS)


def test_a_loss_gets_at_least_float32() -> None:
    seen: list[Tensor] = []
    criterion = build(soft_only(seen))
    loss = criterion.loss(LOGITS.half(), F.one_hot(TARGETS, 3))
    assert (loss.dtype, seen[-1].dtype) == (torch.float32, torch.float32)
    assert criterion.probabilities(LOGITS.bfloat16()).dtype == torch.float32


def test_the_activation_is_that_of_the_spec() -> None:
    criterion = build(soft_only([]), activation="sigmoid")
    assert not criterion.sums_to_one
    assert torch.equal(criterion.probabilities(LOGITS), LOGITS.sigmoid())
    assert torch.equal(build(soft_only([])).probabilities(LOGITS), LOGITS.softmax(dim=1))


def test_a_finished_run_has_an_activation_but_no_loss() -> None:
    criterion = Criterion(name="mine", function=None, activation="sigmoid")
    assert torch.equal(criterion.probabilities(LOGITS), LOGITS.sigmoid())
    with pytest.raises(ConfigError, match="The loss 'mine' is not available in a finished run"):
        criterion.loss(LOGITS, TARGETS)


def raises(logits: Tensor, targets: Tensor) -> Tensor:
    raise IndexError("no such thing")


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (3, "acme/mine: build returned int, not a function"),
        (raises, "The plugin acme:acme failed while computing, with indices, the loss 'mine': IndexError"),
        (lambda logits, targets: logits.sum(dim=1), r"the loss of indices is \(4,\), not a single number"),
        (lambda logits, targets: 0.0, "the loss of indices is float, not a single number"),
        (lambda logits, targets: logits.sum() / 0, "the loss of indices is .*inf for moderate logits|nan"),
        (lambda logits, targets: logits.detach().mean(), "no gradient of the loss of indices reaches the logits"),
        (lambda logits, targets: F.nll_loss(logits, targets), "the loss of soft targets|with soft targets"),
    ],
)
def test_a_loss_that_violates_its_contract_is_named_before_training(function: Any, message: str) -> None:
    with pytest.raises(PluginError, match=message):
        build(function)


def test_an_unknown_activation_is_refused_when_the_plugin_is_loaded() -> None:
    spec = zoo.LossSpec(name="mine", build=lambda request: raises, activation="tanh")  # type: ignore[arg-type]
    registry = zoo.load_registry(extra={"acme": plugin_of(zoo_losses=lambda: [spec])})
    (failure,) = [plugin for plugin in registry.failures if plugin.distribution == "acme"]
    assert "whose activation is 'tanh', neither 'softmax' nor 'sigmoid'" in str(failure.error)


def per_image(request: zoo.LossRequest) -> Callable[[Tensor, Tensor], Tensor]:
    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        losses = F.cross_entropy(logits, targets, reduction="none")
        return losses if request.per_image else losses.mean()

    return loss


def weighted(weights: tuple[float, ...] = (), *, label_smoothing: float = 0.0, **values: Any) -> Criterion:
    """Returns the criterion of a loss of each image, with these weights of the classes."""
    spec = zoo.LossSpec(name="mine", build=values.pop("build", per_image), per_image=True, **values)
    registry = make_registry(plugin_of(zoo_losses=lambda: [spec]), "acme")
    choice = registry.choose(LOSS, "mine", {})
    return build_criterion(choice, classes=3, label_smoothing=label_smoothing, class_weights=weights)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_the_loss_of_a_photo_is_multiplied_by_the_weight_of_its_class(smoothing: float) -> None:
    criterion = weighted((3.0, 0.5, 7.0), label_smoothing=smoothing)
    losses = F.cross_entropy(LOGITS, TARGETS, reduction="none", label_smoothing=smoothing)
    torch.testing.assert_close(criterion.loss(LOGITS, TARGETS), (3 * losses[0] + 0.5 * losses[1]) / 2)
    soft = torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.2, 0.8]])
    losses = F.cross_entropy(LOGITS, soft * (1 - smoothing) + smoothing / 3, reduction="none")
    torch.testing.assert_close(criterion.loss(LOGITS, soft), (1.75 * losses[0] + 5.7 * losses[1]) / 2)
    torch.testing.assert_close(weighted((1.0,) * 3).loss(LOGITS, soft), weighted().loss(LOGITS, soft))


def test_weights_of_the_same_photos_in_several_batches_add_up() -> None:
    criterion = weighted((3.0, 0.5, 7.0))
    parts = torch.stack([criterion.loss(LOGITS[i : i + 1], TARGETS[i : i + 1]) for i in range(2)])
    torch.testing.assert_close(parts.mean(), criterion.loss(LOGITS, TARGETS))


def test_an_evaluation_before_the_first_step_is_no_obstacle() -> None:
    criterion = weighted((2.5, 0.25, 1.125))
    with torch.inference_mode():
        criterion.loss(LOGITS, TARGETS)
    leaf = LOGITS.clone().requires_grad_()
    criterion.loss(leaf, TARGETS).backward()
    assert leaf.grad is not None
    assert leaf.grad.any()


def test_logits_are_adjusted_in_the_loss_but_in_no_prediction() -> None:
    registry = make_registry(plugin_of(zoo_losses=lambda: [zoo.LossSpec(name="mine", build=per_image)]), "acme")
    offsets = (-0.1, -3.0, -2.0)
    criterion = build_criterion(registry.choose(LOSS, "mine", {}), classes=3, logit_offsets=offsets)
    torch.testing.assert_close(
        criterion.loss(LOGITS, TARGETS), F.cross_entropy(LOGITS + torch.tensor(offsets), TARGETS)
    )
    assert torch.equal(criterion.probabilities(LOGITS), LOGITS.softmax(dim=1))


def test_a_loss_that_cannot_be_weighted_or_adjusted_is_refused() -> None:
    registry = make_registry(plugin_of(zoo_losses=lambda: [zoo.LossSpec(name="mine", build=per_image)]), "acme")
    choice = registry.choose(LOSS, "mine", {})
    with pytest.raises(ConfigError, match=r"The loss 'mine' has no loss per photo"):
        build_criterion(choice, classes=3, class_weights=(1.0, 2.0, 3.0))
    with pytest.raises(ConfigError, match=r"The loss 'mine' has no loss per label"):
        build_criterion(choice, classes=3, positive_weights=(1.0, 2.0, 3.0))
    with pytest.raises(PluginError, match=r"the losses of 4 images with indices are \(\)"):
        weighted((1.0, 2.0, 3.0), build=lambda request: F.cross_entropy)


@pytest.mark.parametrize("temperature", [(2.0,), (2.0, 0.5, 1.0)], ids=["one", "one for each"])
def test_a_temperature_divides_logits_in_probabilities_but_not_in_the_loss(temperature: tuple[float, ...]) -> None:
    criterion = make_criterion("bce")
    divided = dataclasses.replace(criterion, temperature=temperature)
    logits, labels = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0])
    torch.testing.assert_close(divided.probabilities(logits), (logits / torch.tensor(temperature)).sigmoid())
    assert divided.loss(logits, labels) == criterion.loss(logits, labels)
