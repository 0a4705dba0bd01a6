from __future__ import annotations

import sys
from typing import Any

import pytest
from plugin_helpers import plugin_of, raising

import zoo
from zoo.errors import ConfigError, PluginError, WeightsError
from zoo.plugins.calls import call_plugin, lazy, plugin_failure, resolve_callable
from zoo.plugins.discovery import Plugin
from zoo.plugins.kinds import BACKBONE
from zoo.plugins.registry import get_card, load_registry

PLUGIN = Plugin(key="acme:nets", qualifier="acme", distribution="acme", version="1.0")


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The name of a module that no test has imported yet."""
    (tmp_path / "acme_network.py").write_text(
        "def build(*arguments, **named):\n    return (*arguments, named)\n\nclass Nets:\n    size = staticmethod(len)\n"
    )
    (tmp_path / "acme_broken.py").write_text("import einops_of_nobody\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "acme_network"
    sys.modules.pop("acme_network", None)


def test_a_callable_is_resolved_to_itself():
    assert resolve_callable(len) is len


def test_a_target_is_imported_only_when_it_is_called(module):
    build = resolve_callable(f"{module}:build")
    bound = lazy(f"{module}:build", "resnet18")
    assert module not in sys.modules
    assert build(1) == (1, {})
    assert module in sys.modules
    assert bound("request") == ("resnet18", "request", {})
    assert lazy(f"{module}:Nets.size")("four") == 4


def test_the_module_of_a_lazy_callable_is_known_without_an_import(module):
    """The run record hashes the source code of the package that a callable comes from."""
    assert lazy(f"{module}:build").__module__ == module
    assert module not in sys.modules


def test_a_plugin_is_called_with_the_arguments(module):
    def divide(one: int, by: int = 1) -> float:
        return one / by

    assert call_plugin(PLUGIN, "dividing", divide, 6, by=3) == 2
    assert call_plugin(PLUGIN, "building 'tiny'", f"{module}:build", 3) == (3, {})


@pytest.mark.parametrize("error", [RuntimeError("no memory."), SystemExit(3), RecursionError(), KeyError("depth")])
def test_any_exception_of_a_plugin_is_a_plugin_error(error):
    with pytest.raises(PluginError) as caught:
        call_plugin(PLUGIN, "building 'tiny'", raising(error))
    assert caught.value.message.startswith(f"The plugin acme:nets failed while building 'tiny': {type(error).__name__}")
    assert not caught.value.message.endswith("..")
    assert caught.value.hint == "Leave it out with ZOO_BLOCK_PLUGINS=acme:nets, or report it to its author."
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", [WeightsError("The weights are gone."), KeyboardInterrupt()])
def test_zoo_errors_and_ctrl_c_are_not_changed(error):
    with pytest.raises(type(error)) as caught:
        call_plugin(PLUGIN, "building", raising(error))
    assert caught.value is error


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("acme_nowhere:build", "ModuleNotFoundError: No module named 'acme_nowhere'"),
        ("acme_network:biuld", "AttributeError: module 'acme_network' has no attribute 'biuld'"),
        ("acme_broken:build", "ModuleNotFoundError: No module named 'einops_of_nobody'"),
        ("acme network", "ModuleNotFoundError: No module named 'acme network'"),
    ],
)
def test_a_target_that_cannot_be_imported_names_plugin_and_target(module, target, reason):
    with pytest.raises(PluginError) as caught:
        call_plugin(PLUGIN, "building 'tiny'", target)
    expected = f"The plugin acme:nets failed while building 'tiny': ImportError: cannot import '{target}': {reason}."
    assert caught.value.message == expected


def test_a_target_that_is_no_function_is_the_fault_of_the_plugin(module):
    with pytest.raises(PluginError, match="failed while building: TypeError: 'module' object is not callable"):
        call_plugin(PLUGIN, "building", module)


def test_a_zoo_error_at_the_import_of_a_target_is_not_changed(tmp_path, monkeypatch):
    (tmp_path / "acme_old.py").write_text("from zoo.errors import ConfigError\nraise ConfigError('Update acme.')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r"^Update acme\.$"):
        call_plugin(PLUGIN, "building", "acme_old:build")


def test_a_failure_may_be_described_without_an_exception():
    assert plugin_failure(PLUGIN, "resolving 'x'", "it returned int.").message == (
        "The plugin acme:nets failed while resolving 'x': it returned int."
    )


def test_a_spec_with_a_target_is_listed_without_its_import(module):
    spec = zoo.BackboneSpec(name="tiny", build=f"{module}:build", card="acme_nowhere:card")
    registry = load_registry(extra={"acme": plugin_of(zoo_backbones=lambda: [spec])})
    offer = registry.find(BACKBONE, "acme/tiny")
    assert module not in sys.modules
    request: Any = object()
    assert offer.call("building", offer.spec.build, request) == (request, {})
    with pytest.raises(PluginError, match=r"acme:acme failed while describing 'tiny': .* 'acme_nowhere:card'"):
        get_card(offer)
