from __future__ import annotations

import math

import pytest
import torch
from criteria import LOSSES, SIGMOIDS, make_criterion
from torch import Tensor
from torch.nn import functional as F

from zoo.errors import ConfigError
from zoo.testing import check_plugin

LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.0, 0.0, 3.0]])
TARGETS = torch.tensor([0, 1])


def one_hot(smoothing: float = 0.0) -> Tensor:
    return F.one_hot(TARGETS, 3).float() * (1 - smoothing) + smoothing / 3


def value(name: str, logits: Tensor = LOGITS, targets: Tensor = TARGETS, **options: float) -> float:
    return float(make_criterion(name, **options).loss(logits, targets))


def test_the_plugin_keeps_the_contract() -> None:
    check_plugin("zoo_losses")


def test_cross_entropy_is_torchs_own() -> None:
    assert torch.equal(make_criterion().loss(LOGITS, TARGETS), F.cross_entropy(LOGITS, TARGETS))


def test_focal_loss_is_the_papers_formula() -> None:
    p = LOGITS.softmax(dim=1)[[0, 1], TARGETS]
    torch.testing.assert_close(make_criterion("focal").loss(LOGITS, TARGETS), (-((1 - p) ** 2) * p.log()).mean())


def test_focal_loss_downweights_easy_examples() -> None:
    easy, hard = torch.tensor([[9.0, 0.0]]), torch.tensor([[0.0, 0.0]])
    target = torch.tensor([0])

    def share(logits: Tensor) -> float:
        return float(make_criterion("focal").loss(logits, target) / make_criterion().loss(logits, target))

    assert share(hard) == pytest.approx(0.25)
    assert share(easy) < 1e-6


def test_bce_is_summed_over_the_classes_and_averaged_over_the_batch() -> None:
    p = LOGITS.sigmoid()
    wanted = -(one_hot() * p.log() + (1 - one_hot()) * (1 - p).log()).sum() / len(LOGITS)
    torch.testing.assert_close(make_criterion("bce").loss(LOGITS, TARGETS), wanted)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_indices_and_their_one_hot_rows_give_the_same_loss(name: str, smoothing: float) -> None:
    criterion = make_criterion(name, label_smoothing=smoothing)
    torch.testing.assert_close(criterion.loss(LOGITS, one_hot()), criterion.loss(LOGITS, TARGETS))


@pytest.mark.parametrize("name", LOSSES)
def test_label_smoothing_is_the_loss_of_smoothed_targets(name: str) -> None:
    smoothed = make_criterion(name, label_smoothing=0.3).loss(LOGITS, TARGETS)
    torch.testing.assert_close(smoothed, make_criterion(name).loss(LOGITS, one_hot(0.3)))
    assert not torch.isclose(smoothed, make_criterion(name).loss(LOGITS, TARGETS))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_loss_is_a_scalar_of_at_least_float32(name: str, dtype: torch.dtype) -> None:
    for targets in (TARGETS, one_hot(), one_hot().to(dtype)):
        loss = make_criterion(name, label_smoothing=0.1).loss(LOGITS.to(dtype), targets)
        assert loss.ndim == 0
        assert loss.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


@pytest.mark.parametrize("name", LOSSES)
def test_loss_and_gradient_are_finite_for_extreme_logits(name: str) -> None:
    logits = torch.tensor([[1000.0, -1000.0], [1000.0, -1000.0]], requires_grad=True)
    loss = make_criterion(name).loss(logits, torch.tensor([0, 1]))
    loss.backward()
    assert loss.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert logits.grad[1].any(), "a confident mistake must have a gradient"


@pytest.mark.parametrize("name", LOSSES)
def test_a_gradient_step_makes_the_right_class_more_probable(name: str) -> None:
    criterion = make_criterion(name)
    logits = LOGITS.clone().requires_grad_()
    criterion.loss(logits, TARGETS).backward()
    assert logits.grad is not None
    after = criterion.probabilities((logits - logits.grad).detach())[[0, 1], TARGETS]
    assert (after > criterion.probabilities(LOGITS)[[0, 1], TARGETS]).all()


@pytest.mark.parametrize("name", LOSSES)
def test_probabilities_are_those_of_the_activation(name: str) -> None:
    wanted = LOGITS.sigmoid() if name in SIGMOIDS else LOGITS.softmax(dim=1)
    criterion = make_criterion(name)
    assert torch.equal(criterion.probabilities(LOGITS), wanted)
    assert criterion.sums_to_one == (name not in SIGMOIDS)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_the_loss_of_mixed_targets_is_the_mean_of_their_losses(name: str, weight: float) -> None:
    """Mixup computes it either way."""
    criterion, others = make_criterion(name), torch.tensor([2, 0])
    mixed = weight * one_hot() + (1 - weight) * F.one_hot(others, 3).float()
    wanted = criterion.loss(LOGITS, TARGETS).lerp(criterion.loss(LOGITS, others), 1 - weight)
    torch.testing.assert_close(criterion.loss(LOGITS, mixed), wanted)


def test_without_their_options_they_are_those_from_which_they_come() -> None:
    assert value("focal", gamma=0.0) == pytest.approx(value("cross-entropy"))
    assert value("poly-1", epsilon=0.0) == pytest.approx(value("cross-entropy"))
    assert value("asymmetric", gamma_pos=0.0, gamma_neg=0.0, clip=0.0) == pytest.approx(value("bce"))


def test_poly_1_adds_a_multiple_of_the_missing_probability() -> None:
    missing = 1 - LOGITS.softmax(dim=1)[[0, 1], TARGETS]
    assert value("poly-1", epsilon=3.0) == pytest.approx(value("cross-entropy") + 3 * float(missing.mean()))


def test_the_asymmetric_loss_is_the_papers_formula() -> None:
    p = LOGITS.sigmoid().double()
    q = (p - 0.1).clamp(min=0)
    positive, negative = -((1 - p) ** 1.5) * p.log(), -(q**3) * (1 - q).log()
    wanted = torch.where(one_hot() == 1, positive, negative).sum(dim=1).mean()
    options = {"gamma_pos": 1.5, "gamma_neg": 3.0, "clip": 0.1}
    assert value("asymmetric", **options) == pytest.approx(float(wanted), rel=1e-5)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("focal", {"gamma": 0.5}),
        ("focal", {"gamma": 20.0}),
        ("poly-1", {"epsilon": -1.0}),
        ("asymmetric", {"gamma_pos": 0.5, "gamma_neg": 0.5}),
        ("asymmetric", {"clip": 0.0}),
        ("asymmetric", {"clip": 0.9, "gamma_neg": 20.0}),
    ],
)
def test_gradients_are_finite_for_extreme_options(name: str, options: dict[str, float]) -> None:
    logits = torch.tensor([[300.0, -300.0], [-300.0, 300.0], [0.0, 0.0]], requires_grad=True)
    make_criterion(name, **options).loss(logits, torch.tensor([0, 0, 1])).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize(
    ("name", "options"), [("focal", {"gamma": -1.0}), ("poly-1", {"epsilon": math.nan}), ("asymmetric", {"clip": 1.0})]
)
def test_options_are_checked(name: str, options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"loss losses/{name}"):
        make_criterion(name, **options)


@pytest.mark.parametrize("name", SIGMOIDS)
def test_weights_of_labels_multiply_the_loss_of_photos_that_have_them(name: str) -> None:
    targets = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    plain = make_criterion(name)

    def label_loss(photo: int, label: int) -> torch.Tensor:
        """The loss of one label: what remains without the others, whose loss for certain logits is 0."""
        logits = torch.where(targets[photo] > 0, 60.0, -60.0)
        logits[label] = LOGITS[photo, label]
        return plain.loss(logits[None], targets[photo][None])

    losses = torch.stack([torch.stack([label_loss(photo, label) for label in range(3)]) for photo in range(2)])
    weighted = make_criterion(name, positive_weights=(3.0, 0.5, 7.0))
    weights = torch.tensor([[3.0, 0.5, 1.0], [1.0, 1.0, 1.0]])
    torch.testing.assert_close(weighted.loss(LOGITS, targets), (losses * weights).sum(dim=1).mean())
    torch.testing.assert_close(
        make_criterion(name, positive_weights=(1.0,) * 3).loss(LOGITS, targets), plain.loss(LOGITS, targets)
    )


@pytest.mark.parametrize("name", LOSSES)
def test_weights_of_classes_multiply_the_loss_of_each_photo(name: str) -> None:
    plain, weighted = make_criterion(name), make_criterion(name, class_weights=(2.0, 0.5, 1.0))
    first, second = (plain.loss(LOGITS[i : i + 1], TARGETS[i : i + 1]) for i in range(2))
    torch.testing.assert_close(weighted.loss(LOGITS, TARGETS), (2 * first + 0.5 * second) / 2)
    torch.testing.assert_close(weighted.loss(LOGITS, one_hot()), weighted.loss(LOGITS, TARGETS))
