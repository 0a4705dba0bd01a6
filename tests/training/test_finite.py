import math
import re

import pytest
import torch
from fakes import FakePlugin, SmallHead, make_registry
from training_runs import assert_same_weights, latest_run, read_weights

import zoo
from zoo.errors import TrainingError
from zoo.training.finite import check_loss, check_val_loss, check_weights

HINT = "Lower --lr, raise --warmup, set --clip-grad 1, or use --precision fp32."


def test_finite_numbers_pass():
    check_loss(0.5, epoch=1, step=2, rate=0.1)
    check_val_loss(0.5, epoch=1, rate=0.1)
    check_weights(torch.nn.Linear(2, 2), epoch=1, step=2, rate=0.1)


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_an_error_with_epoch_step_and_rate(loss):
    with pytest.raises(TrainingError) as caught:
        check_loss(loss, epoch=1, step=2, rate=0.1)
    assert caught.value.message == (
        f"The loss became {loss} in epoch 1, at or before step 2, at a learning rate of 0.1."
    )
    assert caught.value.hint == HINT
    with pytest.raises(TrainingError) as caught:
        check_val_loss(loss, epoch=1, rate=0.1)
    assert caught.value.message == f"The validation loss became {loss} in epoch 1, at a learning rate of 0.1."
    assert caught.value.hint == HINT


def test_only_trainable_weights_have_to_be_finite():
    network = torch.nn.Linear(2, 2)
    network.bias.data[1] = torch.nan
    with pytest.raises(TrainingError, match=r"no longer finite after step 2 of epoch 1, at a learning rate of 0\.1"):
        check_weights(network, epoch=1, step=2, rate=0.1)
    network.bias.requires_grad_(requires_grad=False)
    check_weights(network, epoch=1, step=2, rate=0.1)


class DivergingHead(SmallHead):
    """Returns logits of NaN from the training step `start` on: in training, or only in evaluation."""

    start, only_in_evaluation, steps = 7, False, 0

    def forward(self, features):
        in_step = self.training and torch.is_grad_enabled()
        DivergingHead.steps += in_step
        diverged = DivergingHead.steps >= self.start and not (in_step and self.only_in_evaluation)
        return super().forward(features) * (torch.nan if diverged else 1)


@pytest.fixture
def registry(monkeypatch):
    monkeypatch.setattr(DivergingHead, "steps", 0)
    return make_registry(FakePlugin(heads=[zoo.HeadSpec(name="flat", build=DivergingHead)]))


def test_weights_of_nan_end_the_run_and_the_last_good_state_is_kept(train, resume, runs, monkeypatch):
    with pytest.raises(TrainingError) as caught:
        train(save_every=0)
    message = r"The weights are no longer finite after step 2 of epoch 2, at a learning rate of [\d.e-]+\."
    assert re.fullmatch(message, caught.value.message)
    assert caught.value.hint == HINT
    run = latest_run(runs)
    assert run.record.status == "interrupted"
    assert run.record.saved == {"epoch": 1, "step": 1}
    assert all(tensor.isfinite().all() for tensor in read_weights(run).values())
    monkeypatch.setattr(DivergingHead, "start", 10**9)
    assert_same_weights(resume(run.path), train())


@pytest.mark.parametrize(("epochs", "start", "epoch"), [(1, 5, 1), (3, 10, 2)])
def test_a_validation_loss_of_nan_ends_the_run_and_the_last_good_state_is_kept(
    train, resume, runs, monkeypatch, epochs, start, epoch
):
    monkeypatch.setattr(DivergingHead, "start", start)
    monkeypatch.setattr(DivergingHead, "only_in_evaluation", True)
    with pytest.raises(TrainingError) as caught:
        train(epochs=epochs, save_every=0)
    message = rf"The validation loss became nan in epoch {epoch}, at a learning rate of [\d.e-]+\."
    assert re.fullmatch(message, caught.value.message)
    assert caught.value.hint == HINT
    run = latest_run(runs)
    assert run.record.status == "interrupted"
    assert run.record.saved == {"epoch": epoch - 1, "step": 5}
    assert [row["epoch"] for row in run.metrics()] == list(range(1, epoch))
    monkeypatch.setattr(DivergingHead, "start", 10**9)
    assert_same_weights(resume(run.path), train(epochs=epochs))
