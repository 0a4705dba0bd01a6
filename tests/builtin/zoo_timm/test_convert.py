import json

import numpy as np
import pytest
import timm
import torch

from zoo.data.loading.augment import normalise
from zoo.errors import ConfigError, RunError
from zoo.inference.run_predictor import load
from zoo.runs.manifest import check_folder, read_manifest
from zoo.training.finetune import finetune
from zoo_timm.convert import convert_to_timm


def train(tmp_path, backbone, **values):
    small = {"epochs": 1, "image_size": 32, "weights": "none", "data_options": {"images": 10, "size": 40}}
    return finetune(backbone, data="hotdog-cartoon", runs=tmp_path / "runs", **{**small, **values})


@pytest.mark.parametrize(
    "backbone",
    [
        "timm/resnet10t",
        pytest.param("timm/vit_tiny_patch16_224", marks=pytest.mark.slow),
        pytest.param("torchvision/resnet18", marks=pytest.mark.slow),
        # Another network than timm's efficientnet_lite0, with weights of the same names.
        pytest.param("efficientnet_lite/efficientnet_lite0", marks=pytest.mark.slow),
    ],
)
def test_timm_computes_the_same_logits(tmp_path, backbone):
    run = train(tmp_path, backbone)
    folder = convert_to_timm(run, tmp_path / "out")
    network = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    predictor = load(run)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    images = normalise(torch.from_numpy(pixels).permute(0, 3, 1, 2), predictor.preprocess)
    with torch.inference_mode():
        torch.testing.assert_close(network(images).softmax(dim=1).numpy(), predictor.probabilities(list(pixels)))


def test_files_in_the_run_folder_are_added_to_its_manifest(tmp_path):
    run = train(tmp_path, "timm/resnet10t")
    convert_to_timm(run, run.path / "timm")
    assert "timm/config.json" in read_manifest(run.path)
    assert check_folder(run.path) == []


def test_timm_preprocesses_photos_in_the_same_way(tmp_path):
    run = train(tmp_path, "timm/resnet10t", eval_crop=0.8)
    folder = convert_to_timm(run, tmp_path / "out")
    config = timm.data.resolve_model_data_config(timm.create_model(f"local-dir:{folder}", pretrained=True))
    preprocess = run.preprocess
    assert tuple(config["input_size"]) == (3, 32, 32)
    assert config["crop_pct"] == pytest.approx(32 / preprocess.resize)
    assert (tuple(config["mean"]), tuple(config["std"])) == (preprocess.mean, preprocess.std)
    assert config["interpolation"] == preprocess.interpolation
    assert json.loads((folder / "config.json").read_text("utf-8"))["label_names"] == list(run.classes)


@pytest.mark.parametrize(
    ("backbone", "values", "reason"),
    [
        ("timm/resnet10t", {"head": "mlp"}, "the head heads/mlp has no counterpart in timm"),
        ("timm/resnet10t", {"head_options": {"pooling": "max"}}, "the head heads/linear has no counterpart in timm"),
        ("torchvision/squeezenet1_1", {}, "timm has no network 'squeezenet1_1'"),
        ("torchvision/mobilenet_v3_small", {}, "timm has no network 'mobilenet_v3_small'"),
    ],
)
def test_a_run_without_counterpart_in_timm_is_an_error(tmp_path, backbone, values, reason):
    run = train(tmp_path, backbone, **values)
    with pytest.raises(ConfigError, match=reason):
        convert_to_timm(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_different_logits_are_an_error_and_leave_no_files(tmp_path, monkeypatch):
    run = train(tmp_path, "timm/resnet10t")
    create = timm.create_model

    def damaged(name, **arguments):
        network = create(name, **arguments)
        if name.startswith("local-dir:"):
            torch.nn.init.zeros_(network.get_classifier().weight)
        return network

    monkeypatch.setattr(timm, "create_model", damaged)
    with pytest.raises(RunError, match="the logits of timm's network differ"):
        convert_to_timm(run, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_an_existing_folder_is_not_overwritten(tmp_path):
    run = train(tmp_path, "timm/resnet10t")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious.txt").write_text("mine", "utf-8")
    with pytest.raises(ConfigError, match="exists and is not empty"):
        convert_to_timm(run, tmp_path / "out")
