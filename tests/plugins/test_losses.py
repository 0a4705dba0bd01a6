from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.errors import ConfigError
from zoo.plugins.losses import LOSSES, Criterion

LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.0, 0.0, 3.0]])
TARGETS = torch.tensor([0, 1])


def one_hot(smoothing: float = 0.0) -> Tensor:
    return F.one_hot(TARGETS, 3).float() * (1 - smoothing) + smoothing / 3


def test_an_unknown_loss_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="There is no loss 'cross-entropi'") as caught:
        Criterion(name="cross-entropi")
    assert caught.value.hint == "Did you mean cross-entropy? The losses are cross-entropy, focal, bce."


@pytest.mark.parametrize("smoothing", [-0.1, 1.1, math.nan])
def test_label_smoothing_is_a_share(smoothing: float) -> None:
    with pytest.raises(ConfigError, match="label_smoothing is"):
        Criterion(label_smoothing=smoothing)


def test_cross_entropy_is_torchs_own() -> None:
    assert torch.equal(Criterion().loss(LOGITS, TARGETS), F.cross_entropy(LOGITS, TARGETS))


def test_focal_loss_is_the_papers_formula() -> None:
    p = LOGITS.softmax(dim=1)[[0, 1], TARGETS]
    torch.testing.assert_close(Criterion(name="focal").loss(LOGITS, TARGETS), (-((1 - p) ** 2) * p.log()).mean())


def test_focal_loss_downweights_easy_examples() -> None:
    easy, hard = torch.tensor([[9.0, 0.0]]), torch.tensor([[0.0, 0.0]])
    target = torch.tensor([0])

    def share(logits: Tensor) -> float:
        return float(Criterion(name="focal").loss(logits, target) / Criterion().loss(logits, target))

    assert share(hard) == pytest.approx(0.25)
    assert share(easy) < 1e-6


def test_bce_is_summed_over_the_classes_and_averaged_over_the_batch() -> None:
    p = LOGITS.sigmoid()
    wanted = -(one_hot() * p.log() + (1 - one_hot()) * (1 - p).log()).sum() / len(LOGITS)
    torch.testing.assert_close(Criterion(name="bce").loss(LOGITS, TARGETS), wanted)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_indices_and_their_one_hot_rows_give_the_same_loss(name: str, smoothing: float) -> None:
    criterion = Criterion(name=name, label_smoothing=smoothing)
    torch.testing.assert_close(criterion.loss(LOGITS, one_hot()), criterion.loss(LOGITS, TARGETS))


@pytest.mark.parametrize("name", LOSSES)
def test_label_smoothing_is_the_loss_of_smoothed_targets(name: str) -> None:
    smoothed = Criterion(name=name, label_smoothing=0.3).loss(LOGITS, TARGETS)
    torch.testing.assert_close(smoothed, Criterion(name=name).loss(LOGITS, one_hot(0.3)))
    assert not torch.isclose(smoothed, Criterion(name=name).loss(LOGITS, TARGETS))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_loss_is_a_scalar_of_at_least_float32(name: str, dtype: torch.dtype) -> None:
    for targets in (TARGETS, one_hot(), one_hot().to(dtype)):
        loss = Criterion(name=name, label_smoothing=0.1).loss(LOGITS.to(dtype), targets)
        assert loss.ndim == 0
        assert loss.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


@pytest.mark.parametrize("name", LOSSES)
def test_loss_and_gradient_are_finite_for_extreme_logits(name: str) -> None:
    logits = torch.tensor([[1000.0, -1000.0], [1000.0, -1000.0]], requires_grad=True)
    loss = Criterion(name=name).loss(logits, torch.tensor([0, 1]))
    loss.backward()
    assert loss.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert logits.grad[1].any(), "a confident mistake must have a gradient"


@pytest.mark.parametrize("name", LOSSES)
def test_a_gradient_step_makes_the_right_class_more_probable(name: str) -> None:
    criterion = Criterion(name=name)
    logits = LOGITS.clone().requires_grad_()
    criterion.loss(logits, TARGETS).backward()
    assert logits.grad is not None
    after = criterion.probabilities((logits - logits.grad).detach())[[0, 1], TARGETS]
    assert (after > criterion.probabilities(LOGITS)[[0, 1], TARGETS]).all()


def test_probabilities_are_softmax_and_for_bce_sigmoid() -> None:
    for name in ("cross-entropy", "focal"):
        assert torch.equal(Criterion(name=name).probabilities(LOGITS), LOGITS.softmax(dim=1))
    assert torch.equal(Criterion(name="bce").probabilities(LOGITS), LOGITS.sigmoid())
    assert Criterion().probabilities(LOGITS.bfloat16()).dtype == torch.float32
