import functools
import math
import re

import pytest
import torch
from fakes import FakePlugin, SmallHead, make_images, make_registry
from training_runs import EventRecorder, assert_same_weights, latest_run, read_weights

import zoo
from zoo.errors import ConfigError, DivergedError, RunError, TrainingError
from zoo.training import finetune
from zoo.training.finite import StepLog, check_loss, check_outputs, check_scale, check_val_loss, check_weights

LOGITS = torch.tensor([[0.5, -2.0], [1.0, 0.0]])
HINT = "Lower --lr, raise --warmup, set --clip-grad 1, or use --precision fp32."


def test_finite_numbers_pass():
    check_loss(0.5, epoch=1, step=2, rate=0.1)
    check_val_loss(0.5, LOGITS, epoch=1, rate=0.1, locate=str)
    check_weights(torch.nn.Linear(2, 2), epoch=1, step=2, rate=0.1)


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_an_error_with_epoch_step_and_rate(loss):
    with pytest.raises(DivergedError) as caught:
        check_loss(loss, epoch=1, step=2, rate=0.1)
    assert caught.value.message == (
        f"The loss became {loss} in epoch 1, at or before step 2, at a learning rate of 0.1."
    )
    assert caught.value.hint == HINT
    with pytest.raises(DivergedError) as caught:
        check_val_loss(loss, LOGITS, epoch=1, rate=0.1, locate=lambda: ", first in the output of head")
    assert caught.value.message == (
        f"The validation loss became {loss} in epoch 1, at a learning rate of 0.1, first in the output of head."
    )
    assert caught.value.hint == HINT


def test_outputs_that_are_not_finite_are_an_error_even_if_the_loss_is():
    logits = LOGITS.clone()
    logits[1, 1] = torch.inf
    with pytest.raises(
        DivergedError, match=r"NaN or infinite for 1 of 2 validation photos in epoch 1, .* rate of 0\.1"
    ):
        check_val_loss(0.5, logits, epoch=1, rate=0.1, locate=str)
    samples = make_images().test
    with pytest.raises(TrainingError, match=r"infinity for 1 of 2 test photos \(the first: test/green/0\.png\)"):
        check_outputs(logits, samples, split="test")
    check_outputs(LOGITS, samples, split="test")


def test_only_trainable_weights_and_statistics_have_to_be_finite():
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    network[0].bias.data[1] = torch.nan
    with pytest.raises(
        DivergedError, match=r"no longer finite after step 2 of epoch 1, at a learning rate of 0\.1: 0\.bias\."
    ):
        check_weights(network, epoch=1, step=2, rate=0.1)
    network[0].bias.requires_grad_(requires_grad=False)
    check_weights(network, epoch=1, step=2, rate=0.1)
    network[1].running_var[0] = torch.inf
    with pytest.raises(DivergedError, match=r"The averaged weights are .*: 1\.running_var\."):
        check_weights(network, epoch=1, step=2, rate=0.1, what="averaged weights")


def log_of(*steps):
    log = StepLog()
    for step, loss, norm in steps:
        norm = None if norm is None else torch.tensor(norm)
        log.add(step, rate=step / 100, loss=torch.tensor(loss), norm=norm)
    return log


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (
            [(4, 0.5, 1.0), (5, math.nan, math.nan), (6, math.nan, math.nan)],
            "The loss became nan in step 5 of epoch 2, at a learning rate of 0.05; it was 0.5 in the step before.",
        ),
        ([(1, math.inf, math.nan)], "The loss became inf in step 1 of epoch 2, at a learning rate of 0.01."),
        (
            [(4, 0.5, 1.0), (5, 0.25, math.inf), (6, math.nan, math.nan)],
            "The gradient became inf in step 5 of epoch 2, at a learning rate of 0.05; the loss was 0.25.",
        ),
    ],
)
def test_the_first_step_that_is_not_finite_is_named(steps, message):
    with pytest.raises(DivergedError) as caught:
        log_of(*steps).check(epoch=2)
    assert (caught.value.message, caught.value.hint) == (message, HINT)


def test_finite_steps_pass_and_the_last_of_them_is_remembered():
    log = log_of((1, 0.5, 1.0), (2, 0.75, None))
    for _ in range(2):
        log.check(epoch=1)
    log.add(3, rate=0.1, loss=torch.tensor(math.nan), norm=torch.tensor(0.0))
    with pytest.raises(DivergedError, match=r"in step 3 .*; it was 0\.75 in the step before\."):
        log.check(epoch=1)


def test_an_fp16_training_that_skips_every_step_ends():
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**-10)
    check_scale(scaler, epoch=1, step=3)
    check_scale(torch.amp.GradScaler("cpu", enabled=False), epoch=1, step=3)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**-15)
    with pytest.raises(DivergedError, match="in every step up to step 3 of epoch 1: no weight changes") as caught:
        check_scale(scaler, epoch=1, step=3)
    assert caught.value.hint == "Use --precision fp32."


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


def test_weights_of_nan_end_the_run_and_the_last_good_state_is_kept(train, resume, runs, registry, monkeypatch):
    with pytest.raises(TrainingError) as caught:
        train(save_every=0)
    message = (
        r"The loss became nan in step 2 of epoch 2, at a learning rate of [\d.e-]+; it was [\d.]+ in the step before\."
    )
    assert re.fullmatch(message, caught.value.message)
    assert caught.value.hint == HINT
    run = latest_run(runs)
    assert run.record.status == "interrupted"
    assert run.record.saved == {"epoch": 1, "step": 1}
    assert all(tensor.isfinite().all() for tensor in read_weights(run).values())
    monkeypatch.setattr(DivergingHead, "start", 10**9)
    assert_same_weights(resume(run.path, anyway=True, registry=registry), train())


@pytest.mark.parametrize(("epochs", "start", "epoch"), [(1, 5, 1), (3, 10, 2)])
def test_a_validation_loss_of_nan_ends_the_run_and_the_last_good_state_is_kept(
    train, resume, runs, registry, monkeypatch, epochs, start, epoch
):
    monkeypatch.setattr(DivergingHead, "start", start)
    monkeypatch.setattr(DivergingHead, "only_in_evaluation", True)
    with pytest.raises(TrainingError) as caught:
        train(epochs=epochs, save_every=0)
    message = (
        rf"The validation loss became nan in epoch {epoch}, at a learning rate of [\d.e-]+, first in the output of "
    )
    assert re.fullmatch(message + r"head\.", caught.value.message)
    assert caught.value.hint == HINT
    run = latest_run(runs)
    assert run.record.status == "interrupted"
    assert run.record.saved == {"epoch": epoch - 1, "step": 5}
    assert [row["epoch"] for row in run.metrics()] == list(range(1, epoch))
    monkeypatch.setattr(DivergingHead, "start", 10**9)
    assert_same_weights(resume(run.path, anyway=True, registry=registry), train(epochs=epochs))


class BreakingHead(SmallHead):
    """Multiplies its weights by a number in some training steps."""

    factors, steps = {}, 0

    def forward(self, features):
        if self.training and torch.is_grad_enabled():
            BreakingHead.steps += 1
            self.linear.weight.data *= self.factors.get(BreakingHead.steps, 1)
        return super().forward(features)


@pytest.fixture
def break_weights(train, runs, monkeypatch):
    """Returns a function that trains a run whose weights are multiplied in some steps, at a learning rate of 1e-3."""
    registry = make_registry(FakePlugin(heads=[zoo.HeadSpec(name="flat", build=BreakingHead)]))

    def train_and_diverge(factors, **values):
        monkeypatch.setattr(BreakingHead, "steps", 0)
        monkeypatch.setattr(BreakingHead, "factors", factors)
        with pytest.raises(DivergedError):
            train(save_every=0, lr=1e-3, registry=registry, **values)
        monkeypatch.setattr(BreakingHead, "factors", {})
        return latest_run(runs)

    return train_and_diverge


@pytest.fixture
def diverged(break_weights):
    """A run that diverged in the second step of its second epoch."""
    return break_weights({7: torch.nan})


@pytest.fixture
def resume(runs):
    registry = make_registry(FakePlugin(heads=[zoo.HeadSpec(name="flat", build=BreakingHead)]))
    return functools.partial(finetune.resume, registry=registry, pictures=False)


def test_a_run_that_diverged_is_not_repeated_and_a_lower_rate_is_offered(diverged, resume):
    assert diverged.record.diverged[0]["lr"] == 1e-3
    with pytest.raises(RunError) as caught:
        resume(diverged.path)
    assert "diverged, and would again with the same settings: The " in caught.value.message
    assert caught.value.hint == (
        f"'zoo finetune --resume {diverged.path} --lr 0.0001' goes back to the state after step 1 of epoch 2 with a "
        "lower rate; --resume-anyway repeats it with the same rate."
    )


def test_a_run_that_diverged_goes_on_from_its_last_good_state_with_a_lower_rate(diverged, resume):
    recorder = EventRecorder()
    run = resume(diverged.path, lr="1e-4", observer=recorder)
    assert run.finished
    assert run.config["lr"] == 1e-4
    assert run.record.diverged[0]["then"] == {"lr": 1e-4}
    first, *_, last = run.metrics()
    assert first["learning_rate"] == pytest.approx(10 * 1e-4, rel=0.2)  # before it diverged
    assert last["learning_rate"] <= 1e-4
    assert all(tensor.isfinite().all() for tensor in read_weights(run).values())


def test_weights_that_are_lost_are_not_saved_and_the_state_before_is_offered(break_weights):
    recorder = EventRecorder()
    record = break_weights({6: 1e20, 8: torch.inf}, observer=recorder).record
    assert record.saved == {"epoch": 1, "step": 0}
    assert record.diverged[0]["restart"] is False
    assert any("goes back to the state after epoch 1 with a lower rate" in note for note in recorder.notes)


def test_a_run_whose_checkpoint_is_no_good_state_starts_again(train, resume, runs, registry, monkeypatch):
    monkeypatch.setattr(DivergingHead, "start", 10**9)
    with pytest.raises(DivergedError):
        train(lr=1e25, optimizer="sgd", warmup=0, save_every=0)
    run = latest_run(runs)
    assert run.record.saved == {"epoch": 0, "step": 1}
    assert run.record.diverged[0]["restart"] is True
    with pytest.raises(RunError) as caught:
        resume(run.path, registry=registry)
    command = f"'zoo finetune --resume {run.path} --lr 0.01'"
    assert caught.value.hint.startswith(f"{command} starts again, because no good state was saved, with a lower rate;")
    assert_same_weights(resume(run.path, lr=1e-3, registry=registry), train(lr=1e-3, optimizer="sgd", warmup=0))


def test_a_lower_rate_survives_a_kill_before_the_next_save(diverged, resume):
    recorder = EventRecorder(lambda event: type(event).__name__ == "Started")
    with pytest.raises(KeyboardInterrupt):
        resume(diverged.path, lr=1e-4, observer=recorder)
    run = resume(diverged.path)
    assert run.finished
    assert run.config["lr"] == 1e-4


@pytest.mark.parametrize("lr", [1e-3, 0.5])
def test_the_rate_has_to_be_lower(diverged, resume, lr):
    with pytest.raises(ConfigError, match=r"but the run diverged at 0\.001") as caught:
        resume(diverged.path, lr=lr)
    assert caught.value.hint == "Pass a lower rate, for example --lr 0.0001."


def test_other_runs_keep_their_rate(train, resume, runs):
    recorder = EventRecorder(lambda event: type(event).__name__ == "EpochResult")
    with pytest.raises(KeyboardInterrupt):
        train(save_every=0, epochs=1, observer=recorder)
    with pytest.raises(ConfigError, match="did not diverge: it is resumed with its own learning rate"):
        resume(latest_run(runs).path, lr=1e-5)


class FailingAtOnce(SmallHead):
    """Returns NaN in training: no weight can be the cause."""

    def forward(self, features):
        return super().forward(features) * (torch.nan if self.training else 1)


def test_a_first_step_of_nan_is_not_blamed_on_the_learning_rate(train, runs):
    registry = make_registry(FakePlugin(heads=[zoo.HeadSpec(name="flat", build=FailingAtOnce)]))
    with pytest.raises(TrainingError) as caught:
        train(registry=registry)
    assert caught.value.message == "The loss of the first step is nan, first in the output of head."
    assert "the learning rate is not the cause" in caught.value.hint
    assert latest_run(runs).record.diverged == ()


class HugeGradient(SmallHead):
    """Has a gradient that is too large for float32, from a loss that is not."""

    def forward(self, features):
        logits = super().forward(features)
        logits.register_hook(lambda gradient: gradient * 1e30) if logits.requires_grad else None
        return logits


def test_a_gradient_that_is_not_finite_is_named_before_the_loss_is(train):
    registry = make_registry(FakePlugin(heads=[zoo.HeadSpec(name="flat", build=HugeGradient)]))
    with pytest.raises(DivergedError, match=r"The gradient became inf in step 1 of epoch 1, .*; the loss was \d"):
        train(registry=registry)
