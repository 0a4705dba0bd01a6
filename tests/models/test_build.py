import dataclasses

import pytest
import torch
from criteria import make_criterion
from fakes import CLASSES, PREPROCESS, FakePlugin, SmallBackbone, SmallHead, make_backbone_spec, make_registry
from torch import nn

from zoo.config import make_config
from zoo.errors import ConfigError, PluginError, PluginWarning, WeightsError
from zoo.models.build import assemble, build_backbone, build_head, resolve_preprocess
from zoo.models.classifier import Classifier
from zoo.models.offers import find_offers
from zoo.plugins.contracts import Features, Head, Stage, StagedBackbone
from zoo.plugins.kinds import BACKBONE, HEAD
from zoo.plugins.registry import get_card
from zoo.plugins.specs import HeadSpec


def a_config(backbone="small", **values):
    return make_config(backbone, **{"data": "colours", "head": "flat", **values})


def assemble_small(registry, weights=None, **values):
    config = a_config(**values)
    offers = find_offers(config, registry)
    preprocess = resolve_preprocess(config, get_card(offers.backbone).preprocess)
    return assemble(config, offers, classes=len(CLASSES), preprocess=preprocess, weights=weights)


def offer_of(build):
    return make_registry(FakePlugin(backbones=[make_backbone_spec("broken", build=build)])).find(BACKBONE, "broken")


def build(backbone, size=(16, 16)):
    return build_backbone(offer_of(lambda request: backbone), pretrained=False, image_size=size, options=None)


def head_of(module, backbone=None):
    offer = make_registry(FakePlugin(heads=[HeadSpec(name="h", build=lambda request: module(request))])).find(HEAD, "h")
    values = {"image_size": (16, 16), "outputs": 3, "dropout": 0.0, "criterion": make_criterion(), "options": None}
    return build_head(offer, backbone or SmallBackbone(), **values)


class Altered(SmallBackbone):
    """A backbone whose features or stages a test changes."""

    def __init__(self, *, features=None, stages=None, **widths):
        super().__init__()
        self.change_features, self.change_stages = features, stages
        for name, width in widths.items():
            setattr(self, name, width)

    def forward(self, images):
        features = super().forward(images)
        return self.change_features(features) if self.change_features else features

    def stages(self):
        return self.change_stages(super().stages()) if self.change_stages else super().stages()


class FailingMaps(SmallBackbone):
    def stage_map(self, output, images):
        raise ValueError("no grid")


def test_a_good_backbone_is_returned_in_train_mode():
    backbone = build(SmallBackbone())
    assert isinstance(backbone, StagedBackbone)
    assert backbone.training
    assert torch.equal(backbone.body["stem"][1].running_mean, torch.zeros(8))


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        (nn.Linear(1, 1), r"build returned Linear, not a zoo\.Backbone"),
        (None, "build returned NoneType"),
        (Altered(features=tuple), r"forward returned tuple, not zoo\.Features"),
        (Altered(features=lambda f: f.pooled), r"forward returned Tensor, not zoo\.Features"),
        (Altered(features=lambda f: Features(f.pooled, None)), "features are Tensor and NoneType, not tensors"),
        (Altered(features=lambda f: Features(f.pooled[:, :5], f.map)), r"features are \(1, 5\)"),
        (Altered(features=lambda f: Features(f.pooled, f.map.flatten(2))), r"not \(1, 12\) and \(1, 12, h, w\)"),
        (
            Altered(features=lambda f: Features(f.pooled.double(), f.map)),
            "float64 and .* float32, not float32",
        ),
        (Altered(pooled_width=13), r"not \(1, 13\)"),
        (Altered(map_width=None), "the map_width of the backbone is not a whole number"),
        (
            Altered(stages=lambda s: s[:-1]),
            r"disagree about 'body\.layer2\.0\.bias'",
        ),
        (Altered(stages=lambda s: (*s, s[0])), r"the parameter 'body\.stem\.0\.bias' is in two stages"),
        (Altered(stages=lambda s: (*s, Stage("ghost", ("nothing",)))), "disagree about 'nothing'"),
        (Altered(stages=lambda s: None), "failed while listing the stages of 'broken': TypeError"),
        (FailingMaps(), "failed while reading the stage maps of 'broken': ValueError: no grid"),
    ],
)
def test_a_backbone_that_violates_its_contract_is_refused(backbone, message):
    with pytest.raises(PluginError, match=message):
        build(backbone)


def test_broken_pretrained_weights_are_refused_and_random_ones_may_overflow():
    broken = Altered(features=lambda f: Features(f.pooled / 0, f.map))
    offer = offer_of(lambda request: broken)
    with pytest.raises(PluginError, match="the features of a random image are not finite") as caught:
        build_backbone(offer, pretrained=True, image_size=(16, 16), options=None)
    assert "weights" in caught.value.hint
    assert build_backbone(offer, pretrained=False, image_size=(16, 16), options=None) is broken


@pytest.mark.parametrize(
    ("pretrained", "error", "message"),
    [
        (True, WeightsError, r"^The pretrained weights of fake/\S+ are not finite: body\.stem\.0\.bias\."),
        (False, PluginError, r"^The initial weights of fake/\S+ are not finite: body\.stem\.0\.bias\."),
    ],
)
def test_weights_that_are_not_finite_are_named(pretrained, error, message):
    backbone = SmallBackbone()
    backbone.body["stem"][0].bias.data[0] = torch.nan
    with pytest.raises(error, match=message):
        build_backbone(offer_of(lambda request: backbone), pretrained=pretrained, image_size=(16, 16), options=None)


def test_an_exception_while_building_is_a_plugin_error():
    def build(request):
        raise KeyError("depth")

    with pytest.raises(
        PluginError, match=r"The plugin fake:fake failed while building 'broken': KeyError: 'depth'"
    ) as caught:
        build_backbone(offer_of(build), pretrained=False, image_size=(16, 16), options=None)
    assert "fake:fake" in caught.value.hint


def test_an_error_of_the_plugin_is_passed_on():
    def build(request):
        raise WeightsError("The weights are gone.")

    with pytest.raises(WeightsError, match=r"^The weights are gone\.$"):
        build_backbone(offer_of(build), pretrained=True, image_size=(16, 16), options=None)


def test_a_backbone_that_exits_or_changes_its_input_or_the_process_is_named(tmp_path, monkeypatch):
    def leave(features):
        raise SystemExit(3)

    class InPlace(SmallBackbone):
        def forward(self, images):
            return super().forward(images.sub_(1))

    def change(features):
        torch.set_default_dtype(torch.float64)
        return features

    with pytest.raises(PluginError, match="failed while computing features with 'broken': SystemExit: 3"):
        build(Altered(features=leave))
    with pytest.raises(PluginError, match="the backbone changes its images in place"):
        build(InPlace())
    with pytest.warns(PluginWarning) as caught:
        build(Altered(features=change))
    assert "while computing features with 'broken': torch's default type" in str(caught[0].message)
    assert torch.get_default_dtype() == torch.float32


def test_an_unsupported_image_size_names_the_option():
    def only_32(features):
        raise RuntimeError("position embedding of 4 does not fit 1")

    with pytest.raises(ConfigError, match="does not accept images of 16 x 16 pixels: position embedding") as caught:
        build(Altered(features=only_32))
    assert "--image-size" in caught.value.hint


class WrongLogits(SmallHead):
    def forward(self, features):
        return super().forward(features)[:, :2]


class DoubleLogits(SmallHead):
    def forward(self, features):
        return super().forward(features).double()


class NonFiniteLogits(SmallHead):
    def forward(self, features):
        return super().forward(features) / 0


class NoLogits(SmallHead):
    def forward(self, features):
        super().forward(features)


class WrongLoss(SmallHead):
    def loss(self, logits, targets):
        return logits.sum(dim=1)


class NonFiniteLoss(SmallHead):
    def loss(self, logits, targets):
        return (logits - 1e9).sum().log()


class FailingLoss(SmallHead):
    def loss(self, logits, targets):
        raise IndexError("out of range")


class Failing(SmallHead):
    def forward(self, features):
        raise IndexError("out of range")


class HalfProbabilities(SmallHead):
    def probabilities(self, logits):
        return super().probabilities(logits) / 2


class NoProbabilities(SmallHead):
    def probabilities(self, logits):
        return None


class NegativeProbabilities(SmallHead):
    def probabilities(self, logits):
        return logits.log_softmax(dim=1)


class UndefinedProbabilities(SmallHead):
    def probabilities(self, logits):
        return super().probabilities(logits) * float("nan")


class OneProbability(SmallHead):
    def probabilities(self, logits):
        return super().probabilities(logits).amax(dim=1)


class FailingProbabilities(SmallHead):
    def probabilities(self, logits):
        raise IndexError("out of range")


class ChangesFeatures(SmallHead):
    def forward(self, features):
        features.pooled.relu_()
        return super().forward(features)


class ChangesLogits(SmallHead):
    def loss(self, logits, targets):
        return super().loss(logits.sub_(1), targets)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (lambda request: nn.Linear(2, 2), r"build returned Linear, not a zoo\.Head"),
        (WrongLogits, r"logits are \(2, 2\) float32, not \(2, 3\) float32"),
        (DoubleLogits, r"logits are \(2, 3\) float64, not \(2, 3\) float32"),
        (NonFiniteLogits, "the logits are not finite for random features"),
        (NoLogits, "logits are NoneType"),
        (WrongLoss, r"the loss is \(2,\) float32, not a single number"),
        (NonFiniteLoss, "the loss is not finite for random features"),
        (FailingLoss, "failed while computing the loss of 'h': IndexError: out of range"),
        (Failing, "failed while computing logits with 'h': IndexError: out of range"),
        (HalfProbabilities, r"probabilities\(\) returns no probabilities: those of an image sum to 0\.5, not to 1"),
        (NoProbabilities, "no probabilities: they are NoneType"),
        (NegativeProbabilities, r"no probabilities: they range from -\S+ to -\S+, not from 0 to 1"),
        (UndefinedProbabilities, "no probabilities: they contain NaN"),
        (OneProbability, r"no probabilities: they are \(2,\) float32, not \(2, 3\) float32"),
        (FailingProbabilities, "failed while computing probabilities with 'h': IndexError: out of range"),
        (ChangesFeatures, "the head changes its features in place"),
        (ChangesLogits, "the head changes the logits in place"),
    ],
)
def test_a_head_that_violates_its_contract_is_refused(head, message):
    with pytest.raises(PluginError, match=message):
        head_of(head)


class OverStages(Head):
    """A linear layer over the means of the maps of all stages that the request offers."""

    def __init__(self, request, stages=None):
        super().__init__(request.criterion)
        self.request = request
        self.stages = tuple(request.stages) if stages is None else stages
        self.linear = nn.Linear(sum(width for width, *_ in request.stages.values()), request.outputs)

    def forward(self, features):
        return self.linear(torch.cat([stage.mean(dim=(2, 3)) for stage in features.stages], dim=1))


def test_a_head_is_offered_the_shapes_of_all_stages_and_names_those_that_it_reads():
    head = head_of(OverStages)
    assert dict(head.request.stages) == {"stem": (8, 8, 8), "layer1": (8, 4, 4), "layer2": (12, 2, 2)}
    classifier = Classifier(SmallBackbone(), head)
    assert classifier.backbone.tapped_stages == ("stem", "layer1", "layer2")
    assert classifier(torch.zeros(2, 3, 16, 16)).shape == (2, 3)


def test_a_head_cannot_read_a_stage_that_has_no_map():
    with pytest.raises(PluginError, match="the head reads the stage 'neck', which has no feature map"):
        head_of(lambda request: OverStages(request, stages=("stem", "neck")))


def test_only_the_seed_determines_the_initial_weights(registry):
    first = assemble_small(registry, weights=None).classifier.state_dict()
    torch.rand(5)
    again = assemble_small(registry).classifier.state_dict()
    other = assemble_small(registry, seed=1).classifier.state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["head.linear.weight"], other["head.linear.weight"])


def test_the_head_does_not_depend_on_how_the_backbone_is_initialised():
    def greedy(request):
        torch.rand(1000)
        return make_backbone_spec().build(request)

    registry = make_registry(FakePlugin(backbones=[make_backbone_spec(), make_backbone_spec("greedy", build=greedy)]))
    heads = [assemble_small(registry, backbone=name).classifier.head.linear.weight for name in ("small", "greedy")]
    assert torch.equal(*heads)


def test_the_loaded_weights_are_described(registry):
    assert assemble_small(registry).weights == "v1, from these tests"


def test_the_preprocessing_of_the_card_is_adapted_to_the_configuration(registry):
    plain = {"eval_crop": None}
    assert assemble_small(registry, **plain).preprocess == PREPROCESS
    larger = dataclasses.replace(PREPROCESS, size=(32, 32), resize=36)
    assert assemble_small(registry, image_size=32, **plain).preprocess == larger
    assert assemble_small(registry, eval_crop=0.8).preprocess == dataclasses.replace(PREPROCESS, resize=20)


def test_the_given_preprocessing_takes_precedence(registry):
    preprocess = dataclasses.replace(PREPROCESS, size=(24, 24), resize=30)
    for config in (a_config(), a_config(eval_crop=0.8), a_config(image_size=16)):
        assert (
            assemble(config, find_offers(config, registry), classes=3, preprocess=preprocess).preprocess == preprocess
        )


def test_loss_and_dropout_are_passed_to_the_head(registry):
    head = assemble_small(registry, loss="focal", label_smoothing=0.1, dropout=0.4).classifier.head
    assert (head.criterion.name, head.criterion.label_smoothing, head.dropout.p) == ("focal", 0.1, 0.4)
