import pytest
import torch
from torch import nn

from zoo.plugins.contracts import Backbone, Features, Head, StagedBackbone
from zoo.plugins.losses import Criterion


@pytest.fixture
def backbone():
    stages = {"stem": nn.Conv2d(3, 4, 3, 2, 1), "pool": nn.MaxPool2d(2), "last": nn.Conv2d(4, 6, 1, bias=False)}
    return StagedBackbone(stages, width=6)


def test_stages_run_in_sequence_and_the_map_is_pooled_by_its_mean(backbone):
    images = torch.randn(2, 3, 8, 12)
    features = backbone(images)
    body = backbone.body
    torch.testing.assert_close(features.map, body["last"](body["pool"](body["stem"](images))))
    assert features.map.shape == (2, 6, 2, 3)
    torch.testing.assert_close(features.pooled, features.map.mean(dim=(2, 3)))
    assert (backbone.pooled_width, backbone.map_width) == (6, 6)


def test_modules_without_parameters_are_not_stages(backbone):
    assert [(stage.name, stage.parameters) for stage in backbone.stages()] == [
        ("stem", ("body.stem.weight", "body.stem.bias")),
        ("last", ("body.last.weight",)),
    ]


def test_a_state_dict_keeps_its_names_by_default(backbone):
    state = {"conv1.weight": torch.zeros(1)}
    assert backbone.adapt_state_dict(state) == state
    assert backbone.adapt_state_dict(state) is not state


def test_a_head_uses_the_loss_and_the_activation_of_its_criterion():
    class Mean(Head):
        def forward(self, features):
            return features.pooled

    head = Mean(Criterion(name="bce", label_smoothing=0.1))
    logits, targets = head(Features(torch.randn(4, 3), torch.zeros(4, 3, 1, 1))), torch.tensor([0, 1, 2, 0])
    assert torch.equal(head.loss(logits, targets), head.criterion.loss(logits, targets))
    assert torch.equal(head.probabilities(logits), logits.sigmoid())


@pytest.mark.parametrize("base", [Backbone, Head])
def test_the_contract_is_abstract(base):
    with pytest.raises(TypeError, match="abstract"):
        base()
