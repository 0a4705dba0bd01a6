import sys

import pytest
import torchvision

from zoo.errors import WeightsError
from zoo.plugins.specs import Finding
from zoo.testing import check_findings
from zoo_torchvision import checks, zoo_checks
from zoo_torchvision.checks import check_installation, check_pretrained


@pytest.fixture(autouse=True)
def _server_answers(monkeypatch):
    monkeypatch.setattr(checks, "check_server", lambda url, about: Finding(about=about, status="ok", text="answers"))


def test_torchvision_works_here():
    (spec,) = zoo_checks()
    check_findings(spec)
    assert {finding.status for finding in check_installation()} == {"ok"}


def test_a_library_that_does_not_fit_torch_is_a_problem(monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("operator torchvision::nms does not exist\nand more")

    monkeypatch.setattr(torchvision.ops, "nms", fail)
    finding = check_installation()[0]
    assert finding.status == "problem"
    assert finding.text == "cannot be used: RuntimeError: operator torchvision::nms does not exist"
    assert "--force-reinstall" in finding.advice


def test_without_torch_the_check_warns(monkeypatch):
    """Exported files work without torch."""
    monkeypatch.setitem(sys.modules, "torch", None)
    assert check_installation()[0].status == "warning"


@pytest.mark.parametrize(
    ("name", "file"),
    [("resnet18", "resnet18-f37072fd.pth"), ("shufflenet_v2_x1_0", "shufflenetv2_x1-5666bf0f80.pth")],
)
def test_weights_in_the_cache_pass_the_check(offline, name, file):
    with pytest.raises(WeightsError, match=f"pretrained weights of {name} cannot be downloaded"):
        check_pretrained(name)
    checkpoints = offline / "torch" / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    (checkpoints / file).touch()
    check_pretrained(name)
    with pytest.raises(WeightsError, match="pretrained weights of vgg11 cannot be downloaded"):
        check_pretrained("vgg11")
