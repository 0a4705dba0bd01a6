import json

import pytest


def test_each_plugin_with_what_it_provides(run_zoo):
    code, out, err = run_zoo("plugins")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "plugin                    version  provides",
        "finetune-zoo:torchvision  1.2      1 backbone",
        "finetune-zoo:recipes      1.2      2 recipes",
        "finetune-zoo:timm         1.2      1 family",
        "finetune-zoo:heads        1.2      2 heads",
        "finetune-zoo:datasets     1.2      1 dataset",
    ]


def test_a_failure_is_listed_with_its_reason_and_is_no_error(run_zoo, plugins, broken):
    plugins.append(broken)
    code, out, _ = run_zoo("plugins")
    assert code == 0
    assert "acme:broken               0.1      failed" in out
    assert "acme:broken failed: ImportError: No module named 'acme_core'" in out
    assert "Traceback" not in out
    assert out.endswith("'zoo plugins --verbose' shows the tracebacks.\n")


def test_quiet_hides_the_hint(run_zoo, plugins, broken):
    plugins.append(broken)
    out = run_zoo("plugins", "-q").out
    assert out.endswith("acme:broken failed: ImportError: No module named 'acme_core'\n")


def test_verbose_shows_the_traceback(run_zoo, plugins, broken):
    plugins.append(broken)
    out = run_zoo("plugins", "-v").out
    assert "Traceback (most recent call last)" in out
    assert "shows the tracebacks" not in out


def test_a_blocked_plugin_is_not_a_failure(run_zoo, monkeypatch):
    monkeypatch.setenv("ZOO_BLOCK_PLUGINS", "timm")
    out = run_zoo("plugins").out
    assert "blocked by ZOO_BLOCK_PLUGINS" in out
    assert "failed" not in out


def test_formats_and_checks_are_listed(run_zoo, plugins, opener):
    plugins.append(opener)
    assert "acme:opener               1.2      1 format, 1 check" in run_zoo("plugins").out
    plugin = json.loads(run_zoo("plugins", "--json").out)[-1]
    assert (plugin["formats"], plugin["checks"]) == (["box"], ["box"])


def test_json_lists_everything(run_zoo, plugins, broken):
    plugins.append(broken)
    listed = {plugin["key"]: plugin for plugin in json.loads(run_zoo("plugins", "--json").out)}
    assert listed["finetune-zoo:torchvision"]["backbones"] == ["tiny"]
    assert listed["finetune-zoo:timm"]["families"] == ["many"]
    assert listed["finetune-zoo:heads"]["built_in"]
    assert listed["acme:broken"]["error"] == "ImportError: No module named 'acme_core'"
    assert "Traceback" in listed["acme:broken"]["details"]


@pytest.mark.parametrize("name", ["third_party", "raising"])
def test_third_party_plugins_are_listed(run_zoo, plugins, request, name):
    plugins.append(request.getfixturevalue(name))
    assert "acme:" in run_zoo("plugins").out
