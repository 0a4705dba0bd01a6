import math

import pytest
import torch

from zoo.training.state import Meter, TrainState, is_lower

CPU = torch.device("cpu")


def test_a_meter_continues_from_its_state():
    whole, resumed = Meter(CPU), Meter(CPU)
    for number in range(7):
        loss, logits, labels = torch.rand(()), torch.randn(5, 3), torch.randint(3, (5,))
        whole.add(loss, logits, labels, share=0.5)
        if number == 3:
            whole.started -= 100
            resumed.load_state_dict(whole.state_dict())
        if number > 3:
            resumed.add(loss, logits, labels, share=0.5)
    assert resumed.read() == whole.read()
    assert (resumed.images, resumed.all_images) == (35, 70)
    assert resumed.rate() == pytest.approx(0.7, rel=0.01)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_meter_on_a_gpu_has_its_state_on_the_cpu():
    device = torch.device("cuda", 0)
    meter, resumed = Meter(device), Meter(device)
    loss, logits, labels = torch.rand((), device=device), torch.eye(3, device=device), torch.zeros(3, device=device)
    meter.add(loss, logits, labels.long())
    state = meter.state_dict()
    assert state["sums"].device == CPU
    resumed.load_state_dict(state)
    assert resumed.read() == meter.read()


def losses(*values):
    return torch.tensor(values, dtype=torch.float32)


def improve(state, epoch, accuracy, *values):
    """Ends an epoch with the losses of some photos."""
    state.epoch = epoch
    return state.improve(accuracy, float(losses(*values).mean()), losses(*values))


def test_the_best_epoch_has_the_lower_loss_beyond_noise_and_then_the_higher_accuracy():
    state = TrainState()
    epochs = [
        (0.5, 1.0, 1.0, 1.0, 1.0),
        (0.5, 1.1, 1.3, 1.0, 1.0),  # a higher loss
        (0.7, 1.5, 0.6, 1.2, 0.9),  # more accurate; the loss is higher by less than its standard error
        (0.6, 0.3, 0.2, 0.4, 0.3),  # a much lower loss
        (0.9, 2.0, 2.0, 2.0, 2.0),  # more accurate, but with a much higher loss
        (0.6, 0.3, 0.2, 0.4, 0.3),  # the same again
    ]
    assert [improve(state, number, *epoch) for number, epoch in enumerate(epochs, start=1)] == [
        True, False, True, True, False, False
    ]  # fmt: skip
    assert (state.best_epoch, state.best_accuracy, state.best_loss) == (4, 0.6, pytest.approx(0.3))


def test_an_epoch_with_a_loss_of_nan_is_never_the_best():
    state = TrainState()
    assert not improve(state, 1, 1.0, math.nan)
    assert state.best_epoch == -1
    assert improve(state, 2, 0.5, 3.0)
    assert not improve(state, 3, 1.0, math.nan)


def test_a_monitored_value_decides_and_of_equal_ones_the_loss():
    state, best = TrainState(), []
    for epoch, (score, loss) in enumerate(
        [(math.nan, 1.0), (0.5, 2.0), (0.4, 0.1), (0.5, 1.0), (math.nan, 0.0), (0.6, 9)]
    ):
        state.epoch = epoch
        best.append(state.improve(0.5, loss, losses(loss, loss), score=score))
    assert best == [True, True, False, True, False, True]
    assert (state.best_epoch, state.best_score, state.best_loss) == (5, 0.6, 9)


def test_a_probe_is_replaced_only_if_the_loss_is_lower_beyond_doubt():
    state = TrainState()
    assert improve(state, 0, 0.5, 1.0, 1.0, 1.0, 1.0)
    # Lower by 0.2 on average, with a standard error of 0.31; more accurate, too.
    assert not improve(state, 1, 0.9, 0.2, 0.5, 1.0, 1.5)
    assert (state.best_epoch, state.best_accuracy) == (0, 0.5)
    # Lower by 0.2, with a standard error of 0.16.
    assert not improve(state, 1, 0.9, 0.4, 0.7, 1.1, 1.0)
    # Lower by 0.2, with a standard error of 0.06; less accurate.
    assert improve(state, 2, 0.4, 0.7, 0.7, 0.9, 0.9)
    assert (state.best_epoch, state.best_accuracy, state.best_loss) == (2, 0.4, pytest.approx(0.8))
    assert improve(state, 3, 0.5, 0.7, 0.7, 0.8, 0.9)  # no probe any more: one standard error is enough


def test_an_epoch_is_stale_unless_its_loss_is_lower_than_that_of_the_best_epoch():
    state, stale = TrainState(), []
    epochs = [
        (0.5, 1.0, 1.0, 1.0),
        (0.5, 0.0, 1.0, 1.8),
        (0.9, 1.1, 1.1, 1.1),
        (0.9, 0.8, 0.8, 0.9),
        (0.9, 0.8, 0.8, 0.9),
        (0.9, 0.8, 0.8, 0.9),
    ]
    for number, epoch in enumerate(epochs):
        improve(state, number, *epoch)
        stale.append(state.stale_epochs)
    assert stale == [0, 1, 2, 0, 1, 2]
    assert state.best_epoch == 3


def test_a_value_that_is_not_defined_at_the_start_ends_no_training():
    state = TrainState()
    state.improve(0.5, 1.0, losses(1.0, 1.0), score=math.nan)
    assert (state.stale_epochs, state.highest_score) == (0, -math.inf)
    state.improve(0.5, 1.0, losses(1.0, 1.0), score=math.nan)
    assert state.stale_epochs == 1


def test_with_a_monitored_value_an_epoch_is_stale_unless_the_value_rises():
    """Whatever becomes of the losses; and the value of the start counts, too."""
    state, stale = TrainState(), []
    state.start_counting(losses(1.0, 1.0), 0.3)
    for epoch, score in enumerate((0.2, 0.4, 0.4, math.nan, 0.3, 0.5)):
        state.epoch = epoch
        loss = 1.0 - 0.1 * epoch
        state.improve(0.5, loss, losses(loss, loss), score=score)
        stale.append(state.stale_epochs)
    assert stale == [1, 0, 1, 2, 3, 0]
    assert state.highest_score == 0.5


@pytest.mark.parametrize(
    ("ours", "theirs", "lower"),
    [
        ((1.0, 1.0), (1.2, 1.2), True),
        ((1.0, 1.0), (1.0, 1.0), False),
        ((1.0, 1.0), (2.0, 0.9), False),  # a mean difference of 0.45 +- 0.55
        ((1.0, 5.0, 1.0), (1.1, 5.1, 1.2), True),  # photos differ more than the losses of a photo
        ((1.0,), (1.1,), True),
        ((1.1,), (1.0,), False),
        ((1.0, math.nan), (1.2, 1.2), False),
    ],
)
def test_losses_of_the_same_photos_are_compared_in_pairs(ours, theirs, lower):
    assert is_lower(losses(*ours), losses(*theirs)) is lower
