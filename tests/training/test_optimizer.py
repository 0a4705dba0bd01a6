import pytest
import torch
from torch import nn

from zoo.errors import ConfigError
from zoo.training.optimizer import TORCH_OPTIMIZERS, check_optimizer, fuses, make_optimizer, optimizer_kernels, set_rate


def groups(parameters):
    first, second = parameters
    return [
        {"params": [first], "weight_decay": 0.1, "lr_scale": 1.0},
        {"params": [second], "weight_decay": 0.0, "lr_scale": 10.0},
    ]


@pytest.mark.parametrize("name", [*TORCH_OPTIMIZERS, "lamb", "adafactorbv", "lion", "muon"])
def test_an_optimizer_takes_a_step_downhill(name):
    parameters = [nn.Parameter(torch.full((2, 2), 2.0)), nn.Parameter(torch.full((2,), 2.0))]
    optimizer = make_optimizer(name, groups(parameters), lr=0.01, momentum=0.9)
    assert [group["lr_scale"] for group in optimizer.param_groups][:2] == [1.0, 10.0]
    for _ in range(3):
        loss = sum(parameter.square().sum() for parameter in parameters)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert all((parameter < 2).all() and parameter.isfinite().all() for parameter in parameters)


def test_every_group_has_its_own_rate_and_decay():
    parameters = [nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2))]
    for name in ("sgd", "adamw", "lamb"):
        optimizer = make_optimizer(name, groups(parameters), lr=0.01, momentum=0.0)
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.01, 0.1])
        assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0]
        set_rate(optimizer, 0.002)
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.002, 0.02])


def test_momentum_reaches_those_that_have_one():
    parameters = [nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2))]
    for name in ("sgd", "rmsprop"):
        assert make_optimizer(name, groups(parameters), lr=0.1, momentum=0.7).param_groups[0]["momentum"] == 0.7


def test_a_name_of_torch_is_known_without_timm():
    for name in TORCH_OPTIMIZERS:
        check_optimizer(name)


@pytest.mark.parametrize(("name", "near"), [("adamww", "adamw"), ("sdg", "sgd"), ("rms-prop", "rmsprop")])
def test_an_unknown_optimizer_is_told_with_near_names(name, near):
    with pytest.raises(ConfigError, match=f"option 'optimizer' is '{name}'") as caught:
        check_optimizer(name)
    assert near in caught.value.hint


def test_adam_is_fused_where_that_is_known_to_be_faster():
    assert fuses("adamw", {"cpu"}) is True
    assert fuses("sgd", {"cuda"}) is True
    for name, devices in (("sgd", {"cpu"}), ("adamw", {"cpu", "mps"}), ("adagrad", {"cuda"}), ("lamb", {"cpu"})):
        assert fuses(name, devices) is None  # torch chooses
    parameters = [nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2))]
    assert optimizer_kernels(make_optimizer("adamw", groups(parameters), lr=0.1, momentum=0.0)) == "fused"
    assert optimizer_kernels(make_optimizer("lamb", groups(parameters), lr=0.1, momentum=0.0)) == "torch's choice"
