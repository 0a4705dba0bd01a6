"""``zoo doctor`` on the libraries of the built-in plugins."""

import sys

import pytest
import timm
import torchvision

import zoo_timm.checks
import zoo_torchvision.checks
from zoo import Finding
from zoo.plugins.calls import resolve_callable
from zoo.testing import check_findings


@pytest.fixture(autouse=True)
def _no_server_is_asked(monkeypatch):
    def answers(url, *, about):
        return Finding(about=about, status="ok", text=f"{url} answers")

    for module in (zoo_timm.checks, zoo_torchvision.checks):
        monkeypatch.setattr(module, "check_server", answers)


@pytest.mark.parametrize("plugin", [zoo_timm, zoo_torchvision], ids=lambda plugin: plugin.__name__)
def test_both_work_here(plugin):
    (spec,) = plugin.zoo_checks()
    check_findings(spec)
    assert {finding.status for finding in resolve_callable(spec.run)()} == {"ok"}


def test_a_library_that_does_not_fit_torch_is_a_problem(monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("operator torchvision::nms does not exist\nand more")

    monkeypatch.setattr(torchvision.ops, "nms", fail)
    monkeypatch.setattr(timm, "create_model", fail)
    for check in (zoo_torchvision.checks.check, zoo_timm.checks.check):
        finding = check()[0]
        assert finding.status == "problem"
        assert finding.text == "cannot be used: RuntimeError: operator torchvision::nms does not exist"
        assert "--force-reinstall" in finding.advice


def test_without_torch_there_is_nothing_to_put_right(monkeypatch):
    """As where exported files alone are used."""
    monkeypatch.setitem(sys.modules, "torch", None)
    assert [check()[0].status for check in (zoo_torchvision.checks.check, zoo_timm.checks.check)] == ["warning"] * 2
    assert zoo_timm.checks.check()[0].text == "cannot be used without torch"


def test_an_offline_hub_is_not_asked(monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set" in zoo_timm.checks.check()[1].text
