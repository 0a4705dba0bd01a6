import copy

import pytest
import torch
from fakes import SmallBackbone
from torch import nn
from torch.nn import functional as F

from zoo.models.classifier import Classifier, freeze, set_training
from zoo.models.frozen_split import CachedActivations, SplitClassifier, find_frozen_split
from zoo.models.precision import choose_precision
from zoo.models.tracing import UntraceableError
from zoo.plugins.contracts import Features, StagedBackbone

SIZE = (16, 16)
FP32 = choose_precision("fp32", torch.device("cpu"))


class OverPooled(nn.Module):
    def forward(self, features):
        return features.pooled


def a_classifier(backbone, stages=2):
    classifier = Classifier(backbone, OverPooled())
    freeze(classifier, stages)
    return classifier


def divided_at(split, classifier):
    return SplitClassifier(classifier.backbone, classifier.head, split)


def split_of(classifier, *, precision=FP32, freeze_norm_stats=False):
    return find_frozen_split(classifier, image_size=SIZE, precision=precision, freeze_norm_stats=freeze_norm_stats)


class Staged(StagedBackbone):
    """Two stages of one linear layer on each pixel, and whatever a test does between them."""

    def __init__(self, between):
        super().__init__({"low": nn.Conv2d(3, 4, 1), "high": nn.Conv2d(4, 4, 1)}, width=4)
        self.between = between

    def forward(self, images):
        x = self.body["high"](self.between(self, images, self.body["low"](images)))
        return Features(x.mean(dim=(2, 3)), x)


def learns(net):
    return net.body["high"].bias.mean()


def changed_in_place(x):
    """A step of which the graph does not see that the next one needs it."""
    x.clamp_(max=0.0)
    return x


def test_a_frontier_lies_behind_the_last_frozen_stage():
    classifier = a_classifier(SmallBackbone())
    split = split_of(classifier)
    assert split.shapes == ((8, 4, 4),)
    assert split.image_bytes == 8 * 4 * 4 * 4
    kept = split.keep(torch.randn(5, 3, *SIZE))
    assert [value.shape for value in kept] == [(5, 8, 4, 4)]


@pytest.mark.parametrize("training", [True, False])
def test_going_on_from_what_is_kept_is_the_same_as_the_whole(training):
    classifier = a_classifier(SmallBackbone(dropout=0.4))
    split = split_of(classifier)
    images = torch.randn(4, 3, *SIZE)
    kept = split.keep(images)
    set_training(classifier, freeze_norm_stats=False) if training else classifier.eval()
    outputs = []
    divided = divided_at(split, classifier)
    for network, given in ((classifier, images), (divided, images), (divided, kept)):
        torch.manual_seed(1)  # the upper stage drops
        outputs.append(network(given))
    torch.testing.assert_close(outputs[1], outputs[0])
    assert torch.equal(*outputs[1:])


def test_what_learns_gets_the_same_gradients_and_statistics():
    classifier = a_classifier(SmallBackbone())
    split = split_of(classifier)
    other = divided_at(split, copy.deepcopy(classifier))  # the split's functions belong to no module
    images = torch.randn(4, 3, *SIZE)
    kept = split.keep(images)
    for network, given in ((classifier, images), (other, kept)):
        set_training(network, freeze_norm_stats=False)
        network(given).square().sum().backward()
    for (name, one), two in zip(classifier.named_parameters(), other.parameters(), strict=True):
        assert (
            (one.grad is None) == (two.grad is None) == name.startswith(("backbone.body.stem", "backbone.body.layer1"))
        )
        if one.grad is not None:
            torch.testing.assert_close(two.grad, one.grad)
    for name, buffer in classifier.named_buffers():
        torch.testing.assert_close(other.get_buffer(name), buffer, msg=name)


def test_to_find_it_leaves_weights_statistics_modes_and_random_numbers_alone():
    classifier = a_classifier(SmallBackbone(dropout=0.5))
    set_training(classifier, freeze_norm_stats=False)
    state = copy.deepcopy(classifier.state_dict())
    modes, random = [module.training for module in classifier.modules()], torch.get_rng_state()
    split_of(classifier)
    assert [module.training for module in classifier.modules()] == modes
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(state[name], value) for name, value in classifier.state_dict().items())


def test_values_are_kept_in_the_precision_in_which_they_come():
    classifier = a_classifier(SmallBackbone())
    precision = choose_precision("bf16", torch.device("cpu"))
    split = split_of(classifier, precision=precision)
    assert split.image_bytes == 8 * 4 * 4 * 2


def test_layers_without_parameters_behind_a_frozen_stage_are_before_the_frontier():
    classifier = a_classifier(Staged(lambda net, images, x: F.max_pool2d(x.relu(), 4)), stages=1)
    assert split_of(classifier).shapes == ((4, 4, 4),)


def test_several_values_may_cross_it():
    classifier = a_classifier(Staged(lambda net, images, x: x * learns(net) + x.mean(3, True)), 1)
    assert split_of(classifier).shapes == ((4, 16, 16), (4, 16, 1))


def test_what_is_the_same_for_all_images_is_not_kept_of_each():
    def between(net, images, x):
        grid = torch.ones(x.shape[2], device=x.device).cumsum(0) * x.new_ones(())  # of x, whatever is in it
        return x * learns(net) + (x.shape[3] * learns(net)) * grid

    split = split_of(a_classifier(Staged(between), stages=1))
    assert split.shapes == ((4, 16, 16),)
    assert len(split.constants) >= 1


def test_the_number_of_images_is_that_of_the_images_at_hand():
    classifier = a_classifier(Staged(lambda net, images, x: x * (x.shape[0] * learns(net))), stages=1)
    split = split_of(classifier)
    assert (split.shapes, len(split.counts)) == (((4, 16, 16),), 1)
    images = torch.randn(7, 3, *SIZE)
    torch.testing.assert_close(divided_at(split, classifier)(split.keep(images)), classifier(images))


class Waved(nn.Module):
    """A frozen layer that makes a tensor of its own."""

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
        lambda net, images, x: x * (learns(net) * torch.linspace(1, 2, 16)),
    ],
    ids=["before", "after"],
)
def test_tensors_that_it_makes_on_the_way_are_its_own(between, training):
    net = Staged(between)
    net.body["low"] = nn.Sequential(nn.Conv2d(3, 4, 1), Waved())
    classifier = a_classifier(net, stages=1)
    split = split_of(classifier)
    images = torch.randn(5, 3, *SIZE)
    set_training(classifier, freeze_norm_stats=False) if training else classifier.eval()
    whole = classifier(images)
    divided = divided_at(split, classifier)
    torch.testing.assert_close(divided(images), whole)
    torch.testing.assert_close(divided(split.keep(images)), whole)


def test_statistics_that_move_while_it_trains_are_behind_the_frontier():
    net = StagedBackbone(
        {"low": nn.Conv2d(3, 4, 1), "norm": nn.BatchNorm2d(4, affine=False), "high": nn.Conv2d(4, 6, 1)}, width=6
    )
    classifier = a_classifier(net, stages=1)
    names = {stats: split_of(classifier, freeze_norm_stats=stats).before.__code__.co_names for stats in (False, True)}
    assert "norm" not in names[False]
    assert "norm" in names[True]


def untraceable(between):
    with pytest.raises(UntraceableError) as caught:
        split_of(a_classifier(Staged(between), stages=1))
    return caught.value.message


@pytest.mark.parametrize(
    ("reason", "between"),
    [
        ("content of the images", lambda net, images, x: x if x.max() < 0 else x.relu()),
        ("the images themselves", lambda net, images, x: torch.cat([images * learns(net), x[:, :1]], dim=1)),
        ("random", lambda net, images, x: F.dropout(x, 0.5, training=net.training)),
        ("something else", lambda net, images, x: x.relu() if net.training else x),
        ("belongs to the batch", lambda net, images, x: x * learns(net) + images.mean() * learns(net)),
        ("belongs to the batch", lambda net, images, x: x * (2 * x.shape[0] * learns(net))),
        ("cannot be traced: KeyError: 'nothing'", lambda net, images, x: {}["nothing"]),
        ("other features", lambda net, images, x: changed_in_place(x * learns(net))),
    ],
)
def test_a_network_that_cannot_be_divided_is_refused_with_the_reason(reason, between):
    with pytest.raises(UntraceableError, match=reason):
        split_of(a_classifier(Staged(between), stages=1))


def test_kept_values_are_made_and_taken_apart_as_named_tuples_are():
    from zoo.training.micro_batches import join, some

    kept = CachedActivations(torch.arange(6), torch.arange(12).view(6, 2))
    halves = [some(kept, slice(0, 3)), some(kept, slice(3, 6))]
    assert all(isinstance(half, CachedActivations) for half in halves)
    assert all(torch.equal(one, two) for one, two in zip(join(halves), kept, strict=True))
