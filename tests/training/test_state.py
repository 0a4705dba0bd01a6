import math

import pytest
import torch

from zoo.errors import TrainingError
from zoo.training.finite import check_loss, check_weights
from zoo.training.random_state import random_states, seed_all, set_random_states
from zoo.training.state import Meter, TrainState

CPU = torch.device("cpu")


def draws():
    import random

    import numpy as np

    return random.random(), float(np.random.rand()), float(np.random.randn()), float(torch.rand(()))


def test_a_meter_goes_on_with_the_same_sums_and_time():
    torch.manual_seed(0)
    whole, again = Meter(CPU), Meter(CPU)
    for number in range(7):
        loss, logits, labels = torch.rand(()), torch.randn(5, 3), torch.randint(3, (5,))
        whole.add(loss, logits, labels, share=0.5)
        if number == 3:
            whole.started -= 100
            kept = whole.state_dict()
        if number > 3:
            if number == 4:
                again.load_state_dict(kept)
            again.add(loss, logits, labels, share=0.5)
    assert again.read() == whole.read()
    assert (again.images, again.shared) == (35, 70)
    assert again.rate() == pytest.approx(0.7, rel=0.01)


def test_an_epoch_without_a_finite_loss_is_never_the_best():
    state = TrainState()
    assert not state.improve(1.0, math.nan)
    assert state.improve(0.5, 3.0)


def test_the_generators_of_python_numpy_and_torch_are_seeded_kept_and_brought_back():
    seed_all(3)
    first = draws()
    seed_all(3)
    assert draws() == first
    states = random_states(CPU)
    after = draws()
    draws()
    set_random_states(states, CPU)
    assert draws() == after


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_generator_of_a_gpu_and_a_meter_on_it_are_kept_and_brought_back():
    device = torch.device("cuda", 0)
    states, meter, again = random_states(device), Meter(device), Meter(device)
    drawn = torch.rand(4, device=device)
    meter.add(drawn.sum(), torch.eye(3, device=device), torch.zeros(3, dtype=torch.int64, device=device))
    set_random_states(states, device)
    assert torch.equal(torch.rand(4, device=device), drawn)
    kept = meter.state_dict()
    assert kept["sums"].device == CPU
    again.load_state_dict(kept)
    assert again.read() == meter.read()


def test_a_largest_seed_is_one_too():
    seed_all(2**31 + 7)
    assert torch.initial_seed() == 2**31 + 7


def test_losses_and_weights_that_are_not_finite_are_told_with_step_and_rate():
    network = torch.nn.Linear(2, 2)
    check_weights(network, epoch=1, step=2, rate=0.1)
    check_loss(0.5, epoch=1, step=2, rate=0.1)
    network.bias.data[1] = torch.nan
    for check in (
        lambda: check_weights(network, epoch=1, step=2, rate=0.1),
        lambda: check_loss(math.inf, epoch=1, step=2, rate=0.1),
    ):
        with pytest.raises(TrainingError, match=r"step 2.*0\.1") as caught:
            check()
        assert "--lr" in caught.value.hint
    network.bias.requires_grad_(requires_grad=False)  # what does not learn was so before
    check_weights(network, epoch=1, step=2, rate=0.1)
