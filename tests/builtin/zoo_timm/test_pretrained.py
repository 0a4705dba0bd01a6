import time

import pytest
import safetensors.torch
import timm
import torch
from hub_cache import put_into_hub_cache
from huggingface_hub import constants
from random_weights import randomise_constants

from zoo.errors import WeightsError
from zoo.plugins.specs import BackboneRequest
from zoo.preprocess import Preprocess
from zoo_timm.family import list_names, resolve
from zoo_timm.options import TimmOptions
from zoo_timm.pretrained import card


def build_pretrained(name, size):
    return resolve(name).build(BackboneRequest(pretrained=True, image_size=(size, size), options=TimmOptions()))


@pytest.mark.parametrize(
    ("name", "preprocess"),
    [
        ("resnet18.a1_in1k", Preprocess(size=(224, 224), resize=235, interpolation="bicubic")),
        ("resnet18.tv_in1k", Preprocess(size=(224, 224), resize=256, interpolation="bilinear")),
        (
            "vit_base_patch16_siglip_224.webli",
            Preprocess(
                size=(224, 224),
                resize=248,
                interpolation="bicubic",
                mean=(0.5, 0.5, 0.5),
                std=(0.5, 0.5, 0.5),
            ),
        ),
    ],
)
def test_cards_describe_the_preprocessing_of_the_weights(name, preprocess):
    assert card(name).preprocess == preprocess


def test_cards_name_the_weights_and_their_licence():
    weights = card("resnet18").weights  # without a tag: the default weights
    assert weights.name == "a1_in1k"
    assert weights.source.endswith("/timm/resnet18.a1_in1k")
    assert weights.licence == "apache-2.0"
    assert card("nest_small").weights is None
    assert card("convnextv2_huge.fcmae_ft_in22k_in1k_384").preprocess.resize_mode == "squash"


def test_every_name_has_a_card():
    for name in list_names():
        preprocess = card(name).preprocess
        assert preprocess.resize >= min(preprocess.size)
        assert len(preprocess.mean) == len(preprocess.std) == 3


def test_unavailable_weights_are_an_error_within_seconds(offline, monkeypatch):
    started = time.monotonic()
    with pytest.raises(WeightsError, match=r"weights of test_resnet cannot be downloaded from") as caught:
        build_pretrained("test_resnet", 64)
    assert "--weights FILE" in caught.value.hint
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match="HF_HUB_OFFLINE is set"):
        build_pretrained("test_resnet", 64)
    assert time.monotonic() - started < 5


def test_a_network_without_pretrained_weights_is_an_error():
    with pytest.raises(WeightsError, match="timm has no pretrained weights for nest_small"):
        build_pretrained("nest_small", 224)


def test_cached_weights_load_without_a_network_at_any_size(offline):
    original = randomise_constants(timm.create_model("test_vit"))
    content = safetensors.torch.save(original.state_dict())
    put_into_hub_cache(offline, "timm/test_vit.r160_in1k", "model.safetensors", content)
    backbone = build_pretrained("test_vit", 64)
    assert torch.equal(backbone.net.blocks[0].attn.qkv.weight, original.blocks[0].attn.qkv.weight)
    assert backbone.net.pos_embed.shape[1] == 1 + 4 * 4


def test_damaged_or_foreign_weights_in_the_cache_are_an_error(offline):
    put_into_hub_cache(offline, "timm/test_resnet.r160_in1k", "model.safetensors", b"\x40" + bytes(7) + b"{")
    put_into_hub_cache(
        offline, "timm/test_vit.r160_in1k", "model.safetensors", safetensors.torch.save({"a": torch.zeros(1)})
    )
    for name, size in (("test_resnet", 64), ("test_vit", 160)):
        with pytest.raises(WeightsError, match=f"weights of {name} cannot be loaded"):
            build_pretrained(name, size)


def test_a_pickle_in_the_cache_runs_no_code(offline):
    put_into_hub_cache(offline, "timm/test_resnet.r160_in1k", "pytorch_model.bin", b"cos\nsystem\n(S'false'\ntR.")
    with pytest.raises(WeightsError, match=r"pytorch_model\.bin"):
        build_pretrained("test_resnet", 64)
