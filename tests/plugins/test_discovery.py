from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003  the options below need it
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from plugin_helpers import plugin_of, raising

import zoo
from zoo.plugins.discovery import Plugin, load_plugins
from zoo.plugins.entry_points import BLOCK_VARIABLE, DISTRIBUTION, Candidate
from zoo.plugins.kinds import BACKBONE, CHECK, DATASET, FORMAT, HEAD
from zoo.plugins.registry import load_registry

if TYPE_CHECKING:
    from collections.abc import Callable


def head(name: str = "tiny") -> zoo.HeadSpec:
    return zoo.HeadSpec(name=name, build=lambda request: pytest.fail("nothing is built here"))


def file_format(name: str = "tiny", suffixes: Any = (".tiny",)) -> zoo.FormatSpec:
    return zoo.FormatSpec(name=name, suffixes=suffixes, load=lambda request: pytest.fail("nothing is opened here"))


def family(name: str = "tiny") -> zoo.BackboneFamily:
    return zoo.BackboneFamily(name=name, names=list, resolve=lambda name: None)


def candidate(
    plugin: object, *, entry: str = "tiny", distribution: str = "zoo-tiny", load: Callable[[], object] | None = None
) -> Candidate:
    return Candidate(entry=entry, distribution=distribution, version="1.0", load=load or (lambda: plugin))


def load(plugin: object, **values: Any) -> Plugin:
    (loaded,) = load_plugins([candidate(plugin, **values)])
    return loaded


def error_of(plugin: object, **values: Any) -> str:
    loaded = load(plugin, **values)
    assert loaded.error is not None
    assert not any(loaded.offers.values())
    assert loaded.add_commands is None
    return loaded.error


# What works


def test_all_offers_of_a_plugin_are_kept() -> None:
    tiny_head, tiny_family = head(), family()
    plugin = plugin_of(zoo_heads=lambda: [tiny_head], zoo_backbones=lambda: (tiny_family,))
    loaded = load(plugin)
    assert loaded.error is None
    assert loaded.offers[HEAD.name] == (tiny_head,)
    assert loaded.offers[BACKBONE.name] == (tiny_family,)
    assert loaded.offers[DATASET.name] == ()
    assert (loaded.key, loaded.qualifier, loaded.version) == ("zoo-tiny:tiny", "zoo-tiny", "1.0")
    assert not loaded.built_in


def test_formats_and_checks_are_kept() -> None:
    onnx, check = file_format(), zoo.CheckSpec(name="tiny", run=list)
    loaded = load(plugin_of(zoo_formats=lambda: [onnx], zoo_checks=lambda: [check]))
    assert loaded.error is None
    assert (loaded.offers[FORMAT.name], loaded.offers[CHECK.name]) == ((onnx,), (check,))


@pytest.mark.parametrize(
    ("suffixes", "message"),
    [
        ((), "offers 'tiny', which has no suffix"),
        (".onnx", "not a tuple of lower-case suffixes such as '.onnx'"),
        (("onnx",), "not a tuple of lower-case suffixes"),
        ((".ONNX",), "not a tuple of lower-case suffixes"),
        ((3,), "not a tuple of lower-case suffixes"),
    ],
)
def test_a_format_without_a_readable_suffix_is_refused(suffixes: Any, message: str) -> None:
    assert message in error_of(plugin_of(zoo_formats=lambda: [file_format(suffixes=suffixes)]))


def test_a_built_in_plugin_is_qualified_by_its_entry() -> None:
    loaded = load(plugin_of(zoo_heads=lambda: [head()]), entry="heads", distribution=DISTRIBUTION)
    assert loaded.built_in
    assert loaded.qualifier == "heads"


def test_a_module_is_a_plugin() -> None:
    module = ModuleType("zoo_tiny")
    module.zoo_heads = zoo.hookimpl(lambda: [head()])  # type: ignore[attr-defined]
    assert [spec.name for spec in load(module).offers[HEAD.name]] == ["tiny"]


def test_an_object_with_methods_is_a_plugin() -> None:
    class Tiny:
        @zoo.hookimpl
        def zoo_heads(self) -> list[zoo.HeadSpec]:
            return [head()]

    assert [spec.name for spec in load(Tiny()).offers[HEAD.name]] == ["tiny"]


def test_a_hook_may_be_implemented_twice_under_other_names() -> None:
    class Tiny:
        @zoo.hookimpl(specname="zoo_heads")
        def some(self) -> list[zoo.HeadSpec]:
            return [head("one")]

        @zoo.hookimpl(specname="zoo_heads")
        def others(self) -> list[zoo.HeadSpec]:
            return [head("two")]

    assert sorted(spec.name for spec in load(Tiny()).offers[HEAD.name]) == ["one", "two"]


def test_commands_are_added_only_on_request() -> None:
    added: list[object] = []
    loaded = load(plugin_of(zoo_commands=lambda cli: added.append(cli)))
    assert loaded.error is None
    assert added == []
    assert loaded.add_commands is not None
    loaded.add_commands("the group")
    assert added == ["the group"]


def test_a_family_and_a_backbone_may_share_a_name() -> None:
    spec = zoo.BackboneSpec(name="tiny", build=raising(AssertionError()), card=raising(AssertionError()))
    assert len(load(plugin_of(zoo_backbones=lambda: [spec, family()])).offers[BACKBONE.name]) == 2


# What fails


def test_a_misspelt_hook_suggests_the_right_name() -> None:
    assert error_of(plugin_of(zoo_head=lambda: [head()])) == "there is no hook 'zoo_head'. Did you mean zoo_heads?"


def test_a_misspelt_hook_without_marker_is_refused_too() -> None:
    assert "there is no hook 'zoo_dataset'" in error_of(SimpleNamespace(zoo_dataset=list))


def test_a_marked_function_of_another_name_is_refused() -> None:
    error = error_of(plugin_of(offer_things=lambda: [head()]))
    assert error.startswith("there is no hook 'offer_things'. The hooks are zoo_augmentations, zoo_backbones,")


def test_a_hook_without_its_marker_is_refused() -> None:
    error = error_of(SimpleNamespace(zoo_heads=list))
    assert error == "its hook 'zoo_heads' lacks the decorator @zoo.hookimpl"


@pytest.mark.parametrize("plugin", [SimpleNamespace(), ModuleType("empty"), None, 3])
def test_a_plugin_without_hooks_is_refused(plugin: object) -> None:
    assert "it implements no hook; mark one of zoo_augmentations, zoo_backbones," in error_of(plugin)


def test_a_hook_with_arguments_of_its_own_is_refused() -> None:
    assert "model_size" in error_of(plugin_of(zoo_heads=lambda model_size: []))


class Panic(BaseException):
    """Like pyo3_runtime.PanicException, which does not derive from Exception."""


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ModuleNotFoundError("No module named 'tiny'"), "ModuleNotFoundError: No module named 'tiny'"),
        (SystemExit(3), "SystemExit: 3"),
        (Panic("in Rust"), "Panic: in Rust"),
        (ValueError(), "ValueError"),
    ],
)
def test_an_exception_at_import_or_in_a_hook_is_kept_as_a_value(error: BaseException, message: str) -> None:
    at_import = load(None, load=raising(error))
    in_hook = load(plugin_of(zoo_heads=raising(error)))
    for loaded in (at_import, in_hook):
        assert loaded.error == message
        assert "Traceback" in loaded.details
        assert "raising" in loaded.details or "call" in loaded.details


def test_ctrl_c_is_not_caught() -> None:
    with pytest.raises(KeyboardInterrupt):
        load(plugin_of(zoo_heads=raising(KeyboardInterrupt())))


@dataclass
class Unreadable:
    folder: Nowhere  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "zoo_heads returned None, not a list"),
        (head(), "zoo_heads returned HeadSpec, not a list"),
        ({"a": head()}, "zoo_heads returned dict, not a list"),
        (["linear"], "zoo_heads returned a list that contains str, not HeadSpec"),
        ([head(), family()], "zoo_heads returned a list that contains BackboneFamily, not HeadSpec"),
        ([head(), head()], "zoo_heads offers 'tiny' twice"),
        ([head("Tiny Net")], "zoo_heads offers 'Tiny Net': names consist of lower-case letters, digits and _ . -"),
        ([head("a/b")], "zoo_heads offers 'a/b'"),
        ([head("")], "zoo_heads offers ''"),
        ([zoo.HeadSpec(name=3, build=list)], "zoo_heads offers 3"),  # type: ignore[arg-type]
        ([zoo.HeadSpec(name="x", build=list, options=dict)], "'x', whose options are not a dataclass"),  # type: ignore[arg-type]
        ([zoo.HeadSpec(name="x", build=list, options=Unreadable)], "name 'Nowhere' is not defined"),  # type: ignore[arg-type]
        ([zoo.HeadSpec(name="x", build=list, summary=None)], "zoo_heads offers 'x', whose 'summary' is None, not text"),  # type: ignore[arg-type]
        ([zoo.HeadSpec(name="x", build=None)], "whose 'build' is None, neither a function nor 'module:attribute'"),  # type: ignore[arg-type]
        ([zoo.HeadSpec(name="x", build="acme_heads")], "whose 'build' is 'acme_heads', neither a function nor"),
    ],
)
def test_a_hook_that_breaks_its_contract_is_refused(returned: Any, message: str) -> None:
    assert message in error_of(plugin_of(zoo_heads=lambda: returned))


def test_an_option_that_no_user_can_set_is_refused() -> None:
    @dataclass(frozen=True)
    class Root:
        root: Path

    spec = zoo.DatasetSpec(name="flowers", load=str, options=Root)  # type: ignore[arg-type]
    assert error_of(plugin_of(zoo_datasets=lambda: [spec])) == (
        "zoo_datasets offers 'flowers', whose option 'root' has no default and a type that no user can set "
        "(docs/plugins.md lists the types)"
    )


def test_an_exception_without_a_text_is_described() -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    assert error_of(plugin_of(zoo_heads=raising(MuteError()))) == "MuteError: it has no text"
    assert error_of(plugin_of(zoo_heads=raising(ValueError("x" * 10_000)))) == f"ValueError: {'x' * 500}..."


def test_a_plugin_that_fails_in_one_hook_keeps_no_offer() -> None:
    broken = plugin_of(zoo_heads=lambda: [head()], zoo_datasets=raising(RuntimeError("no")))
    assert error_of(broken) == "RuntimeError: no"


def test_a_failing_plugin_does_not_affect_the_others() -> None:
    good = plugin_of(zoo_heads=lambda: [head()])
    loaded = load_plugins(
        [
            candidate(good, distribution="a"),
            candidate(None, distribution="b", load=raising(SystemExit(1))),
            candidate(good, distribution="c"),
        ]
    )
    assert [plugin.error for plugin in loaded] == [None, "SystemExit: 1", None]


def test_a_third_party_plugin_cannot_have_the_name_of_a_built_in_one() -> None:
    error = error_of(plugin_of(zoo_heads=lambda: [head()]), distribution="timm")
    assert error == "the name 'timm' belongs to a built-in plugin"


def test_if_two_entries_of_a_distribution_offer_the_same_name_the_second_fails() -> None:
    plugin = plugin_of(zoo_heads=lambda: [head()])
    first, second = load_plugins([candidate(plugin, entry="one"), candidate(plugin, entry="two")])
    assert first.error is None
    assert second.error == "it offers 'zoo-tiny/tiny', which zoo-tiny:one offers already"


# Blocking


@pytest.mark.parametrize("name", ["zoo-tiny:tiny", "tiny", "zoo-tiny", "zoo_tiny", "Zoo.Tiny"])
def test_a_plugin_is_blocked_by_key_entry_or_distribution(name: str) -> None:
    never = candidate(None, load=raising(AssertionError("a blocked plugin is not imported")))
    (loaded,) = load_plugins([never], blocked=frozenset({name}))
    assert loaded.blocked
    assert loaded.error == "blocked by ZOO_BLOCK_PLUGINS"


def test_the_variable_blocks_plugins_in_the_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BLOCK_VARIABLE, "finetune-zoo,tiny")
    registry = load_registry(extra={"tiny": plugin_of(zoo_heads=lambda: [head()])})
    assert all(plugin.blocked for plugin in registry.plugins if plugin.built_in or plugin.key == "tiny:tiny")
    assert all(plugin.built_in is False for plugin in registry.plugins if not plugin.blocked)


def test_extra_plugins_come_last() -> None:
    registry = load_registry(extra={"notebook": plugin_of(zoo_heads=lambda: [head("mine")])})
    assert registry.plugins[-1].key == "notebook:notebook"
    assert registry.find(HEAD, "notebook/mine").spec.name == "mine"


def test_every_call_returns_a_new_registry() -> None:
    load_registry(extra={"notebook": plugin_of(zoo_heads=lambda: [head("mine")])})
    assert "notebook:notebook" not in [plugin.key for plugin in load_registry().plugins]


def test_loading_plugins_imports_nothing_heavy() -> None:
    code = (
        "import sys; from zoo.plugins.kinds import BACKBONE, DATASET, HEAD;"
        "from zoo.plugins.registry import load_registry; registry = load_registry();"
        "registry.offers(HEAD), registry.offers(DATASET), registry.offers(BACKBONE), registry.families(BACKBONE);"
        "print(sorted({'torch', 'torchvision', 'timm', 'gradio', 'onnxruntime', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
