import math

import pytest
import torch

from zoo.training.state import Meter, TrainState

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


def test_the_best_epoch_has_the_highest_accuracy_and_then_the_lowest_loss():
    state = TrainState()
    epochs = [(0.5, 1.0), (0.5, 1.2), (0.5, 0.9), (0.7, 2.0), (0.6, 0.1), (0.7, 2.0)]
    assert [state.improve(*epoch) for epoch in epochs] == [True, False, True, True, False, False]
    assert (state.best_accuracy, state.best_loss) == (0.7, 2.0)


def test_an_epoch_with_a_loss_of_nan_is_never_the_best():
    state = TrainState()
    assert not state.improve(1.0, math.nan)
    assert state.improve(0.5, 3.0)
