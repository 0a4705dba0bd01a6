import pytest
import torch
from fakes import FakePlugin, SmallBackbone, SmallHead, make_backbone_spec, make_registry
from torch import nn

from zoo.config import make_config
from zoo.errors import ConfigError, PluginError, WeightsError
from zoo.models.build import build_backbone, build_head
from zoo.models.classifier import Classifier, freeze, set_training
from zoo.plugins.contracts import Features, Stage, StagedBackbone
from zoo.plugins.kinds import BACKBONE, HEAD
from zoo.plugins.losses import Criterion
from zoo.plugins.specs import HeadSpec
from zoo.training.optimizer import parameter_groups


def an_offer(build):
    return make_registry(FakePlugin(backbones=[make_backbone_spec("broken", build=build)])).find(BACKBONE, "broken")


def built(backbone, size=(16, 16)):
    return build_backbone(an_offer(lambda request: backbone), pretrained=False, image_size=size, options=None)


def head_of(module, backbone=None):
    offer = make_registry(FakePlugin(heads=[HeadSpec(name="h", build=lambda request: module(request))])).find(HEAD, "h")
    return build_head(offer, backbone or SmallBackbone(), outputs=3, dropout=0.0, criterion=Criterion(), options=None)


def a_classifier(**made):
    backbone = SmallBackbone(**made)
    return Classifier(backbone, head_of(SmallHead, backbone))


class Bent(SmallBackbone):
    """Does what a test tells it to do in place of what it should."""

    def __init__(self, *, features=None, stages=None, **widths):
        super().__init__()
        self.bend_features, self.bend_stages = features, stages
        for name, width in widths.items():
            setattr(self, name, width)

    def forward(self, images):
        features = super().forward(images)
        return self.bend_features(features) if self.bend_features else features

    def stages(self):
        return self.bend_stages(super().stages()) if self.bend_stages else super().stages()


def test_a_backbone_that_keeps_its_contract_comes_back_in_train_mode():
    backbone = built(SmallBackbone())
    assert isinstance(backbone, StagedBackbone)
    assert backbone.training
    assert torch.equal(backbone.body["stem"][1].running_mean, torch.zeros(8))


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        (nn.Linear(1, 1), r"build returned Linear, not a zoo\.Backbone"),
        (None, "build returned NoneType"),
        (Bent(features=tuple), r"forward returned tuple, not zoo\.Features"),
        (Bent(features=lambda f: f.pooled), r"forward returned Tensor, not zoo\.Features"),
        (Bent(features=lambda f: Features(f.pooled, None)), "features are Tensor, NoneType, not tensors"),
        (Bent(features=lambda f: Features(f.pooled[:, :5], f.map)), r"features are \(1, 5\)"),
        (Bent(features=lambda f: Features(f.pooled, f.map.flatten(2))), r"not \(1, 12\) and \(1, 12, h, w\)"),
        (Bent(features=lambda f: Features(f.pooled.double(), f.map)), r"\(1, 12\) float64 and .* float32, not float32"),
        (Bent(pooled_width=13), r"not \(1, 13\)"),
        (Bent(map_width=None), "does not say its map_width, a whole number"),
        (Bent(stages=lambda s: s[:-1]), r"stages\(\) and named_parameters\(\) disagree about 'body\.layer2\.0\.bias'"),
        (Bent(stages=lambda s: (*s, s[0])), r"the parameter 'body\.stem\.0\.bias' is in two stages"),
        (Bent(stages=lambda s: (*s, Stage("ghost", ("nothing",)))), "disagree about 'nothing'"),
        (Bent(stages=lambda s: None), "failed while listing the stages of 'broken': TypeError"),
    ],
)
def test_a_backbone_that_breaks_its_contract_is_named(backbone, message):
    with pytest.raises(PluginError, match=message):
        built(backbone)


def test_pretrained_weights_that_are_broken_are_told_and_random_ones_may_overflow():
    spoilt = Bent(features=lambda f: Features(f.pooled / 0, f.map))
    offer = an_offer(lambda request: spoilt)
    with pytest.raises(PluginError, match="of random noise the features are not all finite") as caught:
        build_backbone(offer, pretrained=True, image_size=(16, 16), options=None)
    assert "weights" in caught.value.hint
    assert build_backbone(offer, pretrained=False, image_size=(16, 16), options=None) is spoilt


def test_a_backbone_whose_code_fails_is_the_plugins_fault():
    def build(request):
        raise KeyError("depth")

    with pytest.raises(
        PluginError, match=r"The plugin fake:fake failed while building 'broken': KeyError: 'depth'"
    ) as caught:
        build_backbone(an_offer(build), pretrained=False, image_size=(16, 16), options=None)
    assert "fake:fake" in caught.value.hint


def test_what_a_plugin_says_itself_is_passed_on():
    def build(request):
        raise WeightsError("The weights are gone.")

    with pytest.raises(WeightsError, match=r"^The weights are gone\.$"):
        build_backbone(an_offer(build), pretrained=True, image_size=(16, 16), options=None)


def test_an_image_size_that_does_not_fit_is_told_with_the_option():
    def only_32(features):
        raise RuntimeError("position embedding of 4 does not fit 1")

    with pytest.raises(ConfigError, match="cannot take images of 16 x 16 pixels: position embedding") as caught:
        built(Bent(features=only_32))
    assert "--image-size" in caught.value.hint


class WrongLogits(SmallHead):
    def forward(self, features):
        return super().forward(features)[:, :2]


class DoubleLogits(SmallHead):
    def forward(self, features):
        return super().forward(features).double()


class SpoiltLogits(SmallHead):
    def forward(self, features):
        return super().forward(features) / 0


class NoLogits(SmallHead):
    def forward(self, features):
        super().forward(features)


class WrongLoss(SmallHead):
    def loss(self, logits, targets):
        return logits.sum(dim=1)


class SpoiltLoss(SmallHead):
    def loss(self, logits, targets):
        return (logits - 1e9).sum().log()


class FailingLoss(SmallHead):
    def loss(self, logits, targets):
        raise IndexError("out of range")


class Failing(SmallHead):
    def forward(self, features):
        raise IndexError("out of range")


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (lambda request: nn.Linear(2, 2), r"build returned Linear, not a zoo\.Head"),
        (WrongLogits, r"logits are \(2, 2\) float32, not \(2, 3\) float32"),
        (DoubleLogits, r"logits are \(2, 3\) float64, not \(2, 3\) float32"),
        (SpoiltLogits, "of random features the tensor of logits is not finite"),
        (NoLogits, "logits are NoneType"),
        (WrongLoss, r"a loss is \(2,\) float32, not a single number"),
        (SpoiltLoss, "of random features the loss is not finite"),
        (FailingLoss, "failed while computing the loss of 'h': IndexError: out of range"),
        (Failing, "failed while computing logits with 'h': IndexError: out of range"),
    ],
)
def test_a_head_that_breaks_its_contract_is_named(head, message):
    with pytest.raises(PluginError, match=message):
        head_of(head)


def learning(classifier):
    return {name for name, parameter in classifier.named_parameters() if parameter.requires_grad}


def test_stages_are_frozen_from_the_input():
    classifier = a_classifier()
    freeze(classifier, 2)
    assert {name.rpartition(".")[0] for name in learning(classifier)} == {
        "backbone.body.layer2.0",
        "backbone.body.layer2.1",
        "head.linear",
    }
    freeze(classifier, 0)
    assert learning(classifier) == dict(classifier.named_parameters()).keys()
    freeze(classifier, None)
    assert learning(classifier) == {"head.linear.weight", "head.linear.bias"}
    freeze(classifier, 3)
    assert learning(classifier) == {"head.linear.weight", "head.linear.bias"}


def test_too_many_stages_are_told_with_their_names():
    with pytest.raises(ConfigError, match="option 'freeze' is 4, but the backbone has 3 stages") as caught:
        freeze(a_classifier(), 4)
    assert "stem, layer1, layer2" in caught.value.hint


def test_what_is_frozen_neither_drops_nor_moves_its_statistics():
    classifier = a_classifier(dropout=0.5)
    freeze(classifier, 1)
    set_training(classifier, freeze_norm_stats=False)
    stem, layer1 = classifier.backbone.body["stem"], classifier.backbone.body["layer1"]
    assert not any(module.training for module in stem.modules())
    assert all(module.training for module in layer1.modules())
    assert classifier.head.training
    assert classifier.backbone.training


def test_norm_statistics_alone_can_be_frozen():
    classifier = a_classifier()
    set_training(classifier, freeze_norm_stats=True)
    modes = {type(module): module.training for module in classifier.backbone.body["layer1"]}
    assert modes == {nn.Conv2d: True, nn.BatchNorm2d: False, nn.ReLU: True, nn.Dropout: True}
    assert len(learning(classifier)) == len(list(classifier.parameters()))


def by_name(classifier, config):
    names = {parameter: name for name, parameter in classifier.named_parameters()}
    return {
        names[parameter]: (group["lr_scale"], group["weight_decay"])
        for group in parameter_groups(classifier, config)
        for parameter in group["params"]
    }


@pytest.mark.parametrize("frozen", [0, 1, None])
def test_everything_that_learns_is_in_one_group(frozen):
    classifier = a_classifier()
    freeze(classifier, frozen)
    groups = parameter_groups(classifier, make_config("b", data="d"))
    grouped = [parameter for group in groups for parameter in group["params"]]
    assert len(grouped) == len(set(grouped))
    assert set(grouped) == {parameter for parameter in classifier.parameters() if parameter.requires_grad}


def test_rates_fall_from_stage_to_stage_and_the_head_has_its_own():
    config = make_config("b", data="d", head_lr_multiplier=10, layer_decay=0.5, weight_decay=0.1)
    groups = by_name(a_classifier(), config)
    assert groups["backbone.body.stem.0.weight"] == (0.25, 0.1)
    assert groups["backbone.body.layer1.0.weight"] == (0.5, 0.1)
    assert groups["backbone.body.layer2.0.weight"] == (1.0, 0.1)
    assert groups["head.linear.weight"] == (10.0, 0.1)


def test_biases_and_norms_take_no_weight_decay_unless_asked_for():
    plain = by_name(a_classifier(), make_config("b", data="d", weight_decay=0.1, decay_norms=False))
    assert {name for name, (_, decay) in plain.items() if decay} == {
        "backbone.body.stem.0.weight",
        "backbone.body.layer1.0.weight",
        "backbone.body.layer2.0.weight",
        "head.linear.weight",
    }
    every = by_name(a_classifier(), make_config("b", data="d", weight_decay=0.1, decay_norms=True))
    assert {decay for _, decay in every.values()} == {0.1}


def test_a_classifier_is_its_head_on_its_backbone():
    classifier = a_classifier().eval()
    images = torch.randn(2, 3, 16, 16)
    assert torch.equal(classifier(images), classifier.head(classifier.backbone(images)))
