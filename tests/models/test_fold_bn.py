import copy

import pytest
import torch
from fakes import make_classifier
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from zoo.models.fold_bn import fold_batch_norm, fold_classifier
from zoo.models.nested import flatten_tensors
from zoo.models.precision import Precision
from zoo.plugins.contracts import Backbone, Features

FP32 = Precision(name="fp32", device=torch.device("cpu"), reason="a test")
SIZE = (12, 16)


class Wrapper(Backbone):
    """A backbone around a network, with random statistics in its batch normalisations."""

    pooled_width = map_width = 4

    def __init__(self, body):
        super().__init__()
        self.body = body
        for norm in [module for module in self.modules() if isinstance(module, nn.BatchNorm2d)]:
            if norm.affine:
                nn.init.normal_(norm.weight)
                nn.init.normal_(norm.bias)
            if norm.track_running_stats:
                nn.init.normal_(norm.running_mean)
                nn.init.uniform_(norm.running_var, 0.5, 2)

    def forward(self, images):
        x = self.body(images)
        return Features(x.mean(dim=(2, 3)), x)

    def stages(self):
        return [self.body]


class Branched(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, images):
        x = self.conv(images)
        return self.norm(x) + x


class Twice(Branched):
    def forward(self, images):
        return self.norm(self.conv(images)) + self.norm(self.conv(images.flip(3)))


class ReadsWeight(Branched):
    def forward(self, images):
        return self.norm(self.conv(images)) * self.norm.weight.sum()


class Standardised(nn.Conv2d):
    """Weights of mean 0 and deviation 1 in each channel (Qiao et al. 2019): a factor on them has no effect."""

    def forward(self, images):
        return self._conv_forward(images, (self.weight - self.weight.mean()) / self.weight.std(), self.bias)


class DataDependent(Branched):
    def forward(self, images):
        x = self.norm(self.conv(images))
        return x if bool(images.sum() > 0) else -x


def fold(backbone):
    return fold_batch_norm(backbone, image_size=SIZE, precision=FP32)


def count_norms(network):
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


@pytest.mark.parametrize(
    ("body", "left"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3, bias=False)), 0),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False)), 0),
        (nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4)), 2),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)), 1),
        (nn.Sequential(weight_norm(nn.Conv2d(3, 4, 3)), nn.BatchNorm2d(4)), 1),
        (nn.Sequential(Standardised(3, 4, 3), nn.BatchNorm2d(4)), 1),
        (Branched(), 1),
        (Twice(), 1),
        (ReadsWeight(), 1),
        (DataDependent(), 1),
    ],
    ids=[
        "folded",
        "no affine weights",
        "not after a convolution",
        "batch statistics",
        "weight normalisation",
        "subclass",
        "two consumers",
        "called twice",
        "reads the weight",
        "untraceable",
    ],
)
def test_the_output_is_the_same_and_the_backbone_is_unchanged(body, left):
    torch.manual_seed(0)
    backbone = Wrapper(body)
    before, images = copy.deepcopy(backbone.state_dict()), torch.randn(5, 3, *SIZE)
    copied = fold(backbone)
    assert count_norms(copied) == left
    assert not any(module.training for module in copied.modules())
    assert all(module.training for module in backbone.modules())
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, before[name]), name
    for ours, theirs in zip(copied(images), backbone.eval()(images), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_module_with_a_hook_is_not_folded():
    backbone, calls = Wrapper(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))), []
    backbone.body[1].register_forward_hook(lambda *call: calls.append(call))
    assert count_norms(fold(backbone)) == 1


def test_unchanged_tensors_are_shared():
    backbone = Wrapper(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1)))
    copied = fold(backbone)
    assert copied.body[2].weight is backbone.body[2].weight
    assert copied.body[0].weight is not backbone.body[0].weight
    assert not copied.body[0].weight.requires_grad
    assert backbone.body[0].weight.requires_grad


def test_a_folded_classifier_has_the_same_output():
    classifier = make_classifier().eval()
    images = torch.randn(4, 3, *SIZE)
    network = fold_classifier(classifier, image_size=SIZE, precision=FP32)
    assert count_norms(network) == 0 < count_norms(classifier)
    torch.testing.assert_close(network(images), classifier(images), rtol=1e-4, atol=1e-5)


def test_a_folded_classifier_gives_its_head_the_same_maps_of_stages():
    classifier = make_classifier(dropout=0.3).eval()
    classifier.backbone.tapped_stages = ("stem", "layer2")
    images = torch.randn(4, 3, *SIZE)
    folded = fold(classifier.backbone)
    assert count_norms(folded) == 0
    expected = classifier.backbone.extract(images)
    assert [stage.shape[1] for stage in expected.stages] == [8, 12]
    for ours, theirs in zip(flatten_tensors(folded.extract(images)), flatten_tensors(expected), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
