import subprocess
import sys

import pytest
import timm
from huggingface_hub import constants

from zoo.errors import WeightsError
from zoo.plugins.specs import Finding
from zoo.testing import check_findings
from zoo_timm import checks, zoo_checks
from zoo_timm.checks import check_installation, check_pretrained


@pytest.fixture
def _server_answers(monkeypatch):
    monkeypatch.setattr(checks, "check_server", lambda url, about: Finding(about=about, status="ok", text="answers"))


@pytest.mark.usefixtures("_server_answers")
def test_timm_works_here():
    (spec,) = zoo_checks()
    check_findings(spec)
    assert {finding.status for finding in check_installation()} == {"ok"}


def test_a_library_that_does_not_fit_torch_is_a_problem(monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("operator torchvision::nms does not exist\nand more")

    monkeypatch.setattr(timm, "create_model", fail)
    (finding,) = check_installation()
    assert finding.status == "problem"
    assert finding.text == "cannot be used: RuntimeError: operator torchvision::nms does not exist"
    assert "--force-reinstall" in finding.advice


def test_without_torch_the_check_warns(monkeypatch):
    """Exported files work without torch."""
    monkeypatch.setitem(sys.modules, "torch", None)
    (finding,) = check_installation()
    assert (finding.status, finding.text) == ("warning", "cannot be used without torch")


def test_in_offline_mode_the_hub_is_not_contacted(offline, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set" in check_installation()[1].text
    with pytest.raises(WeightsError, match="HF_HUB_OFFLINE is set"):
        check_pretrained("resnet18")


def test_weights_in_the_cache_pass_the_check(offline):
    with pytest.raises(WeightsError, match=r"pretrained weights of resnet18\.a1_in1k cannot be downloaded"):
        check_pretrained("resnet18.a1_in1k")
    (offline / "hf" / "hub" / "models--timm--resnet18.a1_in1k").mkdir(parents=True)
    check_pretrained("resnet18.a1_in1k")


def test_the_modules_of_the_checks_are_light():
    code = "import sys, zoo_timm.checks; print(sorted({'torch', 'timm'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
