import pytest
import torch
from torch import nn

import zoo_optimizers
from zoo.errors import ConfigError
from zoo.plugins.calls import resolve_callable
from zoo.plugins.options import describe_options, make_options
from zoo.plugins.specs import OptimizerRequest
from zoo.testing import check_optimizer, check_plugin
from zoo_optimizers.torch_optimizers import fuses

SPECS = {spec.name: spec for spec in zoo_optimizers.zoo_optimizers()}


def build(name, *, momentum=0.9, **options):
    spec = SPECS[name]
    groups = [{"params": [nn.Parameter(torch.ones(2, 2))], "weight_decay": 0.1, "lr_scale": 1.0, "lr": 0.1}]
    values = make_options(spec.options, options, owner=name)
    return resolve_callable(spec.build)(OptimizerRequest(groups=groups, lr=0.1, momentum=momentum, options=values))


def test_the_plugin_keeps_the_contract():
    check_plugin("zoo_optimizers")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("sgd", {"nesterov": True}),
        ("adamw", {"amsgrad": True, "beta2": 0.99}),
        ("nadam", {"decoupled_weight_decay": True}),
        ("rmsprop", {"centered": True}),
        ("lbfgs", {"history": 1, "iterations": 1, "evaluations": 2}),
        ("schedule-free-adamw", {"power": 1.0}),
    ],
)
def test_options_keep_the_contract(name, options):
    check_optimizer(SPECS[name], options=options)


def test_the_defaults_are_those_of_torch():
    for name in ("sgd", "adam", "adamw", "adagrad", "adadelta", "nadam", "adamax", "rmsprop"):
        optimizer = build(name, momentum=0.0)
        theirs = type(optimizer)([nn.Parameter(torch.ones(1))], lr=0.1).defaults
        changed = {"fused"} | {"weight_decay"}
        assert {key: value for key, value in optimizer.defaults.items() if key not in changed} == {
            key: value for key, value in theirs.items() if key not in changed
        }


@pytest.mark.parametrize("name", ["sgd", "rmsprop"])
def test_optimizers_with_momentum_use_it(name):
    assert build(name, momentum=0.7).param_groups[0]["momentum"] == 0.7


def test_options_reach_torch():
    group = build("adam", beta1=0.8, beta2=0.98, eps=1e-6).param_groups[0]
    assert (group["betas"], group["eps"]) == ((0.8, 0.98), 1e-6)
    assert build("sgd", nesterov=True).param_groups[0]["nesterov"] is True
    with pytest.raises(ConfigError, match="option 'nesterov' needs a momentum, which is 0"):
        build("sgd", nesterov=True, momentum=0.0)


def test_adam_is_fused_where_that_is_known_to_be_faster():
    assert fuses("adamw", {"cpu"}) is True
    assert fuses("sgd", {"cuda"}) is True
    for name, devices in (("sgd", {"cpu"}), ("adamw", {"cpu", "mps"}), ("adagrad", {"cuda"}), ("adam", set())):
        assert fuses(name, devices) is None


def test_every_option_says_what_it_is():
    for spec in SPECS.values():
        assert spec.summary.endswith(".") or ";" in spec.summary
        assert all(info.help for info in describe_options(spec.options))
