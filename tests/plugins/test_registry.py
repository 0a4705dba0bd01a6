from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from plugin_helpers import plugin_of, raising

import zoo
from zoo.errors import AmbiguousNameError, PluginError, UnknownNameError
from zoo.plugins.discovery import load_plugins
from zoo.plugins.entry_points import DISTRIBUTION, Candidate
from zoo.plugins.kinds import BACKBONE, CHECK, DATASET, FORMAT, HEAD
from zoo.plugins.registry import Registry, list_family_names

if TYPE_CHECKING:
    from collections.abc import Callable


def never(*_: Any) -> Any:
    raise AssertionError("a lookup builds nothing")


def backbone(name: str, summary: str = "") -> zoo.BackboneSpec:
    return zoo.BackboneSpec(name=name, summary=summary, build=never, card=never)


def family(*names: str, resolve: Callable[[str], Any] | None = None, listing: Any = None) -> zoo.BackboneFamily:
    return zoo.BackboneFamily(
        name="family",
        names=listing or (lambda: list(names)),
        resolve=resolve or (lambda name: backbone(name) if name in names else None),
    )


def built_in(entry: str, *backbones: Any) -> Candidate:
    return candidate(DISTRIBUTION, *backbones, entry=entry)


def candidate(
    distribution: str,
    *backbones: Any,
    entry: str = "tiny",
    heads: Any = (),
    datasets: Any = (),
    formats: Any = (),
) -> Candidate:
    plugin = plugin_of(
        zoo_backbones=lambda: list(backbones),
        zoo_heads=lambda: list(heads),
        zoo_datasets=lambda: list(datasets),
        zoo_formats=lambda: list(formats),
    )
    return Candidate(entry=entry, distribution=distribution, version="1.0", load=lambda: plugin)


def failing(distribution: str, error: BaseException) -> Candidate:
    return Candidate(entry="tiny", distribution=distribution, version="1.0", load=raising(error))


def registry_of(*candidates: Candidate, blocked: frozenset[str] = frozenset()) -> Registry:
    return Registry(load_plugins(candidates, blocked=blocked))


TORCHVISION = built_in("torchvision", backbone("resnet18"), backbone("vgg11"))
TIMM = built_in("timm", family("resnet18", "resnet50d"))


# What is found


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("resnet18", "torchvision/resnet18"),
        ("timm/resnet18", "timm/resnet18"),
        ("resnet50d", "timm/resnet50d"),
        ("torchvision/vgg11", "torchvision/vgg11"),
        ("tinynet", "zoo-tinynet/tinynet"),
        ("zoo-tinynet/tinynet", "zoo-tinynet/tinynet"),
    ],
)
def test_names_resolve_to_the_built_in_plugins_in_order_then_to_third_party_plugins(name: str, found: str) -> None:
    registry = registry_of(TORCHVISION, TIMM, candidate("zoo-tinynet", backbone("tinynet")))
    assert registry.find(BACKBONE, name).name == found


def test_a_family_is_not_searched_if_an_earlier_plugin_has_the_name() -> None:
    timm = built_in("timm", family(resolve=never))
    assert registry_of(TORCHVISION, timm).find(BACKBONE, "resnet18").name == "torchvision/resnet18"


def test_a_third_party_plugin_cannot_take_a_bare_name_of_a_built_in_plugin() -> None:
    registry = registry_of(TORCHVISION, TIMM, candidate("zoo-evil", backbone("resnet18"), backbone("resnet50d")))
    assert registry.find(BACKBONE, "resnet18").name == "torchvision/resnet18"
    assert registry.find(BACKBONE, "resnet50d").name == "timm/resnet50d"
    assert registry.find(BACKBONE, "zoo-evil/resnet18").plugin.distribution == "zoo-evil"


def test_heads_and_datasets_are_found_as_backbones_are() -> None:
    head = zoo.HeadSpec(name="mine", build=never)
    dataset = zoo.DatasetSpec(name="mine", load=never)
    registry = registry_of(candidate("zoo-a", heads=[head], datasets=[dataset]))
    assert registry.find(HEAD, "mine").spec is head
    assert registry.find(HEAD, "zoo-a/mine").spec is head
    assert registry.find(DATASET, "mine").spec is dataset
    with pytest.raises(UnknownNameError, match="There is no backbone 'mine'"):
        registry.find(BACKBONE, "mine")


def test_everything_is_listed_in_order() -> None:
    registry = registry_of(TORCHVISION, TIMM, candidate("zoo-a", heads=[zoo.HeadSpec(name="h", build=never)]))
    assert [offer.name for offer in registry.offers(BACKBONE)] == ["torchvision/resnet18", "torchvision/vgg11"]
    assert [(found.name, plugin.key) for found, plugin in registry.families(BACKBONE)] == [
        ("family", "finetune-zoo:timm")
    ]
    assert [offer.name for offer in registry.offers(HEAD)] == ["zoo-a/h"]
    assert registry.offers(DATASET) == []


# Ambiguity


def test_a_bare_name_of_two_third_party_plugins_is_ambiguous_and_both_qualified_names_work() -> None:
    registry = registry_of(TORCHVISION, candidate("zoo-a", backbone("tinynet")), candidate("zoo-b", family("tinynet")))
    with pytest.raises(AmbiguousNameError, match="2 plugins offer the backbone 'tinynet'") as caught:
        registry.find(BACKBONE, "tinynet")
    assert caught.value.hint == "Use zoo-a/tinynet or zoo-b/tinynet."
    for name in ("zoo-a/tinynet", "zoo-b/tinynet"):
        assert registry.find(BACKBONE, name).name == name


def test_one_plugin_is_not_ambiguous_with_itself() -> None:
    both = candidate("zoo-a", family("tinynet"), backbone("tinynet", summary="the spec"))
    assert registry_of(both).find(BACKBONE, "tinynet").spec.summary == "the spec"
    one, two = candidate("zoo-a", family("tinynet"), entry="one"), candidate("zoo-a", family("tinynet"), entry="two")
    assert registry_of(one, two).find(BACKBONE, "tinynet").plugin.key == "zoo-a:one"


# What is not found


def message_of(registry: Registry, name: str) -> str:
    with pytest.raises(UnknownNameError) as caught:
        registry.find(BACKBONE, name)
    return str(caught.value)


def test_an_unknown_name_lists_close_matches() -> None:
    message = message_of(registry_of(TORCHVISION, TIMM), "resnet81")
    assert message.startswith("There is no backbone 'resnet81'.\nDid you mean ")
    assert "torchvision/resnet18" in message
    assert "timm/resnet18" in message
    assert "'zoo list backbones' lists them all." in message


@pytest.mark.parametrize("name", ["", "/", "resnet18/", "/resnet18", "nowhere/resnet18", "timm/vgg11", "a/b/c"])
def test_incomplete_names_and_wrong_qualifiers_are_unknown(name: str) -> None:
    assert f"There is no backbone '{name}'." in message_of(registry_of(TORCHVISION, TIMM), name)


def test_a_failed_plugin_is_mentioned_where_a_name_is_not_found() -> None:
    registry = registry_of(TORCHVISION, failing("zoo-tinynet", ImportError("No module named 'einops'")))
    assert [plugin.key for plugin in registry.failures] == ["zoo-tinynet:tiny"]
    assert "The plugin zoo-tinynet:tiny failed: ImportError: No module named 'einops'." in message_of(
        registry, "zoo-tinynet/tinynet"
    )
    with pytest.raises(UnknownNameError, match="zoo-tinynet:tiny failed"):
        registry.find(HEAD, "x")


def test_a_blocked_plugin_is_mentioned_and_is_no_failure() -> None:
    registry = registry_of(TORCHVISION, TIMM, blocked=frozenset({"timm"}))
    assert registry.failures == ()
    assert "The plugin finetune-zoo:timm is blocked by ZOO_BLOCK_PLUGINS." in message_of(registry, "timm/resnet18")


# Families that fail


@pytest.mark.parametrize("error", [RuntimeError("broken"), SystemExit(1), MemoryError()])
def test_a_family_that_raises_is_a_plugin_error_with_a_hint(error: BaseException) -> None:
    registry = registry_of(TORCHVISION, candidate("zoo-a", family(resolve=raising(error))))
    with pytest.raises(PluginError) as caught:
        registry.find(BACKBONE, "tinynet")
    assert caught.value.message.startswith("The plugin zoo-a:tiny failed while resolving the backbone 'tinynet': ")
    assert type(error).__name__ in caught.value.message
    assert caught.value.hint == "Leave it out with ZOO_BLOCK_PLUGINS=zoo-a:tiny, or report it to its author."
    assert caught.value.__cause__ is error
    assert registry.find(BACKBONE, "resnet18").name == "torchvision/resnet18"


def test_a_failing_third_party_plugin_does_not_affect_another() -> None:
    broken = candidate("zoo-a", family(resolve=raising(RuntimeError("broken"))))
    registry = registry_of(broken, candidate("zoo-b", backbone("tinynet")))
    assert registry.find(BACKBONE, "tinynet").name == "zoo-b/tinynet"


def test_a_third_party_plugin_does_not_inherit_the_bare_names_of_a_failing_built_in_plugin() -> None:
    timm = built_in("timm", family(resolve=raising(RuntimeError("broken"))))
    registry = registry_of(timm, candidate("zoo-evil", backbone("resnet50d")))
    with pytest.raises(PluginError, match="finetune-zoo:timm failed"):
        registry.find(BACKBONE, "resnet50d")
    assert registry.find(BACKBONE, "zoo-evil/resnet50d").name == "zoo-evil/resnet50d"


def test_a_family_that_resolves_to_something_else_is_refused() -> None:
    registry = registry_of(candidate("zoo-a", family(resolve=lambda name: "a string")))
    with pytest.raises(PluginError, match="it returned str, not BackboneSpec"):
        registry.find(BACKBONE, "tinynet")


@pytest.mark.parametrize("listing", [raising(RuntimeError("broken")), raising(SystemExit(1)), lambda: None])
def test_a_family_that_cannot_list_its_names_does_not_hide_an_unknown_name(listing: Any) -> None:
    registry = registry_of(TORCHVISION, candidate("zoo-a", family(listing=listing)))
    assert "Did you mean torchvision/resnet18?" in message_of(registry, "resnet19")
    with pytest.raises(PluginError, match="zoo-a:tiny failed while listing the names of 'family'"):
        list_family_names(*registry.families(BACKBONE)[0])


def test_ctrl_c_in_a_family_is_ctrl_c() -> None:
    registry = registry_of(candidate("zoo-a", family(resolve=raising(KeyboardInterrupt()))))
    with pytest.raises(KeyboardInterrupt):
        registry.find(BACKBONE, "tinynet")


# Files


def format_spec(*suffixes: str, name: str = "onnx") -> zoo.FormatSpec:
    return zoo.FormatSpec(name=name, suffixes=suffixes, load=never)


def registry_for_files(*plugins: Candidate) -> Registry:
    registry = Registry(load_plugins(plugins))
    assert not registry.failures, registry.failures
    return registry


def test_the_longest_matching_suffix_opens_a_file() -> None:
    registry = registry_for_files(
        candidate(DISTRIBUTION, entry="export", formats=[format_spec(".onnx")]),
        candidate("acme", formats=[format_spec(".q.onnx")]),
    )
    for name, owner in {"a.onnx": "export/onnx", "A.ONNX": "export/onnx", "a.q.onnx": "acme/onnx"}.items():
        offer = registry.find_format(Path("folder", name))
        assert offer is not None
        assert offer.name == owner
    for name in ("onnx", "a.onnx.txt", "a"):
        assert registry.find_format(Path(name)) is None
    assert [offer.name for offer in registry.offers(FORMAT)] == ["export/onnx", "acme/onnx"]


def test_a_built_in_format_takes_precedence_and_two_third_party_formats_are_ambiguous() -> None:
    built, acme, other = (
        candidate(DISTRIBUTION, entry="export", formats=[format_spec(".onnx")]),
        candidate("acme", formats=[format_spec(".onnx", ".net")]),
        candidate("other", formats=[format_spec(".net")]),
    )
    registry = registry_for_files(built, acme, other)
    offer = registry.find_format(Path("a.onnx"))
    assert offer is not None
    assert offer.plugin.built_in
    with pytest.raises(AmbiguousNameError, match=r"2 plugins can open a\.net: acme:tiny, other:tiny") as caught:
        registry.find_format(Path("a.net"))
    assert "ZOO_BLOCK_PLUGINS" in caught.value.hint


def test_checks_are_listed() -> None:
    plugin = plugin_of(zoo_checks=lambda: [zoo.CheckSpec(name="runtime", run=never)])
    registry = registry_for_files(Candidate(entry="e", distribution="acme", version="1", load=lambda: plugin))
    assert [offer.name for offer in registry.offers(CHECK)] == ["acme/runtime"]
