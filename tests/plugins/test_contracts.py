import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from criteria import make_criterion
from torch import nn

from zoo.plugins.contracts import Backbone, Features, Head, Stage, StagedBackbone


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


def test_the_maps_of_tapped_stages_are_added_to_the_features_in_the_order_asked_for(backbone):
    images, body = torch.randn(2, 3, 8, 12), backbone.body
    assert backbone.extract(images).stages == ()
    backbone.tapped_stages = ("last", "stem")
    features, plain = backbone.extract(images), backbone(images)
    assert plain.stages == ()
    assert torch.equal(features.pooled, plain.pooled)
    assert torch.equal(features.map, plain.map)
    assert torch.equal(features.stages[0], plain.map)
    assert torch.equal(features.stages[1], body["stem"](images))
    features.stages[1].sum().backward()
    assert body["stem"].weight.grad is not None


def test_tapping_leaves_no_hooks_even_if_the_network_fails(backbone):
    backbone.tapped_stages = ("stem",)
    backbone.extract(torch.randn(1, 3, 8, 8))
    with pytest.raises(RuntimeError):
        backbone.extract(torch.randn(1, 5, 8, 8))
    assert not any(module._forward_hooks for module in backbone.modules())


def test_threads_that_run_the_same_network_get_the_maps_of_their_own_images(backbone):
    class Slow(nn.Conv2d):
        def forward(self, images):
            barrier.wait()  # so that both threads have their hooks
            output = super().forward(images)
            barrier.wait()
            return output

    barrier = threading.Barrier(2, timeout=20)
    backbone.body["stem"] = Slow(3, 4, 3, 2, 1)
    backbone.tapped_stages = ("stem",)
    images = [torch.randn(1, 3, 8, 8), torch.randn(1, 3, 8, 8)]
    with ThreadPoolExecutor(2) as pool:
        maps = [features.stages[0] for features in pool.map(backbone.extract, images)]
    for image, stage_map in zip(images, maps, strict=True):
        assert torch.equal(stage_map, nn.Conv2d.forward(backbone.body["stem"], image))


def test_the_module_of_a_stage_has_parameters_of_that_stage_alone():
    class Grouped(StagedBackbone):
        def stages(self):
            return (
                Stage("stem", ("body.low.0.weight", "body.low.0.bias")),
                Stage("block", ("body.low.1.weight", "body.low.1.bias", "body.high.weight", "body.high.bias")),
                Stage("scale", ("scale",)),
            )

    backbone = Grouped(
        {"low": nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)), "high": nn.Conv2d(4, 4, 1)}, width=4
    )
    backbone.scale = nn.Parameter(torch.ones(1))
    modules = backbone.stage_modules()
    assert modules == {"stem": backbone.body["low"][0], "block": backbone.body["high"]}


def test_a_state_dict_keeps_its_names_by_default(backbone):
    state = {"conv1.weight": torch.zeros(1)}
    assert backbone.adapt_state_dict(state) == state
    assert backbone.adapt_state_dict(state) is not state


def test_a_head_uses_the_loss_and_the_activation_of_its_criterion():
    class Mean(Head):
        def forward(self, features):
            return features.pooled

    head = Mean(make_criterion("bce", label_smoothing=0.1))
    logits, targets = head(Features(torch.randn(4, 3), torch.zeros(4, 3, 1, 1))), torch.tensor([0, 1, 2, 0])
    assert torch.equal(head.loss(logits, targets), head.criterion.loss(logits, targets))
    assert torch.equal(head.probabilities(logits), logits.sigmoid())


def test_a_head_that_overrides_nothing_pools_nothing():
    class Mean(Head):
        def forward(self, features):
            return features.map.mean(dim=(2, 3))

    head, features = Mean(make_criterion()), Features(torch.randn(2, 3), torch.randn(2, 3, 4, 4))
    assert head.pool(features) is features
    assert torch.equal(head.classify(features), head(features))
    assert (head.stages, head.output_layer) == ((), None)


@pytest.mark.parametrize("base", [Backbone, Head])
def test_the_contract_is_abstract(base):
    with pytest.raises(TypeError, match="abstract"):
        base()
