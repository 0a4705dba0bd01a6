import pytest
import torch
from fakes import FakePlugin, make_choice, make_classifier, make_registry
from torch import nn

import zoo
from zoo.config import make_config
from zoo.errors import PluginError
from zoo.models.classifier import freeze
from zoo.plugins.kinds import OPTIMIZER
from zoo.training.optimizer import OptimizerTraits, make_optimizer, optimizer_kernels, parameter_groups, set_rate


def make_parameters(value=1.0):
    return [nn.Parameter(torch.full((2, 2), value)), nn.Parameter(torch.full((2,), value))]


def make_groups(parameters):
    first, second = parameters
    return [
        {"params": [first], "weight_decay": 0.1, "lr_scale": 1.0},
        {"params": [second], "weight_decay": 0.0, "lr_scale": 10.0},
    ]


def choose(build, **values):
    plugin = FakePlugin()
    plugin.zoo_optimizers = zoo.hookimpl(lambda: [zoo.OptimizerSpec(name="mine", build=build, **values)])
    return make_registry(plugin).choose(OPTIMIZER, "mine", {})


def make(name, *, momentum=0.0, **options):
    return make_optimizer(
        make_choice(OPTIMIZER, name, **options), make_groups(make_parameters()), lr=0.01, momentum=momentum
    )


def test_every_group_has_its_own_rate_and_decay():
    for name in ("sgd", "adamw", "lbfgs", "schedule-free-sgd"):
        optimizer = make(name)
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.01, 0.1])
        assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0]
        set_rate(optimizer, 0.002)
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.002, 0.02])


def test_the_record_names_the_kernels():
    assert optimizer_kernels(make("adamw")) == "fused"
    assert optimizer_kernels(make("adagrad")) == "torch's choice"


@pytest.mark.parametrize(
    ("build", "values", "reason"),
    [
        (lambda request: None, {}, "it returned NoneType, not a torch.optim.Optimizer"),
        (lambda request: torch.optim.SGD(request.groups[:1], lr=1), {}, "its groups lack 1 of 2 parameters"),
        (
            lambda request: torch.optim.SGD([p for group in request.groups for p in group["params"]], lr=1),
            {},
            "its groups do not keep the 'lr_scale'",
        ),
        (
            lambda request: torch.optim.SGD(
                [*request.groups, {"params": [nn.Parameter(torch.ones(1))], "lr_scale": 1.0}], lr=1
            ),
            {},
            "its groups have a parameter twice, or one that the request does not have",
        ),
        (
            lambda request: torch.optim.SGD(request.groups, lr=1),
            {"averages": True},
            "it averages the weights but has no methods train",
        ),
        (lambda request: {}["bad luck"], {}, "KeyError: 'bad luck'"),
    ],
)
def test_a_plugin_that_builds_no_proper_optimizer_is_named(build, values, reason):
    with pytest.raises(PluginError, match=r"The plugin fake:fake failed while building 'mine': ") as caught:
        make_optimizer(choose(build, **values), make_groups(make_parameters()), lr=0.1, momentum=0.0)
    assert reason in caught.value.message


def test_the_traits_are_those_of_the_spec_unless_an_option_says_otherwise():
    assert OptimizerTraits.from_choice(make_choice(OPTIMIZER, "lbfgs")) == OptimizerTraits(
        closure=True, full_batch=True
    )
    assert OptimizerTraits.from_choice(make_choice(OPTIMIZER, "cg", full_batch=False)) == OptimizerTraits(closure=True)
    assert OptimizerTraits.from_choice(make_choice(OPTIMIZER, "schedule-free-sgd")) == OptimizerTraits(averages=True)
    assert OptimizerTraits.from_choice(make_choice(OPTIMIZER, "sgd")) == OptimizerTraits()


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


def test_a_line_search_has_no_weight_decay_by_default():
    assert make_choice(OPTIMIZER, "lbfgs").spec.auto_weight_decay == 0
    groups = parameter_groups(make_classifier(), make_config("b", data="d"), auto_decay=0.0)
    assert {group["weight_decay"] for group in groups} == {0.0}
    groups = parameter_groups(make_classifier(), make_config("b", data="d"))
    assert {group["weight_decay"] for group in groups} == {0.0, 0.05}


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
