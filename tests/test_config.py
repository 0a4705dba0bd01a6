import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from fakes import make_images

from zoo.config import FinetuneConfig, make_config
from zoo.errors import ConfigError
from zoo.plugins.options import describe_options

INFOS = {info.name: info for info in describe_options(FinetuneConfig)}
BOUNDS = [
    (info.name, bound + step)
    for info in INFOS.values()
    for bound, step in ((info.minimum, -1), (info.maximum, 1))
    if bound is not None
]


def config(**values):
    return make_config("resnet18", **{"data": "d", **values})


@pytest.mark.parametrize(("name", "value"), BOUNDS)
def test_a_value_out_of_bounds_is_refused_and_the_option_named(name, value):
    with pytest.raises(ConfigError, match=f"option '{name}' is .*{value}, out of bounds") as caught:
        config(**{name: value})
    assert name in caught.value.hint
    with pytest.raises(ConfigError, match=f"option '{name}'"):
        FinetuneConfig(backbone="b", data="d", **{name: value})


@pytest.mark.parametrize(
    ("name", "bound"),
    [(info.name, bound) for info in INFOS.values() for bound in (info.minimum, info.maximum) if bound is not None],
)
def test_a_value_on_its_bound_is_accepted(name, bound):
    assert getattr(config(**{name: bound}), name) == bound


def test_every_number_has_a_lower_bound():
    assert [i.name for i in INFOS.values() if i.type in (int, float) and i.minimum is None] == []


@pytest.mark.parametrize("name", [info.name for info in INFOS.values() if info.type is float])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), "nan", "-inf"])
def test_no_number_may_be_infinite(name, value):
    with pytest.raises(ConfigError, match=f"option '{name}' is .* not a finite number"):
        config(**{name: value})
    with pytest.raises(ConfigError, match=f"option '{name}'"):
        FinetuneConfig(backbone="b", data="d", **{name: value})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("epochs", "five", "option 'epochs' is 'five', not a whole number"),
        ("epochs", 2.5, "option 'epochs' is 2.5, not a whole number"),
        ("lr", None, "option 'lr' cannot be none"),
        ("precision", "int8", "option 'precision' is 'int8'"),
        ("probe", "maybe", "option 'probe' is 'maybe', not yes or no"),
        ("freeze", "some", "option 'freeze' is 'some'"),
        ("freeze", "-1", "option 'freeze' is '-1'"),
        ("freeze", "100%", "option 'freeze' is '100%'"),
        ("freeze", "²", "option 'freeze' is '²'"),
        ("head_options", "hidden=3", "'head_options' is 'hidden=3', not a dict"),
        ("recipe", 3, "option 'recipe' is 3, not text"),
        ("learning_rate", 1, "finetune: there is no option 'learning_rate'"),
    ],
)
def test_an_invalid_value_is_reported(name, value, message):
    with pytest.raises(ConfigError, match=message) as caught:
        config(**{name: value})
    assert caught.value.hint


def test_a_misspelt_option_is_reported_with_the_right_one():
    with pytest.raises(ConfigError, match="no option 'weight_decai'") as caught:
        config(weight_decai=1)
    assert "weight_decay" in caught.value.hint


def test_frozen_random_weights_are_refused():
    with pytest.raises(ConfigError, match="option 'freeze' is 'all' while option 'weights' is 'none'"):
        config(freeze="all", weights="none")


def test_text_is_parsed_as_on_the_command_line():
    made = config(epochs="7", lr="1e-3", probe="no", clip_grad="none", ema="0.9", freeze="2")
    assert (made.epochs, made.lr, made.probe, made.clip_grad, made.ema, made.freeze) == (
        7,
        0.001,
        False,
        None,
        0.9,
        "2",
    )


def test_values_have_the_type_of_their_option_however_they_were_given():
    made = FinetuneConfig(backbone="b", data="d", lr=1, epochs="3")
    assert isinstance(made.lr, float)
    assert made.epochs == 3


@pytest.mark.parametrize(
    ("freeze", "stages"),
    [("none", 0), ("0", 0), (3, 3), ("9", 9), ("all", None), ("50%", 2), ("0%", 0), ("99%", 4), ("19%", 0)],
)
def test_frozen_stages_are_counted_or_a_share_of_all(freeze, stages):
    assert config(freeze=freeze).frozen_stages(5) == stages


def test_a_configuration_is_frozen_and_goes_through_json():
    made = config(head_options={"hidden": 3}, epochs=2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.epochs = 3
    assert FinetuneConfig(**json.loads(json.dumps(made.to_dict()))) == made


def test_every_option_has_a_help_text_and_a_heading():
    assert [info.name for info in INFOS.values() if not info.help or not info.group] == []


def test_the_backbone_is_chosen_unless_it_is_named():
    assert make_config(data="d").backbone == FinetuneConfig(data="d").backbone == "auto"


def test_values_that_are_natural_in_python_are_those_of_the_command_line():
    made = config(weights=None, freeze=None, data=Path("hotdog"), exclude=Path("list.csv"))
    assert (made.weights, made.freeze, made.data, made.exclude) == ("none", "none", "./hotdog", "list.csv")
    made = config(epochs=np.int64(3), lr=np.float32(0.5), batch_size=np.float64(8), freeze=2, limit=None)
    assert (made.epochs, made.lr, made.batch_size, made.freeze, made.limit) == (3, 0.5, 8, "2", None)
    assert (type(made.epochs), type(made.lr), type(made.batch_size)) == (int, float, int)
    assert json.loads(json.dumps(made.to_dict())) == made.to_dict()


def test_an_image_set_is_data_and_recorded_by_its_name():
    images = make_images()
    made = config(data=images)
    assert made.data is images
    assert made.to_dict()["data"] == "ImageSet:colours"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("data", 3, "option 'data' is 3, not text or ImageSet."),
        ("data", None, "option 'data' cannot be none."),
        ("weights", b"x", "option 'weights' is b'x', not text."),
        ("recipe", b"x", "option 'recipe' is b'x', not text."),
        ("freeze", "x\ny" * 100, "option 'freeze' is 'x y"),
        ("epochs", np.zeros((40, 40)), "not a whole number."),
    ],
)
def test_a_wrong_value_is_shown_in_one_short_line(name, value, message):
    with pytest.raises(ConfigError) as caught:
        config(**{name: value})
    assert message in caught.value.message
    assert len(caught.value.message) < 150
    assert "\n" not in caught.value.message
