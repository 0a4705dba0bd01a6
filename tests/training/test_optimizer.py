import itertools

import pytest
import torch
from fakes import make_classifier
from torch import nn

from zoo.config import make_config
from zoo.errors import ConfigError
from zoo.models.classifier import freeze
from zoo.training.optimizer import (
    TORCH_OPTIMIZERS,
    check_optimizer,
    fuses,
    make_optimizer,
    optimizer_kernels,
    parameter_groups,
    rate_factor,
    set_rate,
)

SCHEDULES = ("constant", "cosine", "linear")


def make_parameters(value=1.0):
    return [nn.Parameter(torch.full((2, 2), value)), nn.Parameter(torch.full((2,), value))]


def make_groups(parameters):
    first, second = parameters
    return [
        {"params": [first], "weight_decay": 0.1, "lr_scale": 1.0},
        {"params": [second], "weight_decay": 0.0, "lr_scale": 10.0},
    ]


@pytest.mark.parametrize("name", [*TORCH_OPTIMIZERS, "lamb", "adafactorbv", "lion", "muon"])
def test_an_optimizer_takes_steps_downhill(name):
    parameters = make_parameters(2.0)
    optimizer = make_optimizer(name, make_groups(parameters), lr=0.01, momentum=0.9)
    assert [group["lr_scale"] for group in optimizer.param_groups][:2] == [1.0, 10.0]
    for _ in range(3):
        loss = sum(parameter.square().sum() for parameter in parameters)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert all((parameter < 2).all() and parameter.isfinite().all() for parameter in parameters)


def test_every_group_has_its_own_rate_and_decay():
    for name in ("sgd", "adamw", "lamb"):
        optimizer = make_optimizer(name, make_groups(make_parameters()), lr=0.01, momentum=0.0)
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.01, 0.1])
        assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0]
        set_rate(optimizer, 0.002)
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.002, 0.02])


@pytest.mark.parametrize("name", ["sgd", "rmsprop"])
def test_optimizers_with_momentum_use_it(name):
    optimizer = make_optimizer(name, make_groups(make_parameters()), lr=0.1, momentum=0.7)
    assert optimizer.param_groups[0]["momentum"] == 0.7


def test_names_of_torch_are_known_without_timm():
    for name in TORCH_OPTIMIZERS:
        check_optimizer(name)


@pytest.mark.parametrize(("name", "close"), [("adamww", "adamw"), ("sdg", "sgd"), ("rms-prop", "rmsprop")])
def test_an_unknown_optimizer_is_an_error_with_close_matches(name, close):
    with pytest.raises(ConfigError, match=f"option 'optimizer' is '{name}'; there is no such optimizer") as caught:
        check_optimizer(name)
    assert close in caught.value.hint


def test_adam_is_fused_where_that_is_known_to_be_faster():
    assert fuses("adamw", {"cpu"}) is True
    assert fuses("sgd", {"cuda"}) is True
    for name, devices in (("sgd", {"cpu"}), ("adamw", {"cpu", "mps"}), ("adagrad", {"cuda"}), ("lamb", {"cpu"})):
        assert fuses(name, devices) is None
    for name, kernels in (("adamw", "fused"), ("lamb", "torch's choice")):
        optimizer = make_optimizer(name, make_groups(make_parameters()), lr=0.1, momentum=0.0)
        assert optimizer_kernels(optimizer) == kernels


def rate_factors(schedule, *, steps=100, warmup=0.1):
    return [rate_factor(step, steps=steps, schedule=schedule, warmup=warmup) for step in range(steps)]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_rate_rises_linearly_in_the_warmup(schedule):
    assert rate_factors(schedule)[:11] == pytest.approx([(step + 1) / 11 for step in range(11)])


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_after_the_warmup_the_rate_neither_rises_nor_reaches_zero(schedule):
    factors = rate_factors(schedule)[10:]
    assert all(later <= earlier for earlier, later in itertools.pairwise(factors))
    assert factors[0] == 1.0
    assert factors[-1] > 0


def test_every_schedule_ends_at_its_own_rate():
    assert rate_factors("constant")[-1] == 1.0
    assert rate_factors("cosine")[-1] < 0.001
    assert rate_factors("linear")[-1] == pytest.approx(1 / 90)


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_a_falling_rate_is_half_in_the_middle(schedule):
    assert rate_factor(50, steps=100, schedule=schedule, warmup=0.0) == pytest.approx(0.5)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("warmup", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_very_short_trainings_have_positive_rates(schedule, warmup, steps):
    assert all(0 < factor <= 1 for factor in rate_factors(schedule, steps=steps, warmup=warmup))


def groups_by_name(classifier, config):
    names = {parameter: name for name, parameter in classifier.named_parameters()}
    return {
        names[parameter]: (group["lr_scale"], group["weight_decay"])
        for group in parameter_groups(classifier, config)
        for parameter in group["params"]
    }


@pytest.mark.parametrize("frozen", [0, 1, None])
def test_every_trainable_parameter_is_in_one_group(frozen):
    classifier = make_classifier()
    freeze(classifier, frozen)
    groups = parameter_groups(classifier, make_config("b", data="d"))
    grouped = [parameter for group in groups for parameter in group["params"]]
    assert len(grouped) == len(set(grouped))
    assert set(grouped) == {parameter for parameter in classifier.parameters() if parameter.requires_grad}


def test_learning_rates_decay_by_stage_and_the_head_has_its_own():
    config = make_config("b", data="d", head_lr_multiplier=10, layer_decay=0.5, weight_decay=0.1)
    groups = groups_by_name(make_classifier(), config)
    assert groups["backbone.body.stem.0.weight"] == (0.25, 0.1)
    assert groups["backbone.body.layer1.0.weight"] == (0.5, 0.1)
    assert groups["backbone.body.layer2.0.weight"] == (1.0, 0.1)
    assert groups["head.linear.weight"] == (10.0, 0.1)


def test_biases_and_norms_have_no_weight_decay_by_default():
    plain = groups_by_name(make_classifier(), make_config("b", data="d", weight_decay=0.1, decay_norms=False))
    assert {name for name, (_, decay) in plain.items() if decay} == {
        "backbone.body.stem.0.weight",
        "backbone.body.layer1.0.weight",
        "backbone.body.layer2.0.weight",
        "head.linear.weight",
    }
    every = groups_by_name(make_classifier(), make_config("b", data="d", weight_decay=0.1, decay_norms=True))
    assert {decay for _, decay in every.values()} == {0.1}
