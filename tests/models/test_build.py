import dataclasses

import pytest
import torch
from fakes import CLASSES, PREPROCESS, FakePlugin, make_backbone_spec, make_registry
from run_files import write_json_record

from zoo.config import make_config
from zoo.errors import ConfigError, RunError, UnknownNameError, WeightsError
from zoo.models.build import assemble, resolve_preprocess
from zoo.models.offers import find_offers
from zoo.plugins.options import option
from zoo.plugins.registry import get_card
from zoo.plugins.specs import HeadSpec
from zoo.preprocess import preprocess_to_dict
from zoo.runs.open import config_of, open_run
from zoo.runs.run import Run
from zoo.training.request import find_weights


def a_config(backbone="small", **values):
    return make_config(backbone, **{"data": "colours", "head": "flat", **values})


def assembled(registry, weights=None, **values):
    config = a_config(**values)
    offers = find_offers(config, registry)
    preprocess = resolve_preprocess(config, get_card(offers.backbone).preprocess)
    return assemble(config, offers, classes=len(CLASSES), preprocess=preprocess, weights=weights)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Wide:
    width: int = option(3, minimum=1, help="how wide")


def test_offers_come_with_their_options_checked():
    registry = make_registry(FakePlugin(heads=[HeadSpec(name="wide", build=lambda request: None, options=Wide)]))
    offers = find_offers(a_config(head="wide", head_options={"width": "5"}), registry)
    assert (offers.backbone.name, offers.head.name) == ("fake/small", "fake/wide")
    assert offers.head_options == Wide(width=5)
    with pytest.raises(ConfigError, match="head wide has no option 'height'"):
        find_offers(a_config(head="wide", head_options={"height": 1}), registry)
    with pytest.raises(ConfigError, match="backbone small has no option 'depth'"):
        find_offers(a_config(head="wide", backbone_options={"depth": 1}), registry)


def test_names_are_told_with_near_ones(registry):
    with pytest.raises(UnknownNameError, match="There is no backbone 'smalll'") as caught:
        find_offers(a_config("smalll"), registry)
    assert "fake/small" in caught.value.hint


def test_weights_are_a_file_a_run_or_neither(tmp_path):
    assert find_weights(a_config(weights="pretrained"), runs=tmp_path) is None
    assert find_weights(a_config(weights="none"), runs=tmp_path) is None
    file = tmp_path / "w.safetensors"
    file.touch()
    assert find_weights(a_config(weights=str(file)), runs=tmp_path) == file
    (tmp_path / "run-1").mkdir()
    write_json_record(tmp_path / "run-1", {"classes": []})
    found = find_weights(a_config(weights="run-1"), runs=tmp_path)
    assert isinstance(found, Run)
    assert found.path == tmp_path / "run-1"


def test_weights_that_do_not_exist_are_told(tmp_path):
    with pytest.raises(WeightsError, match=r"There is no weights file .*gone\.pth") as caught:
        find_weights(a_config(weights="gone.pth"), runs=tmp_path)
    assert "--weights" in caught.value.hint
    with pytest.raises(RunError, match="There is no run 'run-7'"):
        find_weights(a_config(weights="run-7"), runs=tmp_path)


def test_the_seed_decides_fresh_weights_and_nothing_before_it(registry):
    first = assembled(registry, weights=None).classifier.state_dict()
    torch.rand(5)
    again = assembled(registry).classifier.state_dict()
    other = assembled(registry, seed=1).classifier.state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["head.linear.weight"], other["head.linear.weight"])


def test_the_head_starts_the_same_whatever_the_backbone_drew():
    def hungry(request):
        torch.rand(1000)
        return make_backbone_spec().build(request)

    registry = make_registry(FakePlugin(backbones=[make_backbone_spec(), make_backbone_spec("hungry", build=hungry)]))
    heads = [assembled(registry, backbone=name).classifier.head.linear.weight for name in ("small", "hungry")]
    assert torch.equal(*heads)


def test_what_was_loaded_is_said(registry):
    assert assembled(registry).weights == "v1, from these tests"


def test_preprocessing_is_the_cards_at_the_size_asked_for(registry):
    plain = {"eval_crop": None}
    assert assembled(registry, **plain).preprocess == PREPROCESS
    larger = dataclasses.replace(PREPROCESS, size=(32, 32), resize=36)
    assert assembled(registry, image_size=32, **plain).preprocess == larger
    assert assembled(registry, eval_crop=0.8).preprocess == dataclasses.replace(PREPROCESS, resize=20)


def test_preprocessing_of_a_run_wins_over_card_and_configuration(registry):
    told = dataclasses.replace(PREPROCESS, size=(24, 24), resize=30)
    for config in (a_config(), a_config(eval_crop=0.8), a_config(image_size=16)):
        assert assemble(config, find_offers(config, registry), classes=3, preprocess=told).preprocess == told


def test_loss_and_dropout_reach_the_head(registry):
    head = assembled(registry, loss="focal", label_smoothing=0.1, dropout=0.4).classifier.head
    assert (head.criterion.name, head.criterion.label_smoothing, head.dropout.p) == ("focal", 0.1, 0.4)


def test_the_configuration_of_a_run_comes_back(tmp_path):
    config = a_config(epochs=2)
    write_json_record(tmp_path, {"config": config.to_dict(), "preprocess": preprocess_to_dict(PREPROCESS)})
    run = open_run(tmp_path)
    assert config_of(run) == config
    assert config_of(run, epochs=9).epochs == 9


@pytest.mark.parametrize(
    "config", [{"backbone": "small"}, {"backbone": "b", "data": "d", "colour": 1}, {"backbone": "b", "data": 3}]
)
def test_a_configuration_that_is_not_readable_is_told(tmp_path, config):
    write_json_record(tmp_path, {"config": config})
    with pytest.raises(RunError, match=r"'config' in run\.json is not readable"):
        config_of(open_run(tmp_path))
