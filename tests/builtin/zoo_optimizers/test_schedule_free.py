import pytest
import torch
from torch import nn

from zoo_optimizers.schedule_free import ScheduleFreeAdamw, ScheduleFreeSgd


def make(parameter, kind=ScheduleFreeSgd, **values):
    more = {"beta2": 0.99, "eps": 1e-8} if kind is ScheduleFreeAdamw else {}
    groups = [{"params": [parameter], "lr": 0.1, "weight_decay": 0.0}]
    return kind(groups, **{"lr": 0.1, "beta": 0.9, "power": 0.0, **more, **values})


def step(optimizer, parameter):
    optimizer.zero_grad()
    (parameter - 2).square().sum().backward()
    optimizer.step()


def test_sgd_follows_the_equations_of_the_paper():
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = make(parameter)
    x = z = torch.zeros(1)
    for number in range(1, 6):
        y = 0.1 * z + 0.9 * x
        assert torch.allclose(parameter.detach(), y)
        z = z - 0.1 * 2 * (y - 2)
        x = x + (z - x) / number
        step(optimizer, parameter)
    optimizer.eval()
    assert torch.allclose(parameter.detach(), x)


def test_adamw_follows_the_equations_of_the_paper():
    parameter = nn.Parameter(torch.ones(1))
    optimizer = make(parameter, ScheduleFreeAdamw)
    optimizer.param_groups[0]["weight_decay"] = 0.5
    x = z = torch.ones(1)
    squares = torch.zeros(1)
    for number in range(1, 6):
        y = 0.1 * z + 0.9 * x
        assert torch.allclose(parameter.detach(), y)
        gradient = 2 * (y - 2)
        squares = 0.99 * squares + 0.01 * gradient**2
        z = z - 0.1 * (gradient / ((squares / (1 - 0.99**number)).sqrt() + 1e-8) + 0.5 * y)
        x = x + (z - x) / number
        step(optimizer, parameter)
    optimizer.eval()
    assert torch.allclose(parameter.detach(), x)


def test_steps_of_a_warmup_weigh_less_in_the_average():
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = make(parameter)
    for rate in (0.01, 0.02, 0.1):
        optimizer.param_groups[0]["lr"] = rate
        step(optimizer, parameter)
    state = optimizer.state[parameter]
    assert float(state["x"]) > 0.9 * float(state["z"])


def test_an_evaluation_does_not_change_what_follows_it():
    plain, evaluated = (nn.Parameter(torch.zeros(3)) for _ in range(2))
    optimizers = [make(plain, ScheduleFreeAdamw), make(evaluated, ScheduleFreeAdamw)]
    for _ in range(5):
        step(optimizers[0], plain)
        step(optimizers[1], evaluated)
        optimizers[1].eval()
        optimizers[1].train()
    assert torch.equal(plain, evaluated)


def test_a_step_needs_the_weights_to_train():
    parameter = nn.Parameter(torch.zeros(3))
    optimizer = make(parameter)
    step(optimizer, parameter)
    optimizer.eval()
    with pytest.raises(RuntimeError, match=r"train\(\) must be called before a step"):
        step(optimizer, parameter)
