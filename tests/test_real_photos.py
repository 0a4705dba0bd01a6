"""Fine-tuning on real photos with real weights; skipped without them."""

import os
from pathlib import Path

import pytest

import zoo

DATA = os.environ.get("ZOO_TEST_DATA")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DATA, reason="set ZOO_TEST_DATA to a folder with hotdog/ and weights/"),
]
PHOTOS, WEIGHTS = Path(DATA or ".") / "hotdog", Path(DATA or ".") / "weights"


@pytest.fixture
def table(tmp_path):
    """A CSV of 120 training and 120 test photos of each class."""
    rows = ["path,label,split"]
    for split in ("train", "test"):
        for label in ("hotdog", "not-hotdog"):
            files = sorted((PHOTOS / split / label).iterdir())
            rows += [f"{file.resolve()},{label},{split}" for file in files[:: len(files) // 120][:120]]
    path = tmp_path / "photos.csv"
    path.write_text("\n".join(rows), "utf-8")
    return path


def test_pretrained_features_distinguish_hot_dogs_from_other_food(table, tmp_path):
    weights = str(WEIGHTS / "resnet18_imagenet.safetensors")
    run = zoo.finetune("resnet18", data=str(table), weights=weights, freeze="all", runs=tmp_path / "runs")
    # Chance is 0.5. These weights reach about 0.88 with so few photos; wrong preprocessing or weights stay below 0.82.
    assert run.results["test"]["accuracy"] > 0.82
    assert run.results["test"]["count"] == 240
    assert "skipped: fc.bias, fc.weight" in run.record.weights
    photo = PHOTOS / "test" / "hotdog" / "food101_1000288.jpg"
    assert zoo.load(run.path).predict(photo).label == "hotdog"


@pytest.mark.parametrize(
    ("backbone", "file"),
    [
        ("torchvision/squeezenet1_1", "squeezenet1_1_imagenet.safetensors"),
        ("timm/resnet18", "resnet18_imagenet.safetensors"),
    ],
)
def test_other_networks_and_libraries_load_their_weights(table, tmp_path, backbone, file):
    run = zoo.finetune(backbone, data=str(table), weights=str(WEIGHTS / file), freeze="all", runs=tmp_path / "runs")
    assert run.results["test"]["accuracy"] > 0.78
