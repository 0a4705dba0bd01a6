import copy

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from zoo.training.ema import WeightAverage


class MixedState(nn.Module):
    """A layer with statistics, and with buffers that must not be averaged."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 4)
        self.norm = nn.BatchNorm1d(4)
        self.register_buffer("places", torch.arange(200))
        self.register_buffer("mask", torch.tensor([True, False]), persistent=False)

    def forward(self, x):
        return self.norm(self.linear(x))


def take_steps(network, *averages, count=4):
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3)
    for _ in range(count):
        optimizer.zero_grad()
        network(torch.randn(5, 3)).pow(4).sum().backward()
        optimizer.step()
        for average in averages:
            average.update_parameters(network)


@pytest.mark.parametrize("decay", [0.95, 0.9, 0.5, 0.0, 1.0])
def test_weights_and_statistics_are_averaged_and_integers_copied(decay):
    network = MixedState()
    average = WeightAverage(network, decay=decay)
    reference = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
    take_steps(network, average, reference)
    assert torch.equal(average.module.places, torch.arange(200))
    assert average.module.mask.tolist() == [True, False]
    assert average.module.norm.num_batches_tracked == 4
    expected = reference.module.state_dict()
    for name, value in average.module.state_dict().items():
        assert not value.is_floating_point() or torch.equal(value, expected[name]), name


def test_the_first_update_copies_the_weights():
    network = MixedState()
    average = WeightAverage(network, decay=0.9)
    take_steps(network, average, count=1)
    for one, other in zip(average.module.parameters(), network.parameters(), strict=True):
        assert torch.equal(one, other)
        assert one is not other


def test_an_average_continues_from_its_state():
    network = MixedState()
    average, resumed = WeightAverage(network, decay=0.9), WeightAverage(MixedState(), decay=0.9)
    take_steps(network, average)
    resumed.load_state_dict(copy.deepcopy(average.state_dict()))
    take_steps(network, average, resumed)
    for name, value in average.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
