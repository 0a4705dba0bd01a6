import json

import numpy as np
import pytest
import timm
import torch

from zoo.cli.main import main
from zoo.data.loading.augment import normalise
from zoo.errors import ConfigError, RunError
from zoo.inference.run_predictor import load
from zoo.runs.manifest import check_folder, read_manifest
from zoo.training.finetune import finetune
from zoo_timm.convert import to_timm


def trained(tmp_path, backbone, **values):
    small = {"epochs": 1, "image_size": 32, "weights": "none", "data_options": {"images": 10, "size": 40}}
    return finetune(backbone, data="hotdog-cartoon", runs=tmp_path / "runs", **{**small, **values})


@pytest.mark.parametrize("backbone", ["timm/resnet10t", "timm/vit_tiny_patch16_224", "torchvision/resnet18"])
def test_timm_gives_the_same_logits(tmp_path, backbone):
    run = trained(tmp_path, backbone)
    folder = to_timm(run, tmp_path / "out")
    network = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    predictor = load(run)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    images = normalise(torch.from_numpy(pixels).permute(0, 3, 1, 2), predictor.preprocess)
    with torch.inference_mode():
        torch.testing.assert_close(network(images).softmax(dim=1).numpy(), predictor.probabilities(list(pixels)))


def test_what_is_written_into_the_run_belongs_to_it(tmp_path):
    run = trained(tmp_path, "timm/resnet10t")
    to_timm(run, run.path / "timm")
    assert "timm/config.json" in read_manifest(run.path)
    assert check_folder(run.path) == []


def test_timm_prepares_photos_in_the_same_way(tmp_path):
    run = trained(tmp_path, "timm/resnet10t", eval_crop=0.8)
    folder = to_timm(run, tmp_path / "out")
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
def test_what_timm_cannot_hold_is_refused(tmp_path, backbone, values, reason):
    run = trained(tmp_path, backbone, **values)
    with pytest.raises(ConfigError, match=reason):
        to_timm(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_network_that_computes_something_else_leaves_nothing(tmp_path, monkeypatch):
    run = trained(tmp_path, "timm/resnet10t")
    create = timm.create_model

    def damaged(name, **arguments):
        network = create(name, **arguments)
        if name.startswith("local-dir:"):
            torch.nn.init.zeros_(network.get_classifier().weight)
        return network

    monkeypatch.setattr(timm, "create_model", damaged)
    with pytest.raises(RunError, match="gives logits that differ"):
        to_timm(run, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_an_existing_folder_is_not_written_over(tmp_path):
    run = trained(tmp_path, "timm/resnet10t")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious.txt").write_text("mine", "utf-8")
    with pytest.raises(ConfigError, match="is there already"):
        to_timm(run, tmp_path / "out")


def test_the_command_says_how_to_load_it(tmp_path, capsys):
    run = trained(tmp_path, "timm/resnet10t")
    with pytest.raises(SystemExit) as exit_:
        main(["convert", str(run.path), "--to", "timm", "--output", str(tmp_path / "out")])
    assert exit_.value.code == 0
    assert f"timm.create_model('local-dir:{tmp_path / 'out'}', pretrained=True)" in capsys.readouterr().out
