import pytest
import torch
from criteria import make_criterion
from fakes import SmallBackbone
from torch import nn
from torch.nn import functional

from zoo.models.classifier import Classifier
from zoo.models.heatmap import Heatmap, build_heatmap
from zoo.plugins.contracts import Features, Head


class LinearHead(Head):
    def __init__(self, width, *, over_map=False):
        super().__init__(make_criterion())
        self.over_map = over_map
        self.linear = nn.Linear(width, 3)

    def forward(self, features):
        return self.linear(features.map.mean(dim=(2, 3)) if self.over_map else features.pooled)


class StageHead(Head):
    """A linear layer over the means of the maps of stages."""

    def __init__(self, *stages, width, pooled=0):
        super().__init__(make_criterion())
        self.stages = stages
        self.pooled = pooled
        self.linear = nn.Linear(width + pooled, 3)

    def forward(self, features):
        vectors = [stage.mean(dim=(2, 3)) for stage in features.stages]
        return self.linear(torch.cat([*vectors, features.pooled[:, : self.pooled]], dim=1))


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


def test_the_heatmap_of_a_head_over_stages_adds_their_evidence_in_the_resolution_of_the_finest():
    classifier = Classifier(SmallBackbone(), StageHead("layer1", "layer2", width=20)).eval()
    features = classifier.backbone.extract(torch.randn(2, 3, 32, 48))
    fine, coarse = features.stages
    assert (fine.shape, coarse.shape) == ((2, 8, 8, 12), (2, 12, 4, 6))
    logits = classifier.head(features)
    heatmap = build_heatmap(classifier, (32, 48))
    assert heatmap.probes_head
    weight = (classifier.head.linear.weight - classifier.head.linear.weight.mean(dim=0))[logits.argmax(dim=1)]
    together = torch.cat([fine, functional.interpolate(coarse, size=(8, 12), mode="bilinear")], dim=1)
    expected = torch.einsum("nc,nchw->nhw", weight, together)
    low, high = expected.amin(dim=(1, 2), keepdim=True), expected.amax(dim=(1, 2), keepdim=True)
    actual = heatmap(features, logits)
    assert actual.shape == (2, 8, 12)
    torch.testing.assert_close(actual, (expected - low) / (high - low), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("stages", "size"), [(("stem", "layer2"), (8, 8)), (("layer2",), (2, 2)), ((), (2, 2))])
def test_the_resolution_is_that_of_the_finest_stage(stages, size):
    width = sum({"stem": 8, "layer2": 12}[stage] for stage in stages)
    head = StageHead(*stages, width=width, pooled=0 if stages else 12)
    classifier = Classifier(SmallBackbone(), head).eval()
    features = classifier.backbone.extract(torch.randn(3, 3, 16, 16))
    assert build_heatmap(classifier, (16, 16))(features, classifier.head(features)).shape == (3, *size)


def test_a_head_over_stages_and_pooled_features_is_probed_only_if_map_and_pooled_features_have_one_meaning():
    head = StageHead("stem", width=8, pooled=5)
    assert Heatmap(head, pooled_width=5, map_width=5, stage_widths=[8]).probes_head
    assert not Heatmap(head, pooled_width=5, map_width=6, stage_widths=[8]).probes_head
    without = StageHead("stem", width=8)
    assert Heatmap(without, pooled_width=5, map_width=6, stage_widths=[8]).probes_head
