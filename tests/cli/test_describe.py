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
builds = []


def build(request):
    builds.append((torch.empty(0).device.type, request.pretrained, request.image_size))
    return StagedBackbone({"stem": nn.Conv2d(3, 4, 3, bias=False)}, width=4)


def build_with_values(request):
    layer = nn.Linear(2, 2)
    assert torch.linspace(0, 1, 3).tolist() == [0, 0.5, 1]  # as timm's stochastic depth does: fails without values
    return StagedBackbone({"body": layer}, width=2)


def make_candidate(*backbones, distribution=DISTRIBUTION, entry="torchvision", heads=()):
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


def registry_of(*candidates):
    return Registry(load_plugins(candidates))


def make_spec(name="tiny", build=build, **values):
    return BackboneSpec(name=name, build=build, card=lambda: CARD, **values)


def test_a_backbone_is_counted_without_values_and_without_weights():
    builds.clear()
    (description,) = describe("tiny", registry_of(make_candidate(make_spec())))
    assert builds == [("meta", False, (16, 24))]
    assert description.size.parameters == 3 * 4 * 9
    assert description.size.stages == (("stem", 108),)
    assert (description.size.pooled_width, description.size.map_width) == (4, 4)
    assert description.weights is None


def test_a_network_that_reads_values_while_it_is_built_is_built_with_values():
    (description,) = describe("tiny", registry_of(make_candidate(make_spec(build=build_with_values))))
    assert description.size.parameters == 6


def test_a_backbone_with_a_required_option_is_not_built():
    (description,) = describe("tiny", registry_of(make_candidate(make_spec(options=Options))))
    assert description.size is None
    assert description.options[0].required


def test_an_ambiguous_name_is_refused():
    plugins = registry_of(
        make_candidate(make_spec(), distribution="acme"), make_candidate(make_spec(), distribution="wile")
    )
    with pytest.raises(AmbiguousNameError):
        describe("tiny", plugins)
    (description,) = describe("wile/tiny", plugins)
    assert description.plugin == "wile:torchvision"


def test_an_unknown_name_suggests_names_of_all_kinds():
    head = HeadSpec(name="linear", build=lambda request: None)
    with pytest.raises(UnknownNameError) as error:
        describe("linaer", registry_of(make_candidate(make_spec(), heads=[head])))
    assert error.value.hint == "Did you mean torchvision/linear?"


def test_a_description_has_plain_values():
    (description,) = describe("tiny", registry_of(make_candidate(make_spec())))
    assert json.loads(json.dumps(description.to_dict()))["preprocess"]["size"] == [16, 24]
