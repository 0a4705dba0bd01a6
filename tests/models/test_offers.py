import dataclasses

import pytest
from fakes import FakePlugin, make_backbone_spec, make_registry

from zoo.config import make_config
from zoo.errors import ConfigError, PluginError, UnknownNameError
from zoo.models.offers import find_offers, find_options, with_head_options
from zoo.plugins.kinds import BACKBONE
from zoo.plugins.options import option
from zoo.plugins.specs import HeadSpec


def a_config(backbone="small", **values):
    return make_config(backbone, **{"data": "colours", "head": "flat", **values})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Wide:
    width: int = option(3, minimum=1, help="width")


def test_offers_come_with_validated_options():
    registry = make_registry(FakePlugin(heads=[HeadSpec(name="wide", build=lambda request: None, options=Wide)]))
    offers = find_offers(a_config(head="wide", head_options={"width": "5"}), registry)
    assert (offers.backbone.name, offers.head.name) == ("fake/small", "fake/wide")
    assert offers.head_options == Wide(width=5)
    with pytest.raises(ConfigError, match="head wide has no option 'height'"):
        find_offers(a_config(head="wide", head_options={"height": 1}), registry)
    with pytest.raises(ConfigError, match="backbone small has no option 'depth'"):
        find_offers(a_config(head="wide", backbone_options={"depth": 1}), registry)


def test_the_options_of_the_head_can_be_replaced():
    registry = make_registry(FakePlugin(heads=[HeadSpec(name="wide", build=lambda request: None, options=Wide)]))
    offers = find_offers(a_config(head="wide", head_options={"width": "5"}), registry)
    assert with_head_options(offers, {"width": 7}).head_options == Wide(width=7)
    assert offers.head_options == Wide(width=5)
    with pytest.raises(ConfigError, match="head wide: option 'width' is 0, out of bounds"):
        with_head_options(offers, {"width": 0})


def test_an_unknown_name_lists_close_matches(registry):
    with pytest.raises(UnknownNameError, match="There is no backbone 'smalll'") as caught:
        find_offers(a_config("smalll"), registry)
    assert "fake/small" in caught.value.hint


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class WideAndDeep(Wide):
    depth: int = option(2, minimum=1, help="depth")


def registry_with_options(all_options):
    spec = dataclasses.replace(make_backbone_spec(), options=Wide, all_options=all_options)
    return make_registry(FakePlugin(backbones=[spec]))


def test_more_options_are_asked_for_only_if_one_is_given_or_all_are_listed():
    given = []
    registry = registry_with_options(lambda names: given.append(set(names)) or WideAndDeep)
    assert find_offers(a_config(backbone_options={"width": 4}), registry).backbone_options == Wide(width=4)
    assert given == []
    offers = find_offers(a_config(backbone_options={"width": 4, "depth": "5"}), registry)
    assert offers.backbone_options == WideAndDeep(width=4, depth=5)
    assert find_options(registry.find(BACKBONE, "small")) is WideAndDeep
    assert given == [{"width", "depth"}, set()]
    with pytest.raises(ConfigError, match="backbone small has no option 'height'"):
        find_offers(a_config(backbone_options={"height": 1}), registry)


def test_more_options_extend_the_others():
    with pytest.raises(PluginError, match="all_options did not return a dataclass that extends its options"):
        find_offers(a_config(backbone_options={"depth": 1}), registry_with_options(lambda names: dict))


def test_options_whose_dataclass_raises_name_the_plugin():
    @dataclasses.dataclass(frozen=True)
    class Broken:
        width: int = option(3, help="width")

        def __post_init__(self):
            raise KeyError("width")

    registry = make_registry(FakePlugin(heads=[HeadSpec(name="wide", build=lambda request: None, options=Broken)]))
    with pytest.raises(PluginError) as caught:
        find_offers(a_config(head="wide"), registry)
    assert caught.value.message == (
        "The plugin fake:fake failed while setting the options of 'wide': KeyError: 'width'."
    )
