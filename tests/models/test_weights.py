import os
import pickle
import struct
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from zoo.errors import ConfigError, PluginError, WeightsError
from zoo.models.features import measure, token_grid, tokens_to_map
from zoo.models.weights import load_backbone, read_state_dict
from zoo.plugins.contracts import StagedBackbone

TEST_DATA = os.environ.get("ZOO_TEST_DATA")


def small_backbone():
    """Names: body.stem.0.weight (4x3x3x3), .bias, body.stem.1.* (batch norm), body.end.weight (6x4x1x1), .bias."""
    stem = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    return StagedBackbone({"stem": stem, "end": nn.Conv2d(4, 6, 1)}, width=6)


@pytest.fixture
def state():
    return {name: torch.randn_like(tensor.float()) for name, tensor in small_backbone().state_dict().items()}


# Reading files


@pytest.mark.parametrize("file", ["w.safetensors", "w.pth", "w.pt", "w.bin"])
def test_a_state_dict_is_read_in_its_own_types(tmp_path, file):
    state = {"a": torch.randn(2, 3).half(), "b": torch.arange(3)}
    (safetensors.torch.save_file if file.endswith("safetensors") else torch.save)(state, tmp_path / file)
    found = read_state_dict(tmp_path / file)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) and found[name].dtype == state[name].dtype for name in state)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: {"epoch": 3, "state_dict": s},
        lambda s: {"model": s, "optimizer": {"state": {}}},
        lambda s: {"model": {"state_dict": s}},
        lambda s: {"state_dict": {"conv.weight": torch.zeros(1)}, "state_dict_ema": s},
        lambda s: {"model_state_dict": {f"module.{k}": v for k, v in s.items()}},
        lambda s: {f"_orig_mod.module.{k}": v for k, v in s.items()},
        lambda s: {"state_dict": {f"model.{k}": v for k, v in s.items()} | {"loss.weight": torch.ones(1)}},
        lambda s: s | {"step": 7, "name": "x"},
    ],
)
def test_nests_and_prefixes_of_training_programs_are_taken_off(tmp_path, wrap):
    state = {"conv.weight": torch.randn(2), "conv.bias": torch.randn(1)}
    torch.save(wrap(state), tmp_path / "w.pth")
    found = read_state_dict(tmp_path / "w.pth")
    found.pop("loss.weight", None)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)


class Opinion:
    """What a careless checkpoint holds beside its weights."""


def test_a_pickle_that_would_run_code_is_refused_by_name(tmp_path):
    torch.save({"state_dict": {"a": torch.zeros(1)}, "args": Opinion()}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"w\.pth holds .*Opinion beside weights") as caught:
        read_state_dict(tmp_path / "w.pth")
    assert "model.state_dict()" in caught.value.hint


def test_files_that_are_no_weights_say_so(tmp_path):
    def refuses(file, content, message):
        (tmp_path / file).write_bytes(content)
        with pytest.raises(WeightsError, match=message):
            read_state_dict(tmp_path / file)

    whole = safetensors.torch.save({"a": torch.zeros(64)})
    torch.save({"a": torch.zeros(64)}, tmp_path / "whole.pth")
    pickled = (tmp_path / "whole.pth").read_bytes()
    refuses("cut.safetensors", whole[:-16], r"cut\.safetensors cannot be read")
    refuses("pointer.safetensors", b"version https://git-lfs.github.com/spec/v1\n", "cannot be read")
    refuses("empty.safetensors", b"", "cannot be read")
    refuses("cut.pth", pickled[: len(pickled) // 2], r"cut\.pth cannot be read")
    refuses("empty.pth", b"", "cannot be read")
    refuses("page.pth", b"<html>not found</html>", "cannot be read: it is no pickled checkpoint")
    refuses("list.pth", pickle.dumps([1, 2]), r"list\.pth (holds no named weights, but list|cannot be read)")
    refuses("photo.jpg", b"\xff\xd8", r"photo\.jpg is not a weights file")
    with pytest.raises(WeightsError, match=r"There is no weights file .*absent\.pth") as caught:
        read_state_dict(tmp_path / "absent.pth")
    assert "--weights none" in caught.value.hint


# Loading into a backbone


def test_everything_that_fits_is_loaded(state):
    backbone = small_backbone()
    report = load_backbone(backbone, {**state, "fc.weight": torch.zeros(2, 6), "fc.bias": torch.zeros(2)}, source="f")
    assert torch.equal(backbone.body["end"].weight, state["body.end.weight"])
    assert torch.equal(backbone.body["stem"][1].running_mean, state["body.stem.1.running_mean"])
    assert report.skipped == ("fc.weight", "fc.bias")
    assert not report.missing
    assert report.summary() == f"{len(state)} entries loaded from f; skipped: fc.weight, fc.bias"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_float_types_become_float32(state, dtype):
    backbone = small_backbone()
    load_backbone(backbone, {name: tensor.to(dtype) for name, tensor in state.items()}, source="f")
    assert all(parameter.dtype == torch.float32 for parameter in backbone.parameters())
    torch.testing.assert_close(backbone.body["end"].weight, state["body.end.weight"], rtol=1e-2, atol=1e-2)


def test_the_weights_of_a_run_are_understood(state):
    run = {f"backbone.{name}": tensor for name, tensor in state.items()} | {"head.linear.weight": torch.zeros(2, 6)}
    backbone = small_backbone()
    report = load_backbone(backbone, run, source="a run")
    assert torch.equal(backbone.body["end"].bias, state["body.end.bias"])
    assert report.skipped == ("head.linear.weight",)
    assert not report.missing


def test_old_files_may_lack_the_count_of_batches(state):
    del state["body.stem.1.num_batches_tracked"]
    assert not load_backbone(small_backbone(), state, source="f").missing


def test_what_is_missing_or_of_another_shape_is_named_and_kept(state):
    backbone = small_backbone()
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    del state["body.stem.0.bias"]
    state["body.end.weight"] = torch.zeros(9, 4, 1, 1)
    report = load_backbone(backbone, state, source="f.pth")
    assert report.missing == ("body.stem.0.bias",)
    assert report.mismatched == (("body.end.weight", (9, 4, 1, 1), (6, 4, 1, 1)),)
    assert "of another shape: body.end.weight is 9x4x1x1 there and 6x4x1x1 here" in report.summary()
    assert torch.equal(backbone.body["stem"][0].bias, before["body.stem.0.bias"])
    assert torch.equal(backbone.body["end"].weight, before["body.end.weight"])


def test_a_file_of_another_network_is_an_error_and_changes_nothing(state):
    backbone = small_backbone()
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    with pytest.raises(WeightsError, match=r"other\.pth does not fit .* 0% .* lacks body\.stem\.0\.weight") as caught:
        load_backbone(backbone, {"blocks.0.attn.qkv.weight": torch.zeros(3, 5)}, source="other.pth")
    assert "begin with blocks.0.attn.qkv.weight (3x5)" in caught.value.hint
    wider = state | {"body.stem.0.weight": torch.zeros(8, 3, 3, 3)}
    with pytest.raises(WeightsError, match=r"shapes differ: body\.stem\.0\.weight is 8x3x3x3 there and 4x3x3x3 here"):
        load_backbone(backbone, wider, source="wider.pth")
    assert all(torch.equal(tensor, before[name]) for name, tensor in backbone.state_dict().items())


# The shapes of features


@pytest.mark.parametrize(
    ("tokens", "image_size", "grid"),
    [
        (196, (224, 224), (14, 14)),
        (140, (224, 160), (14, 10)),
        (28, (100, 60), (7, 4)),  # a network that pads to whole patches of 16
        (1, (16, 16), (1, 1)),
        (197, (224, 224), None),  # a class token too many
        (12, (224, 224), None),  # divisible, but no square
        (0, (224, 224), None),
    ],
)
def test_tokens_are_laid_out_in_the_aspect_of_the_image(tokens, image_size, grid):
    assert token_grid(tokens, image_size) == grid


def test_tokens_keep_their_place():
    tokens = torch.arange(2 * 7 * 3).reshape(2, 7, 3)
    laid_out = tokens_to_map(tokens, prefix=1, image_size=(32, 48))
    assert laid_out.shape == (2, 3, 2, 3)
    assert torch.equal(laid_out[1, :, 1, 2], tokens[1, 1 + 5])
    with pytest.raises(PluginError, match="7 tokens cannot be laid out as a map of a 32 x 48 image"):
        tokens_to_map(tokens, prefix=0, image_size=(32, 48))


def test_widths_are_measured_and_impossible_sizes_named():
    backbone = small_backbone()
    assert measure(backbone, (8, 12), owner="small", hint="") == (6, 6)
    assert backbone.training
    assert backbone.body["stem"][1].num_batches_tracked == 0
    with pytest.raises(ConfigError, match=r"small cannot take images of 2 x 2 pixels: .*Kernel size") as caught:
        measure(backbone, (2, 2), owner="small", hint="Larger ones.")
    assert caught.value.hint == "Larger ones."
    backbone.forward = lambda images: (images, images)
    with pytest.raises(PluginError, match=r"not \(N, D\) and \(N, C, h, w\)"):
        measure(backbone, (8, 8), owner="small", hint="")


# Real files


@pytest.mark.skipif(TEST_DATA is None, reason="ZOO_TEST_DATA does not name the folder with real weights")
@pytest.mark.parametrize(
    ("plugin", "name", "file"),
    [
        ("torchvision", "resnet18", "resnet18_imagenet"),
        ("torchvision", "squeezenet1_1", "squeezenet1_1_imagenet"),
        ("timm", "resnet18", "resnet18_imagenet"),
        ("timm", "mobilenetv2_100", "timm_mobilenetv2_100_padsame_imagenet"),
    ],
)
def test_real_files_fit_wholly(plugin, name, file):
    from zoo.plugins.options import NoOptions
    from zoo.plugins.specs import BackboneRequest

    if plugin == "timm":
        from zoo_timm.backbone import build
        from zoo_timm.options import TimmOptions as Options
    else:
        from zoo_torchvision.backbone import build

        Options = NoOptions  # noqa: N806
    backbone = build(name, BackboneRequest(pretrained=False, image_size=(64, 64), options=Options()))
    path = Path(TEST_DATA, "weights", f"{file}.safetensors")
    report = load_backbone(backbone, read_state_dict(path), source=path.name)
    assert not report.missing
    assert not report.mismatched
    assert len(report.skipped) == 2  # weight and bias of the output layer


def test_whatever_a_broken_pickle_makes_torch_raise_is_told(tmp_path, monkeypatch):
    def load(*args, **options):
        raise struct.error("unpack requires a buffer of 4 bytes")

    monkeypatch.setattr(torch, "load", load)
    file = tmp_path / "w.pth"
    file.write_bytes(b"spoilt")
    with pytest.raises(WeightsError, match="cannot be read: unpack requires a buffer of 4 bytes"):
        read_state_dict(file)
