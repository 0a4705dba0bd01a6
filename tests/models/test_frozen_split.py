import copy

import pytest
import torch
from criteria import make_criterion
from fakes import SmallBackbone
from torch import nn
from torch.nn import functional as F

from zoo.models.classifier import Classifier, freeze, set_training
from zoo.models.frozen_split import CachedActivations, SplitClassifier, find_frozen_split
from zoo.models.precision import choose_precision
from zoo.models.tracing import UntraceableError
from zoo.plugins.contracts import Features, Head, Stage, StagedBackbone

SIZE = (16, 16)
FP32 = choose_precision("fp32", torch.device("cpu"))


class OverPooled(Head):
    def forward(self, features):
        return features.pooled


class OverStages(Head):
    def __init__(self, *stages):
        super().__init__(make_criterion())
        self.stages = stages

    def forward(self, features):
        return torch.cat([stage.mean(dim=(2, 3)) for stage in features.stages], dim=1)


def a_classifier(backbone, stages=2, *, head=None):
    classifier = Classifier(backbone, head or OverPooled(make_criterion()))
    freeze(classifier, stages)
    return classifier


def split_at(split, classifier):
    return SplitClassifier(classifier.backbone, classifier.head, split)


def split_of(classifier, *, precision=FP32, freeze_norm_stats=False):
    return find_frozen_split(classifier, image_sizes=[SIZE], precision=precision, freeze_norm_stats=freeze_norm_stats)


class Staged(StagedBackbone):
    """Two stages of one linear layer on each pixel, with a function of a test between them."""

    def __init__(self, between):
        super().__init__({"low": nn.Conv2d(3, 4, 1), "high": nn.Conv2d(4, 4, 1)}, width=4)
        self.between = between

    def forward(self, images):
        x = self.body["high"](self.between(self, images, self.body["low"](images)))
        return Features(x.mean(dim=(2, 3)), x)


def trainable(net):
    return net.body["high"].bias.mean()


def changed_in_place(x):
    """An in-place operation, whose effect on later steps the graph does not show."""
    x.clamp_(max=0.0)
    return x


def test_the_split_is_behind_the_last_frozen_stage():
    classifier = a_classifier(SmallBackbone())
    split = split_of(classifier)
    assert split.shapes == ((8, 4, 4),)
    assert split.image_bytes == 8 * 4 * 4 * 4
    activations = split.run_frozen(torch.randn(5, 3, *SIZE))
    assert [value.shape for value in activations] == [(5, 8, 4, 4)]


@pytest.mark.parametrize("training", [True, False])
def test_the_output_from_cached_activations_is_that_of_the_whole_network(training):
    classifier = a_classifier(SmallBackbone(dropout=0.4))
    split = split_of(classifier)
    images = torch.randn(4, 3, *SIZE)
    activations = split.run_frozen(images)
    set_training(classifier, freeze_norm_stats=False) if training else classifier.eval()
    outputs = []
    split_network = split_at(split, classifier)
    for network, inputs in ((classifier, images), (split_network, images), (split_network, activations)):
        torch.manual_seed(1)  # because of the dropout in the upper stage
        outputs.append(network(inputs))
    torch.testing.assert_close(outputs[1], outputs[0])
    assert torch.equal(*outputs[1:])


def test_the_trainable_part_gets_the_same_gradients_and_statistics():
    classifier = a_classifier(SmallBackbone())
    split = split_of(classifier)
    other = split_at(split, copy.deepcopy(classifier))  # because the functions of a split belong to no module
    images = torch.randn(4, 3, *SIZE)
    activations = split.run_frozen(images)
    for network, inputs in ((classifier, images), (other, activations)):
        set_training(network, freeze_norm_stats=False)
        network(inputs).square().sum().backward()
    for (name, one), two in zip(classifier.named_parameters(), other.parameters(), strict=True):
        assert (
            (one.grad is None) == (two.grad is None) == name.startswith(("backbone.body.stem", "backbone.body.layer1"))
        )
        if one.grad is not None:
            torch.testing.assert_close(two.grad, one.grad)
    for name, buffer in classifier.named_buffers():
        torch.testing.assert_close(other.get_buffer(name), buffer, msg=name)


def test_finding_a_split_changes_no_weights_statistics_modes_or_random_state():
    classifier = a_classifier(SmallBackbone(dropout=0.5))
    set_training(classifier, freeze_norm_stats=False)
    state = copy.deepcopy(classifier.state_dict())
    modes, random = [module.training for module in classifier.modules()], torch.get_rng_state()
    split_of(classifier)
    assert [module.training for module in classifier.modules()] == modes
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(state[name], value) for name, value in classifier.state_dict().items())


def test_activations_have_the_precision_of_the_forward_pass():
    classifier = a_classifier(SmallBackbone())
    precision = choose_precision("bf16", torch.device("cpu"))
    split = split_of(classifier, precision=precision)
    assert split.image_bytes == 8 * 4 * 4 * 2


def test_layers_without_parameters_behind_a_frozen_stage_are_frozen_too():
    classifier = a_classifier(Staged(lambda net, images, x: F.max_pool2d(x.relu(), 4)), stages=1)
    assert split_of(classifier).shapes == ((4, 4, 4),)


def test_several_values_may_cross_the_split():
    classifier = a_classifier(Staged(lambda net, images, x: x * trainable(net) + x.mean(3, True)), 1)
    assert split_of(classifier).shapes == ((4, 16, 16), (4, 16, 1))


def test_values_that_are_the_same_for_all_images_are_not_cached_per_image():
    def between(net, images, x):
        grid = torch.ones(x.shape[2], device=x.device).cumsum(0) * x.new_ones(())  # depends on x, but not on its values
        return x * trainable(net) + (x.shape[3] * trainable(net)) * grid

    split = split_of(a_classifier(Staged(between), stages=1))
    assert split.shapes == ((4, 16, 16),)
    assert len(split.constants) >= 1


def test_the_number_of_images_is_that_of_the_current_batch():
    classifier = a_classifier(Staged(lambda net, images, x: x * (x.shape[0] * trainable(net))), stages=1)
    split = split_of(classifier)
    assert (split.shapes, len(split.batch_sizes)) == (((4, 16, 16),), 1)
    images = torch.randn(7, 3, *SIZE)
    torch.testing.assert_close(split_at(split, classifier)(split.run_frozen(images)), classifier(images))


class Waved(nn.Module):
    """A frozen layer that creates a tensor."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4, 1, 1))

    def forward(self, x):
        return x * self.scale + torch.tensor([3.0, 1.0, 4.0, 1.0]).view(4, 1, 1)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "between",
    [
        lambda net, images, x: x + torch.linspace(0, 1, 4).view(4, 1, 1),
        lambda net, images, x: x * (trainable(net) * torch.linspace(1, 2, 16)),
    ],
    ids=["before", "after"],
)
def test_tensors_that_the_network_creates_belong_to_the_split(between, training):
    net = Staged(between)
    net.body["low"] = nn.Sequential(nn.Conv2d(3, 4, 1), Waved())
    classifier = a_classifier(net, stages=1)
    split = split_of(classifier)
    images = torch.randn(5, 3, *SIZE)
    set_training(classifier, freeze_norm_stats=False) if training else classifier.eval()
    whole = classifier(images)
    split_network = split_at(split, classifier)
    torch.testing.assert_close(split_network(images), whole)
    torch.testing.assert_close(split_network(split.run_frozen(images)), whole)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("stages", "shapes"),
    [
        (("stem", "layer2"), {(8, 8, 8), (8, 4, 4)}),  # a map of the frozen part, and one of the trainable part
        (("stem", "layer1"), {(8, 8, 8), (8, 4, 4)}),
        (("layer1", "layer2"), {(8, 4, 4)}),
    ],
)
def test_the_maps_of_frozen_stages_cross_the_split(stages, shapes, training):
    classifier = a_classifier(SmallBackbone(), head=OverStages(*stages))
    split = split_of(classifier)
    assert set(split.shapes) == shapes
    images = torch.randn(4, 3, *SIZE)
    set_training(classifier, freeze_norm_stats=False) if training else classifier.eval()
    split_network = split_at(split, classifier)
    whole = classifier(images)
    assert whole.shape == (4, 8 + (8 if "layer2" not in stages else 12))
    torch.testing.assert_close(split_network(split.run_frozen(images)), whole)
    torch.testing.assert_close(split_network(images), whole)


def test_a_stage_inside_of_a_frozen_module_is_read_too():
    blocks = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 5, 1))

    class Nested(StagedBackbone):
        def stages(self):
            inner = (Stage(f"block{n}", (f"body.low.{n}.weight", f"body.low.{n}.bias")) for n in range(2))
            return (*inner, Stage("high", ("body.high.weight", "body.high.bias")))

    backbone = Nested({"low": blocks, "high": nn.Conv2d(5, 4, 1)}, width=4)
    classifier = a_classifier(backbone, head=OverStages("block0", "high"))
    split = split_of(classifier)
    assert split.shapes == ((4, 16, 16), (5, 16, 16))
    images = torch.randn(3, 3, *SIZE)
    torch.testing.assert_close(split_at(split, classifier)(split.run_frozen(images)), classifier(images))


def test_statistics_that_change_in_training_are_behind_the_split():
    net = StagedBackbone(
        {"low": nn.Conv2d(3, 4, 1), "norm": nn.BatchNorm2d(4, affine=False), "high": nn.Conv2d(4, 6, 1)}, width=6
    )
    classifier = a_classifier(net, stages=1)
    names = {
        stats: split_of(classifier, freeze_norm_stats=stats).frozen_function.__code__.co_names
        for stats in (False, True)
    }
    assert "norm" not in names[False]
    assert "norm" in names[True]


@pytest.mark.parametrize(
    ("reason", "between"),
    [
        ("depends on pixel values", lambda net, images, x: x if x.max() < 0 else x.relu()),
        ("reads the images directly", lambda net, images, x: torch.cat([images * trainable(net), x[:, :1]], dim=1)),
        ("randomly, in train mode", lambda net, images, x: F.dropout(x, 0.5, training=net.training)),
        ("behaves differently", lambda net, images, x: x.relu() if net.training else x),
        ("belongs to the batch", lambda net, images, x: x * trainable(net) + images.mean() * trainable(net)),
        ("belongs to the batch", lambda net, images, x: x * (2 * x.shape[0] * trainable(net))),
        ("cannot be traced: KeyError: 'nothing'", lambda net, images, x: {}["nothing"]),
        ("its features change when it is split", lambda net, images, x: changed_in_place(x * trainable(net))),
    ],
)
def test_a_network_that_cannot_be_split_is_refused_with_the_reason(reason, between):
    with pytest.raises(UntraceableError, match=reason):
        split_of(a_classifier(Staged(between), stages=1))


def test_activations_are_constructed_like_a_named_tuple():
    activations = CachedActivations(torch.arange(6), torch.arange(12).view(6, 2))
    assert isinstance(activations, tuple)
    assert [value.shape for value in activations] == [(6,), (6, 2)]
    assert type(activations)(*(value[:3] for value in activations))[1].shape == (3, 2)
