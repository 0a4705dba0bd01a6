"""A path that does not exist is reported as a missing file, with the near names in its folder, by whatever takes it."""

import re

import pytest
from PIL import Image

import zoo
import zoo_export
from zoo.errors import ZooError

_MISSING = re.compile(r"[Tt]here is no (file|folder|weights file)|does not exist|No such file", re.DOTALL)
# What stands in the working folder, and how it is misspelt.
NAMES = {
    "model.onnx": "modle.onnx",
    "photos": "phots",
    "photos.csv": "phtos.csv",
    "photo.png": "phto.png",
    "mine.toml": "mien.toml",
    "first.safetensors": "frist.safetensors",
    "key.pem": "kye.pem",
    "secret.txt": "secrte.txt",
    "runs/tiny-1": "runs/tinny-1",
}
COMMANDS = [
    "predict modle.onnx photo.png",
    "predict ./modle.onnx photo.png",
    "predict runs/tinny-1 photo.png",
    "evaluate modle.onnx",
    "evaluate runs/tinny-1",
    "inspect modle.onnx",
    "verify modle.onnx",
    "sign modle.onnx --key key.pem",
    "sign model.zip --key kye.pem",
    "encrypt modle.onnx --passphrase-file secret.txt",
    "encrypt model.zip --passphrase-file secrte.txt",
    "decrypt other.onnx.age --key kye.pem",
    "export runs/tinny-1",
    "recipe runs/tinny-1",
    "info runs/tinny-1",
    "info ./mien.toml",
    "runs tag runs/tinny-1 hotdog",
    "runs rename runs/tinny-1 other",
    "runs delete runs/tinny-1 --yes",
    "demo modle.onnx",
    "demo runs/tinny-1",
    "data check phots",
    "data check ./phots",
    "data check phtos.csv",
    "data check photos/../phtos.csv",
    "data check photos.csv --exclude phtos.csv",
    "show ./phots",
    "show phtos.csv",
    "finetune resnet18 --data ./phots",
    "finetune resnet18 --data phtos.csv",
    "finetune resnet18 --data photos --weights frist.safetensors",
    "finetune resnet18 --data photos --weights runs/tinny-1",
    "finetune resnet18 --data photos --exclude phtos.csv",
    "finetune resnet18 --data photos --recipe mien.toml",
    "finetune --config mien.toml",
    "finetune --like runs/tinny-1",
    "finetune --resume runs/tinny-1",
    "compare resnet18 --data ./phots --seeds 0,1",
]
CALLS = [
    lambda: zoo.open_run("runs/tinny-1"),
    lambda: zoo.load("runs/tinny-1"),
    lambda: zoo.load("modle.onnx"),
    lambda: zoo_export.load("modle.onnx"),
    lambda: zoo.evaluate("modle.onnx"),
    lambda: zoo.resume("runs/tinny-1"),
    lambda: zoo.check_data("./phots"),
    lambda: zoo.load_images("phtos.csv"),
    lambda: zoo.read_settings("mien.toml"),
    lambda: zoo.finetune("resnet18", data="./phots"),
    lambda: zoo.finetune("resnet18", data="photos", weights="frist.safetensors"),
    lambda: zoo.compare("resnet18", data="./phots", grid={"lr": [0.1, 0.2]}),
]


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    for name in NAMES:
        if "." not in name:
            (tmp_path / name).mkdir(parents=True)
    for label in ("cat", "dog"):
        (tmp_path / "photos" / label).mkdir()
        for number in range(4):
            Image.new("RGB", (8, 8), (60 * number, 0, 0)).save(tmp_path / "photos" / label / f"{number}.png")
    for name in (*NAMES, "model.zip"):
        if "." in name:
            (tmp_path / name).write_bytes(b"x")
    (tmp_path / "photos.csv").write_text("path,label\nphotos/cat/0.png,cat\nphotos/dog/0.png,dog\n")
    monkeypatch.chdir(tmp_path)


def _check(message):
    assert _MISSING.search(message), message
    assert "no run" not in message, message
    near = [name for name, misspelt in NAMES.items() if misspelt in message]
    assert near, message
    assert f"Did you mean {near[-1]}" in message or f"/{near[-1]}" in message, message


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_name_the_missing_path_and_its_neighbours(run, line):
    code, _, err = run(*line.split())
    assert code == 1
    _check(err)


@pytest.mark.parametrize("call", CALLS)
def test_python_names_the_missing_path_and_its_neighbours(call):
    with pytest.raises(ZooError) as caught:
        call()
    _check(str(caught.value))
