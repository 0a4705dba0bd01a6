"""Without a network, a run with pretrained weights fails at once, before torch is imported."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("backbone", ["torchvision/resnet18", "timm/resnet18"])
def test_finetune_fails_before_torch_is_imported(offline, backbone):
    code = (
        "import sys; from zoo.training.finetune import finetune; from zoo.errors import WeightsError\n"
        f"try: finetune({backbone!r}, data='hotdog-cartoon')\n"
        "except WeightsError as error: print(error)\n"
        "assert not {'torch', 'torchvision', 'timm'} & set(sys.modules)"
    )
    # Lists timm's names once, which imports timm; afterwards they come from the cache.
    subprocess.run([sys.executable, "-c", "from zoo_timm.family import list_names; list_names()"], check=True)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "The pretrained weights of resnet18 cannot be downloaded" in done.stdout
    assert "--weights FILE" in done.stdout
    assert "--weights none" in done.stdout
