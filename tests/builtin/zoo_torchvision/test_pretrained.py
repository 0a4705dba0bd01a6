import pytest
import torch
import torchvision
from random_weights import randomise_constants

from zoo.errors import WeightsError
from zoo.plugins.options import NoOptions
from zoo.plugins.specs import BackboneRequest
from zoo.preprocess import Preprocess
from zoo_torchvision import zoo_backbones

SPECS = {spec.name: spec for spec in zoo_backbones()}


def build_pretrained(name, size=32):
    return SPECS[name].build(BackboneRequest(pretrained=True, image_size=(size, size), options=NoOptions()))


def test_cards_describe_the_weights_and_their_preprocessing():
    card = SPECS["resnet18"].card()
    assert card.preprocess == Preprocess(size=(224, 224), resize=256)
    assert card.weights.name == "IMAGENET1K_V1"
    assert card.weights.accuracy == pytest.approx(69.758)
    assert card.weights.source.startswith("https://download.pytorch.org/models/resnet18-")
    swin = SPECS["swin_v2_t"].card().preprocess
    assert (swin.size, swin.resize, swin.interpolation) == ((256, 256), 260, "bicubic")
    assert "LICENSE" in SPECS["vit_h_14"].card().weights.licence


def test_every_network_has_a_card():
    for spec in SPECS.values():
        card = spec.card()
        assert card.preprocess.resize >= card.preprocess.size[0]
        assert card.weights.accuracy > 50


def test_unavailable_weights_are_an_error(offline):
    message = r"weights of resnet18 cannot be downloaded from download\.pytorch\.org"
    with pytest.raises(WeightsError, match=message) as caught:
        build_pretrained("resnet18")
    assert "--weights FILE" in caught.value.hint


def test_weights_come_from_torchs_cache(offline):
    googlenet = torchvision.models.get_model("googlenet", weights=None, transform_input=True, init_weights=False)
    original = randomise_constants(googlenet)
    cached = offline / "torch/hub/checkpoints/googlenet-1378be20.pth"
    cached.parent.mkdir(parents=True)
    torch.save(original.state_dict(), cached)  # with the auxiliary outputs, like the real file
    backbone = build_pretrained("googlenet", 64)
    assert torch.equal(backbone.net.conv1.conv.weight, original.conv1.conv.weight)
    assert not any("aux" in name for name in backbone.state_dict())


def test_a_truncated_file_in_the_cache_is_an_error(offline):
    cached = offline / "torch/hub/checkpoints/resnet18-f37072fd.pth"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"PK\x03\x04 truncated")
    with pytest.raises(WeightsError, match="weights of resnet18 are not usable") as caught:
        build_pretrained("resnet18")
    assert str(cached) in caught.value.hint
