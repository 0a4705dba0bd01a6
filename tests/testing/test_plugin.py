from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import click
import pytest
from contract_offers import (
    IMAGES,
    Detached,
    GoodHead,
    Raises,
    WrongWidth,
    backbone_spec,
    dataset_spec,
    head_spec,
    violation,
)
from plugin_helpers import plugin_of, raising

import zoo
import zoo.testing.check
import zoo.testing.plugin
from zoo.errors import ExportError
from zoo.testing import check_plugin

if TYPE_CHECKING:
    from collections.abc import Callable


FINDING = zoo.Finding(about="speed", status="warning", text="It is slow.")


def family(**values: Any) -> zoo.BackboneFamily:
    defaults: dict[str, Any] = {
        "name": "nets",
        "names": lambda: ["net", "huge"],
        "resolve": lambda name: {"net": backbone_spec(), "huge": backbone_spec(Raises, name="huge")}.get(name),
    }
    return zoo.BackboneFamily(**(defaults | values))


def format_spec(load: Callable[[zoo.FormatRequest], Any]) -> zoo.FormatSpec:
    return zoo.FormatSpec(name="net", suffixes=(".net",), load=load)


def check_spec(run: Callable[[], Any]) -> zoo.CheckSpec:
    return zoo.CheckSpec(name="net", run=run)


def test_everything_that_an_object_or_a_module_offers_is_checked(tmp_path: Path) -> None:
    hooks = {
        "zoo_backbones": lambda: [backbone_spec(), family()],
        "zoo_heads": lambda: [head_spec(GoodHead)],
        "zoo_datasets": lambda: [dataset_spec(lambda request: IMAGES)],
        "zoo_formats": lambda: [format_spec(raising(ExportError("It is broken.")))],
        "zoo_checks": lambda: [check_spec(lambda: [FINDING])],
        "zoo_commands": lambda cli: cli.add_command(click.Command("greet")),
    }
    check_plugin(plugin_of(**hooks))
    module = ModuleType("zoo_mine")
    vars(module).update(vars(plugin_of(**hooks)))
    check_plugin(module, cache=tmp_path, family_names=["net"])


@pytest.mark.parametrize(
    ("hooks", "sentence"),
    [
        ({"zoo_backbones": lambda: [backbone_spec(WrongWidth)]}, "backbone net: features.pooled must be"),
        ({"zoo_heads": lambda: [head_spec(Detached)]}, "head mine: the gradient of its loss"),
        ({"zoo_datasets": lambda: [dataset_spec(lambda r: IMAGES.train)]}, "dataset reds: load() must return"),
        ({"zoo_heads": lambda: "linear"}, "it must load, but zoo_heads returned str, not a list"),
        ({"zoo_formats": lambda: [format_spec(lambda request: None)]}, "format net: load() must raise a ZooError"),
        ({"zoo_checks": lambda: [check_spec(list)]}, "check net: run() must return a list of zoo.Finding"),
        ({"zoo_commands": lambda cli: None}, "zoo_commands(cli) must add a command"),
        ({"zoo_commands": lambda cli: cli.add_lazy("x", "zoo_nowhere:x", "Help.")}, "ModuleNotFoundError"),
        ({"zoo_commands": lambda cli: cli.add_lazy("x", "json:nothing", "Help.")}, "AttributeError"),
        ({"zoo_commands": lambda cli: cli.add_lazy("x", "json:dumps", "Help.")}, "must add click commands"),
        ({"zoo_backbones": lambda: [family(names=list)]}, "names() must return a list of names, at least one"),
        ({"zoo_backbones": lambda: [family(names=lambda: ["net", "net"])]}, "must not return a name twice"),
        ({"zoo_backbones": lambda: [family(names=lambda: ["no"])]}, "it must resolve the name 'no'"),
        ({"zoo_backbones": lambda: [family(local_names=lambda: ["x"])]}, "local_names() must return a list of some"),
        (
            {"zoo_backbones": lambda: [backbone_spec(is_local=lambda: None)]},
            "backbone net: is_local() must return True",
        ),
        (
            {"zoo_datasets": lambda: [zoo.DatasetSpec(name="reds", load=lambda r: IMAGES, is_local=lambda cache: 1)]},
            "dataset reds: is_local() must return True or False, not 1",
        ),
        (
            {"zoo_backbones": lambda: [family(resolve=lambda name: backbone_spec())]},
            "must return None for an unknown name",
        ),
    ],
)
def test_a_broken_offer_fails_the_check_of_the_plugin(hooks: dict[str, Any], sentence: str) -> None:
    assert sentence in violation(lambda: check_plugin(plugin_of(**hooks)))


def test_offers_can_be_skipped() -> None:
    check_plugin(
        plugin_of(
            zoo_backbones=lambda: [backbone_spec(Raises, name="huge"), family(names=list)],
            zoo_heads=lambda: [head_spec(Detached)],
            zoo_datasets=lambda: [dataset_spec(lambda request: pytest.fail("it is skipped"))],
            zoo_formats=lambda: [zoo.FormatSpec(name="mine", suffixes=(".x",), load=lambda request: pytest.fail("no"))],
            zoo_checks=lambda: [zoo.CheckSpec(name="mine", run=lambda: pytest.fail("it is skipped"))],
        ),
        skip={"huge", "nets", "mine", "reds"},
    )


def test_a_family_name_is_checked_in_full() -> None:
    plugin = plugin_of(zoo_backbones=lambda: [family()])
    assert "backbone huge: forward()" in violation(lambda: check_plugin(plugin, family_names=["huge"]))
    assert "must resolve the name 'other'" in violation(lambda: check_plugin(plugin, family_names=["other"]))


def test_a_plugin_that_cannot_be_imported_is_refused() -> None:
    assert "plugin zoo_nowhere: it must load, but ModuleNotFoundError" in violation(lambda: check_plugin("zoo_nowhere"))


def test_a_plugin_that_imports_torch_at_its_top_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "zoo_heavy.py").write_text(
        "import torch\nimport zoo\n\n@zoo.hookimpl\ndef zoo_heads():\n    return []\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    message = violation(lambda: check_plugin("zoo_heavy"))
    assert message.startswith("plugin zoo_heavy: it imports torch when it is loaded")
    assert "from __future__ import annotations" in message


def test_a_target_that_cannot_be_imported_is_named() -> None:
    spec = zoo.BackboneSpec(name="net", build="zoo_nowhere:build", card="zoo_nowhere:card")
    message = violation(lambda: check_plugin(plugin_of(zoo_backbones=lambda: [spec])))
    assert message.startswith("backbone net: importing 'zoo_nowhere:build', its build, raised ModuleNotFoundError")


@dataclass(frozen=True)
class Root:
    root: str = zoo.option(help="The folder of the photos.")


@dataclass(frozen=True)
class PathRoot:
    root: Path = zoo.option(help="The folder of the photos.")  # noqa: RUF009


def rooted(**values: Any) -> zoo.DatasetSpec:
    def load(request: zoo.DatasetRequest) -> zoo.ImageSet:
        assert request.options.root == "flowers"
        return IMAGES

    return zoo.DatasetSpec(**({"name": "reds", "load": load, "options": Root} | values))


def test_an_option_without_a_default_gets_a_value_for_the_test() -> None:
    plugin = plugin_of(zoo_datasets=lambda: [rooted()])
    message = violation(lambda: check_plugin(plugin))
    assert message.startswith("dataset reds: it requires the option 'root': pass values for the test")
    check_plugin(plugin, options={"reds": {"root": "flowers"}})


def test_an_option_that_nobody_can_set_is_refused() -> None:
    plugin = plugin_of(zoo_datasets=lambda: [rooted(options=PathRoot)])
    message = "zoo_datasets offers 'reds', whose option 'root' has no default and a type that no user can set"
    assert message in violation(lambda: check_plugin(plugin))


def test_targets_that_no_other_check_calls_are_imported() -> None:
    spec = backbone_spec(check_pretrained="zoo_nowhere:check")
    message = violation(lambda: check_plugin(plugin_of(zoo_backbones=lambda: [spec])))
    assert message == (
        "backbone net: importing 'zoo_nowhere:check', its check_pretrained, raised ModuleNotFoundError: "
        "No module named 'zoo_nowhere'"
    )
    spec = backbone_spec(check_pretrained="json:nothing")
    message = violation(lambda: check_plugin(plugin_of(zoo_backbones=lambda: [spec])))
    assert "raised AttributeError: module 'json' has no attribute 'nothing'" in message
    spec = backbone_spec(check_pretrained="sys:path")
    message = violation(lambda: check_plugin(plugin_of(zoo_backbones=lambda: [spec])))
    assert message == "backbone net: 'sys:path', its check_pretrained, must be a function"


@pytest.mark.parametrize("target", [None, 3, "json", "json:", ":dumps"])
def test_what_is_neither_a_function_nor_a_target_is_refused_when_it_is_loaded(target: Any) -> None:
    plugin = plugin_of(zoo_checks=lambda: [zoo.CheckSpec(name="net", run=target)])
    message = f"zoo_checks offers 'net', whose 'run' is {target!r}, neither a function nor 'module:attribute'"
    assert message in violation(lambda: check_plugin(plugin))
    plugin = plugin_of(zoo_backbones=lambda: [family(names=target)])
    assert f"offers 'nets', whose 'names' is {target!r}" in violation(lambda: check_plugin(plugin))


@pytest.mark.parametrize(("name", "owner"), [("finetune", "the zoo"), ("export", "finetune-zoo:export")])
def test_a_command_that_belongs_to_others_is_refused(name: str, owner: str) -> None:
    plugin = plugin_of(zoo_commands=lambda cli: cli.add_lazy(name, "json:dumps", "Help."))
    message = violation(lambda: check_plugin(plugin))
    assert message.endswith(f"it cannot add the command '{name}', which belongs to {owner}")


def test_an_installed_plugin_may_have_its_own_commands() -> None:
    check_plugin("zoo_export", skip={"onnx", "onnxruntime", "pt2", "triton"})


def in_background(target: Callable[..., object]) -> Callable[[], list[zoo.Finding]]:
    def run() -> list[zoo.Finding]:
        threading.Thread(target=target, name="worker").start()
        return [FINDING]

    return run


def test_a_thread_that_keeps_the_process_alive_is_refused() -> None:
    stop = threading.Event()
    plugin = plugin_of(zoo_checks=lambda: [check_spec(in_background(stop.wait))])
    message = violation(lambda: check_plugin(plugin))
    stop.set()
    assert message == (
        "check net: run() must end what it starts, or keep it from keeping the process alive: the thread 'worker'"
    )


def test_a_changed_setting_is_refused_and_set_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def run() -> list[zoo.Finding]:
        os.chdir("/")
        return [FINDING]

    message = violation(lambda: check_plugin(plugin_of(zoo_checks=lambda: [check_spec(run)])))
    assert message == "check net: run() must not change settings of the process; it changed the working directory"
    assert Path.cwd() == tmp_path


LOADING = {
    "os.chdir('/')": "it must load, but PluginWarning: The plugin {name} changed settings of the process while loading",
    "threading.Thread(target=threading.Event().wait, args=(5,)).start()": "The plugin {name} left the thread 'Thread-",
    "os._exit(0)": "it must load, but SystemExit: os._exit(0)",
    "raise SystemExit(3)": "it must load, but SystemExit: 3",
}


@pytest.mark.parametrize("line", LOADING)
def test_what_a_plugin_does_to_the_process_when_it_is_imported_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    name = f"zoo_import_{abs(hash(line))}"
    (tmp_path / f"{name}.py").write_text(f"import os, threading\n{line}\n" + HOOK)
    monkeypatch.syspath_prepend(tmp_path)
    assert LOADING[line].format(name=f"{name}:{name}") in violation(lambda: check_plugin(name))


HOOK = "import zoo\n@zoo.hookimpl\ndef zoo_checks():\n    return []\n"


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (
            "threading.Timer(60, len, ('',)).start()",
            "a new interpreter that loads it must end, but",
        ),
        ("threading.Thread(target=lambda: os.kill(os.getpid(), 9)).start()", "it must load in a new interpreter, but"),
    ],
)
def test_a_plugin_that_only_a_new_interpreter_shows_to_be_broken_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, sentence: str
) -> None:
    name = f"zoo_fresh_{abs(hash(line))}"
    monkeypatch.setattr(zoo.testing.plugin, "LOAD_SECONDS", 1.5 if "Timer" in line else 60)
    guard = "import os, sys, threading\nif 'pytest' not in sys.modules:\n    "
    (tmp_path / f"{name}.py").write_text(f"{guard}{line}\n{HOOK}")
    monkeypatch.syspath_prepend(tmp_path)
    assert sentence in violation(lambda: check_plugin(name))


def test_a_check_that_hangs_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoo.testing.check, "CHECK_SECONDS", 0.1)
    plugin = plugin_of(zoo_checks=lambda: [check_spec(lambda: time.sleep(5))])  # type: ignore[arg-type]
    message = violation(lambda: check_plugin(plugin))
    assert message == "check net: run() raised TimeoutError: it did not return within 0.1 s"
