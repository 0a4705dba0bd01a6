import pytest
import torch
from fakes import SmallBackbone, make_classifier
from torch import nn

from zoo.models.finite import find_bad_entries, find_source, mark_overflow
from zoo.plugins.contracts import Features


def test_parameters_must_be_finite_and_buffers_may_be_infinite():
    network = nn.Sequential(nn.BatchNorm1d(2))
    network.register_buffer("mask", torch.tensor([-torch.inf, 0]))
    assert find_bad_entries(network.state_dict(), network) == []
    assert find_bad_entries({}, network) == []
    network.mask[1] = torch.nan
    network[0].weight.data[1] = torch.inf
    network[0].running_var[0] = torch.inf
    assert find_bad_entries(network.state_dict(), network) == ["mask", "0.weight", "0.running_var"]
    assert find_bad_entries(network[0].state_dict(), network[0]) == ["weight", "running_var"]


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_probabilities_of_logits_that_are_not_finite_are_nan(value):
    logits = torch.tensor([[1.0, 2.0], [0.0, value]])
    marked = mark_overflow(logits.sigmoid(), logits)
    assert torch.equal(marked[0], logits[0].sigmoid())
    assert marked[1].isnan().all()


class Overflow(nn.Module):
    def forward(self, images):
        return images * torch.inf


def test_the_first_module_that_returns_nan_or_infinity_is_named():
    classifier = make_classifier().eval()
    images = torch.ones(2, 3, 16, 16)
    assert find_source(classifier, images) == ""
    classifier.backbone.body["layer1"][2] = Overflow()
    assert find_source(classifier, images) == ", first in the output of backbone.body.layer1.2"
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in classifier.modules())
    assert find_source(classifier, images * torch.nan) == ", because its input is not finite"


def test_modules_may_return_anything():
    class Odd(SmallBackbone):
        def forward(self, images):
            features = super().forward(images)
            return Features(features.pooled, features.map / 0)

    class Wrapper(nn.Module):
        def __init__(self, inner, result):
            super().__init__()
            self.inner, self.result = inner, result

        def forward(self, images):
            return self.result(self.inner(images))

    images = torch.ones(1, 3, 16, 16)
    for result in (lambda features: {"map": [features.map], "name": "x"}, lambda features: None):
        network = nn.Sequential(Wrapper(SmallBackbone().eval(), result))
        assert find_source(network, images) == ""
        network = nn.Sequential(Wrapper(Odd().eval(), result))
        assert find_source(network, images) == ", first in the output of 0.inner"
