import json
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from zoo import BackboneCard, BackboneSpec, HeadSpec, Preprocess, StagedBackbone, hookimpl
from zoo.cli.describe import describe
from zoo.errors import AmbiguousNameError, UnknownNameError
from zoo.plugins.discovery import load_plugins
from zoo.plugins.entry_points import DISTRIBUTION, Candidate
from zoo.plugins.options import option
from zoo.plugins.registry import Registry


@dataclass(frozen=True, slots=True)
class Options:
    depth: int = option(help="How deep.")


CARD = BackboneCard(preprocess=Preprocess(size=(16, 24), resize=20))
seen = []


def build(request):
    seen.append((torch.empty(0).device.type, request.pretrained, request.image_size))
    return StagedBackbone({"stem": nn.Conv2d(3, 4, 3, bias=False)}, width=4)


def build_with_values(request):
    layer = nn.Linear(2, 2)
    assert torch.linspace(0, 1, 3).tolist() == [0, 0.5, 1]  # as timm's stochastic depth does: fails without values
    return StagedBackbone({"body": layer}, width=2)


def registry(*backbones, distribution=DISTRIBUTION, entry="torchvision", heads=()):
    class Plugin:
        @staticmethod
        @hookimpl
        def zoo_backbones():
            return list(backbones)

        @staticmethod
        @hookimpl
        def zoo_heads():
            return list(heads)

    return Candidate(entry=entry, distribution=distribution, version="1", load=lambda: Plugin)


def of(*candidates):
    return Registry(load_plugins(candidates))


def spec(name="tiny", build=build, **values):
    return BackboneSpec(name=name, build=build, card=lambda: CARD, **values)


def test_a_backbone_is_counted_without_values_and_without_weights():
    seen.clear()
    (told,) = describe("tiny", of(registry(spec())))
    assert seen == [("meta", False, (16, 24))]
    assert told.size.parameters == 3 * 4 * 9
    assert told.size.stages == (("stem", 108),)
    assert (told.size.pooled_width, told.size.map_width) == (4, 4)
    assert told.weights is None


def test_a_network_that_computes_while_it_is_built_is_built_for_real():
    (told,) = describe("tiny", of(registry(spec(build=build_with_values))))
    assert told.size.parameters == 6


def test_a_backbone_with_a_required_option_is_not_built():
    (told,) = describe("tiny", of(registry(spec(options=Options))))
    assert told.size is None
    assert told.options[0].required


def test_an_ambiguous_name_is_refused():
    plugins = of(registry(spec(), distribution="acme"), registry(spec(), distribution="wile"))
    with pytest.raises(AmbiguousNameError):
        describe("tiny", plugins)
    (told,) = describe("wile/tiny", plugins)
    assert told.plugin == "wile:torchvision"


def test_an_unknown_name_suggests_across_kinds():
    head = HeadSpec(name="linear", build=lambda request: None)
    with pytest.raises(UnknownNameError) as error:
        describe("linaer", of(registry(spec(), heads=[head])))
    assert error.value.hint == "Did you mean torchvision/linear?"


def test_everything_is_plain_values():
    (told,) = describe("tiny", of(registry(spec())))
    assert json.loads(json.dumps(told.to_dict()))["preprocess"]["size"] == [16, 24]
