from __future__ import annotations

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
from zoo.errors import ExportError
from zoo.testing import check_plugin

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


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
    assert message.startswith("backbone net: card() raised ImportError: cannot import 'zoo_nowhere:card'")
