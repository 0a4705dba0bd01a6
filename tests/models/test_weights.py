import argparse
import io
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from zoo.errors import WeightsError
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


@pytest.mark.parametrize("file", ["w.safetensors", "w.pth", "w.pt", "w.bin"])
def test_a_state_dict_keeps_its_dtypes(tmp_path, file):
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
def test_nested_keys_and_prefixes_of_training_programs_are_removed(tmp_path, wrap):
    state = {"conv.weight": torch.randn(2), "conv.bias": torch.randn(1)}
    torch.save(wrap(state), tmp_path / "w.pth")
    found = read_state_dict(tmp_path / "w.pth")
    found.pop("loss.weight", None)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)


class Settings:
    """An object that some checkpoints contain besides the weights."""


def test_a_pickle_that_would_run_code_is_refused_by_name(tmp_path):
    torch.save({"state_dict": {"a": torch.zeros(1)}, "args": Settings()}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"w\.pth contains .*Settings besides weights") as caught:
        read_state_dict(tmp_path / "w.pth")
    assert "model.state_dict()" in caught.value.hint


class Hostile:
    """Runs a command where a pickle of it is loaded without care."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


@pytest.mark.parametrize(
    "write",
    [
        lambda file: torch.save(Hostile(os.system, "exit"), file),
        lambda file: torch.save({"state_dict": Hostile(eval, "1")}, file),
        lambda file: torch.save(Hostile(os.system, "exit"), file, _use_new_zipfile_serialization=False),
        lambda file: torch.save({"w": torch.zeros(1), "args": argparse.Namespace(a=1)}, file),
        lambda file: torch.save({"w": torch.zeros(1), "best": np.float64(1)}, file),
        lambda file: torch.save(torch.nn.Linear(1, 1), file),
        lambda file: file.write_bytes(pickle.dumps(Hostile(os.system, "exit"), protocol=0)),
        lambda file: file.write_bytes(b"cos\nsystem\n(S'exit'\ntR."),
    ],
)
def test_a_checkpoint_that_would_run_code_is_refused_without_advice_to_run_it(tmp_path, write):
    write(tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="reading it would run code of its author") as caught:
        read_state_dict(tmp_path / "w.pth")
    assert "truncated" not in str(caught.value)
    assert "weights_only" not in str(caught.value)


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_a_pickle_that_torch_did_not_write_is_named(refusal, protocol):
    for content in (Hostile(os.system, "exit"), {"w": [1.0]}):
        error = refusal("w.pth", pickle.dumps(content, protocol=protocol))
        assert error.message.endswith("w.pth is a pickle of another program, not a file of weights.")
        assert "torch.save(state_dict" in error.hint


@pytest.mark.parametrize("content", [b"\x80\x02U\x01aQ.", b"\x80\x02}q\x00(", b"PK\x03\x04", b"text"])
def test_no_error_has_the_advice_of_torch(tmp_path, content):
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        read_state_dict(tmp_path / "w.pth")
    assert "weights_only" not in str(caught.value)


@pytest.fixture
def refusal(tmp_path):
    """Returns a function that writes a file and returns the error of reading it."""

    def read(name, content):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(WeightsError) as caught:
            read_state_dict(tmp_path / name)
        return caught.value

    return read


def pickled(value):
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def test_truncated_files_are_refused(refusal):
    tensors = {"a": torch.zeros(64)}
    error = refusal("cut.safetensors", safetensors.torch.save(tensors)[:-16])
    assert "cut.safetensors cannot be read: " in error.message
    content = pickled(tensors)
    error = refusal("cut.pth", content[: len(content) // 2])
    assert "cut.pth cannot be read: " in error.message
    assert (
        error.hint == f"Copy or download it again: its {len(content) // 2:,} bytes are truncated, or of another format."
    )


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth", "w.bin"])
@pytest.mark.parametrize(
    ("content", "kind", "hint"),
    [
        (b"", "an empty file", "download it again"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 46\n", "a Git LFS pointer", "git lfs pull"),
        (b"\n<!DOCTYPE html><title>Not found</title>", "a web page", "download the file that the page links to"),
        (b"\x1f\x8b\x08\x00 compressed", "a gzip archive", "gunzip"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file, as written by Keras", "PyTorch state dict"),
    ],
)
def test_files_of_other_kinds_are_named_with_the_way_out(refusal, name, content, kind, hint):
    error = refusal(name, content)
    assert error.message.endswith(f"{name} is {kind}, not a file of weights.")
    assert hint in error.hint


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_a_torchscript_program_is_named_and_its_weights_can_be_saved(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    network = torch.nn.Linear(2, 1)
    torch.jit.save(torch.jit.script(network), "jit.pt")
    with pytest.raises(WeightsError, match=r"jit\.pt is a TorchScript program, not a file of weights") as caught:
        read_state_dict(Path("jit.pt"))
    command = caught.value.hint.removeprefix("Save its weights alone: ").removesuffix(".")
    exec(command, {"torch": torch})
    assert torch.equal(read_state_dict(Path("weights.pth"))["weight"], network.weight)


def test_a_wrong_suffix_is_named(refusal):
    error = refusal("w.pth", safetensors.torch.save({"a": torch.zeros(2)}))
    assert (error.message.partition(" is ")[2], error.hint) == (
        "a safetensors file, not a file of weights.",
        "Rename it to end in .safetensors.",
    )
    error = refusal("w.safetensors", pickled({"a": torch.zeros(2)}))
    assert error.hint == "Rename it to end in .pth."
    assert "w.jpg is not a weights file" in refusal("w.jpg", b"\xff\xd8").message


def test_files_without_named_tensors_are_refused(refusal):
    assert "cannot be read: it is not a pickled checkpoint" in refusal("text.pth", b"no weights at all").message
    assert "contains no named tensors, but list" in refusal("list.pth", pickled([torch.zeros(1)])).message
    assert "contains no named tensors, but dict" in refusal("empty.pth", pickled({})).message


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(WeightsError, match=r"There is no weights file .*absent\.pth") as caught:
        read_state_dict(tmp_path / "absent.pth")
    assert "--weights none" in caught.value.hint


def test_any_exception_of_torch_load_is_a_weights_error(tmp_path, monkeypatch):
    def load(*args, **options):
        raise struct.error("unpack requires a buffer of 4 bytes")

    monkeypatch.setattr(torch, "load", load)
    file = tmp_path / "w.pth"
    file.write_bytes(b"spoilt")
    with pytest.raises(WeightsError, match="cannot be read: unpack requires a buffer of 4 bytes"):
        read_state_dict(file)


def test_matching_entries_are_loaded(state):
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


def test_the_weights_of_a_run_are_loaded(state):
    run = {f"backbone.{name}": tensor for name, tensor in state.items()} | {"head.linear.weight": torch.zeros(2, 6)}
    backbone = small_backbone()
    report = load_backbone(backbone, run, source="a run")
    assert torch.equal(backbone.body["end"].bias, state["body.end.bias"])
    assert report.skipped == ("head.linear.weight",)
    assert not report.missing


def test_old_files_may_lack_the_count_of_batches(state):
    del state["body.stem.1.num_batches_tracked"]
    assert not load_backbone(small_backbone(), state, source="f").missing


def test_missing_and_mismatched_entries_are_named_and_keep_their_values(state):
    backbone = small_backbone()
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    del state["body.stem.0.bias"]
    state["body.end.weight"] = torch.zeros(9, 4, 1, 1)
    report = load_backbone(backbone, state, source="f.pth")
    assert report.missing == ("body.stem.0.bias",)
    assert report.mismatched == (("body.end.weight", (9, 4, 1, 1), (6, 4, 1, 1)),)
    assert "different shape: body.end.weight is 9x4x1x1 in the file and 6x4x1x1 in the backbone" in report.summary()
    assert torch.equal(backbone.body["stem"][0].bias, before["body.stem.0.bias"])
    assert torch.equal(backbone.body["end"].weight, before["body.end.weight"])


@pytest.mark.parametrize(
    ("channels", "adapt", "how"),
    [
        (1, lambda weight: weight.expand(4, 3, 3, 3) / 3, "1 in the file: spread over 3"),
        (4, lambda weight: weight[:, :3], "4 in the file: cut to the first 3"),
    ],
)
def test_a_first_convolution_for_other_channels_is_adapted(state, channels, adapt, how):
    backbone = small_backbone()
    weight = state["body.stem.0.weight"] = torch.randn(4, channels, 3, 3)
    report = load_backbone(backbone, state, source="f.pth")
    assert report.unfilled == ()
    torch.testing.assert_close(backbone.body["stem"][0].weight, adapt(weight))
    assert f"; input channels of body.stem.0.weight, {how}" in report.summary()


def test_a_grey_photo_is_the_same_to_a_convolution_that_was_spread(state):
    backbone, grey = small_backbone(), nn.Conv2d(1, 4, 3)
    state["body.stem.0.weight"], state["body.stem.0.bias"] = grey.weight.detach(), grey.bias.detach()
    load_backbone(backbone, state, source="f.pth")
    image = torch.randn(1, 1, 5, 5)
    torch.testing.assert_close(backbone.body["stem"][0](image.expand(1, 3, 5, 5)), grey(image))


def test_a_convolution_of_colours_is_summed_for_a_backbone_of_grey_images(state):
    backbone = small_backbone()
    backbone.body["stem"][0] = nn.Conv2d(1, 4, 3)
    report = load_backbone(backbone, state, source="f.pth")
    assert report.unfilled == ()
    torch.testing.assert_close(backbone.body["stem"][0].weight, state["body.stem.0.weight"].sum(dim=1, keepdim=True))


@pytest.mark.parametrize("shape", [(4, 2, 3, 3), (4, 1, 5, 5), (4, 3, 5, 5), (5, 1, 3, 3), (4, 27)])
def test_other_shapes_are_not_adapted(state, shape):
    state["body.stem.0.weight"] = torch.randn(shape)
    backbone = StagedBackbone(
        {"stem": nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), "end": nn.Conv2d(4, 99, 1)}, width=99
    )
    state["body.end.weight"], state["body.end.bias"] = torch.randn(99, 4, 1, 1), torch.randn(99)
    report = load_backbone(backbone, state, source="f.pth")
    assert report.unfilled == ("body.stem.0.weight",)
    assert report.adapted == ()


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_not_finite_are_named_and_change_nothing(state, value):
    backbone = small_backbone()
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    state["body.stem.0.weight"][0, 0] = value
    state["body.end.bias"][0] = value
    with pytest.raises(WeightsError) as caught:
        load_backbone(backbone, state, source="w.pth")
    assert caught.value.message == "w.pth has weights that are not finite: body.stem.0.weight, body.end.bias."
    assert "diverged" in caught.value.hint
    for name, tensor in backbone.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_statistics_of_nan_are_an_error_and_an_output_layer_of_nan_is_not(state):
    state["fc.weight"] = torch.full((2, 2), torch.nan)
    assert load_backbone(small_backbone(), state, source="w.pth").skipped == ("fc.weight",)
    state["body.stem.1.running_mean"][0] = torch.nan
    with pytest.raises(WeightsError, match=r"not finite: body\.stem\.1\.running_mean"):
        load_backbone(small_backbone(), state, source="w.pth")


def test_a_file_of_another_network_is_an_error_and_changes_nothing(state):
    backbone = small_backbone()
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    with pytest.raises(WeightsError, match=r"other\.pth does not fit .* 0% .* lacks body\.stem\.0\.weight") as caught:
        load_backbone(backbone, {"blocks.0.attn.qkv.weight": torch.zeros(3, 5)}, source="other.pth")
    assert "it contains blocks.0.attn.qkv.weight (3x5)" in caught.value.hint
    wider = state | {"body.stem.0.weight": torch.zeros(8, 3, 3, 3)}
    with pytest.raises(WeightsError, match=r"shapes differ: body\.stem\.0\.weight is 8x3x3x3 in the file and 4x3x3x3"):
        load_backbone(backbone, wider, source="wider.pth")
    assert all(torch.equal(tensor, before[name]) for name, tensor in backbone.state_dict().items())


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
def test_real_files_match_completely(plugin, name, file):
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
