import pytest
import torch
from fakes import make_classifier
from torch import nn

from zoo.errors import ConfigError
from zoo.models.classifier import freeze, set_training


def trainable_names(classifier):
    return {name for name, parameter in classifier.named_parameters() if parameter.requires_grad}


def test_stages_are_frozen_from_the_input():
    classifier = make_classifier()
    freeze(classifier, 2)
    assert {name.rpartition(".")[0] for name in trainable_names(classifier)} == {
        "backbone.body.layer2.0",
        "backbone.body.layer2.1",
        "head.linear",
    }
    freeze(classifier, 0)
    assert trainable_names(classifier) == dict(classifier.named_parameters()).keys()
    freeze(classifier, None)
    assert trainable_names(classifier) == {"head.linear.weight", "head.linear.bias"}
    freeze(classifier, 3)
    assert trainable_names(classifier) == {"head.linear.weight", "head.linear.bias"}


def test_too_many_stages_list_the_names():
    with pytest.raises(ConfigError, match="option 'freeze' is 4, but the backbone has 3 stages") as caught:
        freeze(make_classifier(), 4)
    assert "stem, layer1, layer2" in caught.value.hint


def test_frozen_modules_are_in_eval_mode():
    classifier = make_classifier(dropout=0.5)
    freeze(classifier, 1)
    set_training(classifier, freeze_norm_stats=False)
    stem, layer1 = classifier.backbone.body["stem"], classifier.backbone.body["layer1"]
    assert not any(module.training for module in stem.modules())
    assert all(module.training for module in layer1.modules())
    assert classifier.head.training
    assert classifier.backbone.training


def test_only_the_statistics_of_normalisations_can_be_frozen():
    classifier = make_classifier()
    set_training(classifier, freeze_norm_stats=True)
    modes = {type(module): module.training for module in classifier.backbone.body["layer1"]}
    assert modes == {nn.Conv2d: True, nn.BatchNorm2d: False, nn.ReLU: True, nn.Dropout: True}
    assert len(trainable_names(classifier)) == len(list(classifier.parameters()))


def test_a_classifier_applies_its_head_to_its_backbone():
    classifier = make_classifier().eval()
    images = torch.randn(2, 3, 16, 16)
    assert torch.equal(classifier(images), classifier.head(classifier.backbone(images)))
