import dataclasses

import pytest
from plugin_helpers import plugin_of, raising

import zoo
from zoo.errors import WeightsError
from zoo.models.backbone_choice import choose_backbone, list_available_backbones, list_local_backbones
from zoo.plugins.discovery import load_plugins
from zoo.plugins.entry_points import DISTRIBUTION, Candidate
from zoo.plugins.registry import Registry, load_registry


def spec(name, *, local=False, download=None):
    """A backbone whose weights are `local` or not, and can be downloaded or not; None: it does not say."""
    checks = {None: {}, True: {"check_pretrained": lambda: None}}
    checks[False] = {"check_pretrained": raising(WeightsError("No server answers."))}
    is_local = local if callable(local) else lambda: local
    return zoo.BackboneSpec(name=name, build="no:build", card="no:card", is_local=is_local, **checks[download])


def registry(**plugins):
    def candidate(entry, backbones):
        distribution = "acme" if entry.startswith("acme") else DISTRIBUTION
        plugin = plugin_of(zoo_backbones=lambda: backbones)
        return Candidate(entry=entry, distribution=distribution, version="1", load=lambda: plugin)

    loaded = Registry(load_plugins([candidate(entry, backbones) for entry, backbones in plugins.items()]))
    assert not loaded.failures
    return loaded


def family(*local):
    return zoo.BackboneFamily(
        name="many", names=raising(AssertionError()), resolve=lambda name: None, local_names=lambda: list(local)
    )


def test_the_best_come_first_and_all_have_names_that_find_them():
    found = list_local_backbones(
        registry(
            torchvision=[spec("alexnet", local=True), spec("resnet18", local=True), spec("vgg11")],
            efficientnet_lite=[spec("efficientnet_lite0", local=True), spec("alexnet", local=True)],
            timm=[family("resnet18", "resnet50.a1_in1k")],
            acme=[spec("net", local=True)],
        )
    )
    assert found == [
        "efficientnet_lite0",
        "resnet18",
        "alexnet",
        "efficientnet_lite/alexnet",
        "acme/net",
        "timm/resnet18",
        "timm/resnet50.a1_in1k",
    ]


def test_the_backbone_that_is_installed_with_the_zoo_is_the_best(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    (tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth").touch()
    choice = choose_backbone(load_registry())
    assert choice == ("efficientnet_lite0", "none given; its pretrained weights are on this machine")
    local = list_local_backbones(load_registry())
    assert local.index("efficientnet_lite0") < local.index("resnet18")


def test_a_plugin_that_fails_to_tell_does_not_hide_the_others():
    broken = spec("net", local=raising(OSError("no disk")))
    failing = zoo.BackboneFamily(name="many", names=list, resolve=lambda name: None, local_names=raising(OSError()))
    assert list_local_backbones(registry(acme=[broken, failing, spec("other", local=True)])) == ["acme/other"]


def test_without_local_weights_the_best_that_can_be_downloaded_is_chosen():
    lite = [spec("efficientnet_lite0", download=False)]
    vision = [spec("alexnet", download=True), spec("resnet18", download=True)]
    choice = choose_backbone(registry(torchvision=vision, efficientnet_lite=lite))
    assert choice == ("resnet18", "none given; its pretrained weights can be downloaded")


def test_without_any_weights_the_error_says_so():
    vision = [spec("resnet18", download=False)]
    with pytest.raises(
        WeightsError, match="no pretrained weights are on this machine, and none can be downl"
    ) as caught:
        choose_backbone(registry(torchvision=vision))
    assert caught.value.offline


def test_with_a_network_everything_is_available_and_local_weights_come_first():
    found = list_available_backbones(
        registry(
            torchvision=[spec("alexnet", download=True), spec("vgg11", local=True, download=True)],
            efficientnet_lite=[spec("efficientnet_lite1", download=False)],
            acme=[spec("net")],
        )
    )
    assert found == ["vgg11", "alexnet", "acme/net"]


def test_without_a_network_only_local_weights_are_available():
    found = list_available_backbones(
        registry(
            torchvision=[spec("alexnet", download=False), spec("vgg11", local=True, download=False)],
            acme=[spec("net"), spec("cached", local=True)],
        )
    )
    assert found == ["vgg11", "acme/cached"]


def test_one_backbone_of_each_plugin_is_checked():
    checked = []

    def counting(name):
        return zoo.BackboneSpec(
            name=name, build="no:build", card="no:card", check_pretrained=lambda: checked.append(name)
        )

    assert list_available_backbones(registry(torchvision=[counting(f"net{n}") for n in range(9)]))
    assert checked == ["net0"]


def test_a_backbone_that_needs_an_option_is_not_chosen():
    @dataclasses.dataclass(frozen=True)
    class Depth:
        depth: int = zoo.option(help="Number of stages.")

    found = registry(acme=[dataclasses.replace(spec("net", local=True), options=Depth), spec("other", local=True)])
    assert list_local_backbones(found) == list_available_backbones(found) == ["acme/other"]
    assert choose_backbone(found).name == "acme/other"
