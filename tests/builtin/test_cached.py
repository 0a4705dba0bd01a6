"""Without a network, a run that wants pretrained weights ends at once, before torch is imported."""

import subprocess
import sys

import pytest

import zoo_timm.cached
import zoo_torchvision.cached
from zoo.errors import WeightsError

NO_NETWORK = {"HTTPS_PROXY": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9", "NO_PROXY": "", "no_proxy": ""}


@pytest.fixture
def offline(tmp_path, monkeypatch):
    for name, value in {**NO_NETWORK, "TORCH_HOME": str(tmp_path / "torch"), "HF_HOME": str(tmp_path / "hf")}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(zoo_timm.cached.constants, "HF_HUB_CACHE", str(tmp_path / "hf" / "hub"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("backbone", ["torchvision/resnet18", "timm/resnet18"])
def test_the_command_ends_before_torch_is_imported(offline, backbone):
    code = (
        "import sys; from zoo.training.finetune import finetune; from zoo.errors import WeightsError\n"
        f"try: finetune({backbone!r}, data='hotdog-cartoon')\n"
        "except WeightsError as error: print(error)\n"
        "assert not {'torch', 'torchvision', 'timm'} & set(sys.modules)"
    )
    # Resolving a name of timm's takes its list of names, which is made with timm once and for all.
    subprocess.run([sys.executable, "-c", "from zoo_timm.names import names; names()"], check=True)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "The pretrained weights of resnet18 cannot be downloaded" in done.stdout
    assert "--weights FILE" in done.stdout
    assert "--weights none" in done.stdout


@pytest.mark.parametrize(
    ("name", "file"),
    [("resnet18", "resnet18-f37072fd.pth"), ("shufflenet_v2_x1_0", "shufflenetv2_x1-5666bf0f80.pth")],
)
def test_torchvision_weights_in_the_cache_are_let_through(offline, name, file):
    with pytest.raises(WeightsError, match=f"pretrained weights of {name} cannot be downloaded"):
        zoo_torchvision.cached.check_pretrained(name)
    checkpoints = offline / "torch" / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    (checkpoints / file).touch()
    zoo_torchvision.cached.check_pretrained(name)
    with pytest.raises(WeightsError, match="pretrained weights of vgg11 cannot be downloaded"):
        zoo_torchvision.cached.check_pretrained("vgg11")


def test_timm_weights_in_the_cache_are_let_through(offline):
    with pytest.raises(WeightsError, match=r"pretrained weights of resnet18\.a1_in1k cannot be downloaded"):
        zoo_timm.cached.check_pretrained("resnet18.a1_in1k")
    (offline / "hf" / "hub" / "models--timm--resnet18.a1_in1k").mkdir(parents=True)
    zoo_timm.cached.check_pretrained("resnet18.a1_in1k")


def test_an_offline_hub_is_not_asked(offline, monkeypatch):
    monkeypatch.setattr(zoo_timm.cached.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match="HF_HUB_OFFLINE is set"):
        zoo_timm.cached.check_pretrained("resnet18")
