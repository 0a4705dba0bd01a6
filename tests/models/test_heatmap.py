"""Where a network looked."""

import pytest
import torch
from torch import nn

from zoo.models.heatmap import Heatmap
from zoo.plugins.contracts import Features, Head
from zoo.plugins.losses import Criterion


class LinearHead(Head):
    def __init__(self, width, *, over_map=False):
        super().__init__(Criterion())
        self.over_map = over_map
        self.linear = nn.Linear(width, 3)

    def forward(self, features):
        return self.linear(features.map.mean(dim=(2, 3)) if self.over_map else features.pooled)


def features(batch=2, channels=5):
    places = torch.randn(batch, channels, 4, 6)
    return Features(pooled=places.mean(dim=(2, 3)), map=places)


def test_of_a_linear_head_it_is_the_class_activation_map():
    head, seen = LinearHead(5), features()
    logits = head(seen)
    weight = head.linear.weight - head.linear.weight.mean(dim=0)
    expected = torch.einsum("nc,nchw->nhw", weight[logits.argmax(dim=1)], seen.map)
    low, high = expected.amin(dim=(1, 2), keepdim=True), expected.amax(dim=(1, 2), keepdim=True)
    got = Heatmap(head, pooled_width=5, map_width=5)(seen, logits)
    torch.testing.assert_close(got, (expected - low) / (high - low), atol=1e-5, rtol=0)


def test_the_place_that_decides_is_the_brightest():
    head, places = LinearHead(3), torch.zeros(1, 3, 4, 6)
    nn.init.eye_(head.linear.weight)
    places[0, 1, 2, 3] = 10
    seen = Features(pooled=places.mean(dim=(2, 3)), map=places)
    got = Heatmap(head, pooled_width=3, map_width=3)(seen, torch.tensor([[0.0, 1.0, 0.0]]))
    assert got[0, 2, 3] == 1
    assert got.sum().item() == pytest.approx(1)


def test_a_head_that_looks_at_the_map_alone_is_asked_whatever_the_widths():
    over_map = Heatmap(LinearHead(5, over_map=True), pooled_width=9, map_width=5)
    assert over_map.asks_head
    seen = features()
    assert over_map(seen, over_map.head(seen)).shape == (2, 4, 6)
    assert not Heatmap(LinearHead(9), pooled_width=9, map_width=5).asks_head


def test_elsewhere_it_is_the_length_of_the_features():
    places = torch.zeros(1, 5, 2, 2)
    places[0, 3, 1, 0] = -7
    got = Heatmap(LinearHead(9), pooled_width=9, map_width=5)(Features(torch.zeros(1, 9), places), torch.zeros(1, 3))
    assert got.tolist() == [[[0, 0], [1, 0]]]


def test_an_even_map_stays_dark():
    places = torch.ones(1, 5, 2, 2)
    got = Heatmap(LinearHead(5), pooled_width=5, map_width=5)(Features(torch.ones(1, 5), places), torch.zeros(1, 3))
    assert got.abs().max() == 0
