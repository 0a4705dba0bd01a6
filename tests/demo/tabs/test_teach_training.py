"""Tests of the choice of a backbone in the Teach tab."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import gradio as gr
from plugin_helpers import plugin_of, raising

import zoo
from zoo.errors import WeightsError
from zoo.plugins.discovery import load_plugins
from zoo.plugins.entry_points import DISTRIBUTION, Candidate
from zoo.plugins.registry import Registry, load_registry
from zoo_demo.lessons.lesson_store import LessonStore
from zoo_demo.models.model_pool import ModelPool
from zoo_demo.tabs import teach_training
from zoo_demo.tabs.teach_training import BackboneChoices

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

HEAD_ONLY, FROM_SCRATCH = "Head only (seconds)", "Everything, from scratch"
fail = raising(WeightsError("No server answers.", offline=True))


def make_registry(*local: str, check: Callable[[], None] = fail) -> Registry:
    """Returns a registry of resnet18, vgg11 and efficientnet_lite0; the weights of the `local` ones are here."""

    def spec(name: str) -> zoo.BackboneSpec:
        return zoo.BackboneSpec(
            name=name, build="no:build", card="no:card", check_pretrained=check, is_local=lambda: name in local
        )

    specs = [spec(name) for name in ("resnet18", "vgg11", "efficientnet_lite0")]
    plugin = plugin_of(zoo_backbones=lambda: specs, zoo_heads=lambda: [zoo.HeadSpec(name="linear", build="no:build")])
    return Registry(load_plugins([Candidate("efficientnet_lite", DISTRIBUTION, "1", lambda: plugin)]))


def build(registry: Registry, runs: Path) -> dict[str, Any]:
    """Builds the part; returns its components by label."""
    pool = ModelPool(models={}, runs=runs, device="cpu", registry=registry)

    async def build_page() -> gr.Blocks:  # in an event loop: gradio would otherwise leave one open
        with gr.Blocks() as page:
            teach_training.build(LessonStore(pool), gr.Dropdown(label="Lesson"), page, registry)
        return page

    return {getattr(block, "label", None): block for block in asyncio.run(build_page()).blocks.values()}


def test_the_best_backbone_on_this_machine_is_chosen_and_only_such_are_offered(tmp_path: Path) -> None:
    components = build(make_registry("vgg11", "efficientnet_lite0"), tmp_path)
    assert components["Backbone"].value == "efficientnet_lite0"
    assert [name for name, _ in components["Backbone"].choices] == ["efficientnet_lite0", "vgg11"]
    assert components["What to train"].value == HEAD_ONLY
    assert components["Epochs"].value == 10


def test_the_backbone_that_is_installed_with_the_zoo_is_chosen(tmp_path: Path) -> None:
    assert build(load_registry(), tmp_path)["Backbone"].value == "efficientnet_lite0"


def test_without_any_weights_a_network_is_trained_from_scratch(tmp_path: Path) -> None:
    components = build(make_registry(), tmp_path)
    assert components["Backbone"].value == "resnet18"
    assert [name for name, _ in components["Backbone"].choices] == ["resnet18", "vgg11", "efficientnet_lite0"]
    assert components["What to train"].value == FROM_SCRATCH


def test_without_a_network_nothing_is_offered_that_needs_one() -> None:
    choices = BackboneChoices(make_registry("vgg11"))
    assert choices.describe() == (
        "The first two options start from pretrained weights; those of vgg11 are on this machine."
    )
    assert choices.names(HEAD_ONLY) == ["vgg11"]
    assert choices.names(FROM_SCRATCH) == ["resnet18", "vgg11", "efficientnet_lite0"]
    assert choices.describe().endswith("are on this machine. Others cannot be downloaded now.")


def test_with_a_network_the_others_follow() -> None:
    choices = BackboneChoices(make_registry("vgg11", check=lambda: None))
    assert choices.names(HEAD_ONLY) == ["vgg11", "resnet18", "efficientnet_lite0"]
    assert choices.describe().endswith("are on this machine. Weights of other backbones are downloaded once.")


def test_servers_are_asked_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    choices = BackboneChoices(make_registry(check=lambda: asked.append(1)))
    monkeypatch.setattr(teach_training.time, "monotonic", lambda: 1000.0)
    for _ in range(3):
        choices.names(HEAD_ONLY)
    assert len(asked) == 1
    monkeypatch.setattr(teach_training.time, "monotonic", lambda: 1061.0)
    choices.names(HEAD_ONLY)
    assert len(asked) == 2
    choices.names(FROM_SCRATCH)
    assert len(asked) == 2


def test_many_local_backbones_are_counted() -> None:
    names = [f"net{number}" for number in range(5)]
    assert "net0, net1, net2 and 2 more are" in teach_training._describe_weights(names)
    assert teach_training._describe_weights([]) == "No pretrained weights are on this machine."
