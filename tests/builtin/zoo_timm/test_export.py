import json
import math

import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file

from zoo.data.images.decode import decode
from zoo.errors import ExportError
from zoo.events import ignore
from zoo.inference.evaluate import load_run_splits
from zoo.inference.run_predictor import load
from zoo.plugins.registry import load_registry
from zoo.preprocess import Preprocess
from zoo.runs.exports import read_exports
from zoo.runs.manifest import check_folder, read_manifest
from zoo.testing import check_export_target
from zoo.training.finetune import finetune
from zoo_timm import zoo_export_targets
from zoo_timm.export import _crop_share


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
    folder = run.export(tmp_path / "out", to="timm")
    network = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(network))
    predictor = load(run)
    for sample in load_run_splits(run, ("test",), registry=load_registry(), observer=ignore)["test"][:3]:
        pixels = decode(sample.source)
        with torch.inference_mode():
            probabilities = network(transform(Image.fromarray(pixels))[None]).softmax(dim=1)[0].tolist()
        assert list(network.pretrained_cfg["label_names"]) == list(run.classes)
        expected = predictor.predict(pixels).probabilities
        assert probabilities == pytest.approx([expected[name] for name in run.classes], abs=1e-4)


def test_files_in_the_run_folder_are_added_to_its_manifest(tmp_path):
    run = train(tmp_path, "timm/resnet10t")
    run.export(to="timm")
    assert "timm/config.json" in read_manifest(run.path)
    assert check_folder(run.path) == []


def test_timm_preprocesses_photos_in_the_same_way(tmp_path):
    run = train(tmp_path, "timm/resnet10t", eval_crop=0.8)
    folder = run.export(tmp_path / "out", to="timm")
    config = timm.data.resolve_model_data_config(timm.create_model(f"local-dir:{folder}", pretrained=True))
    preprocess = run.preprocess
    assert tuple(config["input_size"]) == (3, 32, 32)
    assert math.floor(32 / config["crop_pct"]) == preprocess.resize
    assert (tuple(config["mean"]), tuple(config["std"])) == (preprocess.mean, preprocess.std)
    assert config["interpolation"] == preprocess.interpolation
    assert json.loads((folder / "config.json").read_text("utf-8"))["label_names"] == list(run.classes)


@pytest.mark.parametrize(
    ("backbone", "values", "reason"),
    [
        (
            "timm/resnet10t",
            {"head": "mlp"},
            "heads/mlp has no counterpart in timm, because it is not a single linear layer",
        ),
        (
            "timm/resnet10t",
            {"head_options": {"pooling": "max"}},
            "heads/linear has no counterpart in timm, because its pooling is 'max'",
        ),
        ("timm/resnet10t", {"head_options": {"stages": 2}}, "because it reads the maps of 2 stages"),
        ("torchvision/squeezenet1_1", {}, "timm has no network 'squeezenet1_1'"),
        ("torchvision/mobilenet_v3_small", {}, "timm has no network 'mobilenet_v3_small'"),
    ],
)
def test_a_run_without_counterpart_in_timm_is_an_error(tmp_path, backbone, values, reason):
    run = train(tmp_path, backbone, **values)
    with pytest.raises(ExportError, match=reason) as caught:
        run.export(tmp_path / "out", to="timm")
    assert "Use --to onnx" in caught.value.hint
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
    with pytest.raises(ExportError, match=r"The exported file and the run disagree about .* on timm"):
        run.export(tmp_path / "out", to="timm")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs"]


def test_an_existing_folder_is_not_overwritten(tmp_path):
    run = train(tmp_path, "timm/resnet10t")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious.txt").write_text("mine", "utf-8")
    with pytest.raises(ExportError, match="exists and is not empty"):
        run.export(tmp_path / "out", to="timm")


def test_the_folder_describes_itself(tmp_path):
    run = train(tmp_path, "timm/resnet10t")
    folder = run.export(to="timm", photos=2)
    card = json.loads((folder / "config.json").read_text("utf-8"))["zoo"]
    assert (card["parity"]["verified"], card["parity"]["photos"], card["input"]) == (True, 2, "pixels")
    assert card["versions"]["timm"] == timm.__version__
    assert load_file(folder / "model.safetensors")["fc.weight"].shape == (2, 512)
    (record,) = read_exports(run.path)
    assert (record.file, record.target, record.plugin) == ("timm", "timm/timm", "finetune-zoo:timm")


@pytest.mark.parametrize("size", [32, 96, 160, 224, 288, 384])
def test_timm_resizes_to_the_same_side(size):
    for resize in range(size, 2 * size):
        share = _crop_share(Preprocess(size=(size, size), resize=resize))
        assert math.floor(size / share) == resize


@pytest.mark.slow
def test_the_target_keeps_the_contract():
    (spec,) = zoo_export_targets()
    check_export_target(spec, backbone="timm/test_resnet")
