import subprocess
import sys

import pytest

from zoo.errors import ConfigError
from zoo.plugins.kinds import OPTIMIZER
from zoo.plugins.options import describe_options
from zoo.plugins.registry import load_registry
from zoo.testing import check_optimizer
from zoo.training.optimizer import make_optimizer
from zoo_timm.optimizers import list_names, resolve


def make_groups():
    import torch
    from torch import nn

    return [{"params": [nn.Parameter(torch.ones(2, 2))], "weight_decay": 0.1, "lr_scale": 1.0}]


def make(name, *, momentum=0.0, **options):
    choice = load_registry().choose(OPTIMIZER, name, options)
    return make_optimizer(choice, make_groups(), lr=0.01, momentum=momentum)


def test_all_optimizers_but_one_are_in_the_family():
    from timm.optim import list_optimizers

    assert set(list_optimizers()) - set(list_names()) == {"adahessian"}
    assert resolve("adahessian") is None


@pytest.mark.parametrize("name", ["lion", "lamb", "adafactorbv", "muon", "adopt", "sgdp", "cadamw"])
def test_an_optimizer_keeps_the_contract(name):
    check_optimizer(resolve(name))


def test_options_are_the_arguments_of_timm():
    infos = {info.name: info for info in describe_options(resolve("lamb").options)}
    assert {"beta1", "beta2", "eps", "max_grad_norm", "trust_clip"} <= infos.keys()
    assert infos["trust_clip"].type is bool
    assert not {"lr", "weight_decay", "betas"} & infos.keys()
    group = make("lion", beta2=0.9).param_groups[0]
    assert tuple(group["betas"]) == (0.9, 0.9)
    assert make("timm/sgd", momentum=0.7, nesterov="yes").param_groups[0]["momentum"] == 0.7
    with pytest.raises(ConfigError, match="optimizer lion has no option 'beta3'"):
        make("lion", beta3=1)


def test_an_optimizer_that_needs_another_machine_says_so():
    with pytest.raises(ConfigError, match="the optimizer 'fusedadam' does not work here: "):
        make("fusedadam")


def test_names_of_torch_are_those_of_torch():
    assert load_registry().find(OPTIMIZER, "adamw").name == "optimizers/adamw"
    assert load_registry().find(OPTIMIZER, "timm/adamw").name == "timm/adamw"


def test_a_name_is_resolved_without_timm_once_the_names_are_cached():
    list_names()
    code = (
        "import sys; from zoo_timm.optimizers import resolve; assert resolve('lion'); assert 'timm' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
