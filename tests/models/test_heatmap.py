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


def random_features(batch=2, channels=5):
    positions = torch.randn(batch, channels, 4, 6)
    return Features(pooled=positions.mean(dim=(2, 3)), map=positions)


def test_the_heatmap_of_a_linear_head_is_the_class_activation_map():
    head, features = LinearHead(5), random_features()
    logits = head(features)
    weight = head.linear.weight - head.linear.weight.mean(dim=0)
    expected = torch.einsum("nc,nchw->nhw", weight[logits.argmax(dim=1)], features.map)
    low, high = expected.amin(dim=(1, 2), keepdim=True), expected.amax(dim=(1, 2), keepdim=True)
    heatmap = Heatmap(head, pooled_width=5, map_width=5)(features, logits)
    torch.testing.assert_close(heatmap, (expected - low) / (high - low), atol=1e-5, rtol=0)


def test_the_decisive_position_is_the_brightest():
    head, positions = LinearHead(3), torch.zeros(1, 3, 4, 6)
    nn.init.eye_(head.linear.weight)
    positions[0, 1, 2, 3] = 10
    features = Features(pooled=positions.mean(dim=(2, 3)), map=positions)
    heatmap = Heatmap(head, pooled_width=3, map_width=3)(features, torch.tensor([[0.0, 1.0, 0.0]]))
    assert heatmap[0, 2, 3] == 1
    assert heatmap.sum().item() == pytest.approx(1)


def test_a_head_that_uses_only_the_map_is_probed_whatever_the_widths():
    over_map = Heatmap(LinearHead(5, over_map=True), pooled_width=9, map_width=5)
    assert over_map.probes_head
    features = random_features()
    assert over_map(features, over_map.head(features)).shape == (2, 4, 6)
    assert not Heatmap(LinearHead(9), pooled_width=9, map_width=5).probes_head


def test_otherwise_the_heatmap_is_the_norm_of_the_features():
    positions = torch.zeros(1, 5, 2, 2)
    positions[0, 3, 1, 0] = -7
    heatmap = Heatmap(LinearHead(9), pooled_width=9, map_width=5)(
        Features(torch.zeros(1, 9), positions), torch.zeros(1, 3)
    )
    assert heatmap.tolist() == [[[0, 0], [1, 0]]]


def test_a_constant_map_stays_dark():
    positions = torch.ones(1, 5, 2, 2)
    heatmap = Heatmap(LinearHead(5), pooled_width=5, map_width=5)(
        Features(torch.ones(1, 5), positions), torch.zeros(1, 3)
    )
    assert heatmap.abs().max() == 0
