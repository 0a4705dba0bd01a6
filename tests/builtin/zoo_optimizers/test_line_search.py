import pytest
import torch
from torch import nn

from zoo_optimizers.line_search import ConjugateGradients, Lbfgs
from zoo_optimizers.wolfe import Point, search


def make(kind, groups, **values):
    more = {"history": 10} if kind is Lbfgs else {}
    return kind(groups, **{"lr": 1.0, "iterations": 5, "evaluations": 20, **more, **values})


def group(parameter, *, lr=1.0, weight_decay=0.0):
    return {"params": [parameter], "lr": lr, "lr_scale": lr, "weight_decay": weight_decay}


def closure_of(function, calls=None):
    def closure():
        if calls is not None:
            calls.append(None)
        loss = function()
        loss.backward()
        return loss

    return closure


def rosenbrock(x):
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


@pytest.mark.parametrize(("kind", "most"), [(Lbfgs, 200), (ConjugateGradients, 800)])
def test_a_curved_valley_is_followed_to_its_end(kind, most):
    parameters = [nn.Parameter(torch.full((size,), -1.2, dtype=torch.float64)) for size in (4, 6)]
    optimizer, calls = make(kind, [group(each) for each in parameters]), []
    loss = 1.0
    while loss > 1e-8 and len(calls) < most:
        loss = float(optimizer.step(closure_of(lambda: rosenbrock(torch.cat(parameters)), calls)))
    assert loss <= 1e-8
    assert all(torch.allclose(each, torch.ones_like(each), atol=1e-3) for each in parameters)


@pytest.mark.parametrize("kind", [Lbfgs, ConjugateGradients])
def test_a_step_ends_when_nothing_is_left_to_gain(kind):
    parameter, calls = nn.Parameter(torch.zeros(3)), []
    optimizer = make(kind, [group(parameter)])
    for _ in range(10):
        optimizer.step(closure_of(lambda: (parameter - 2).square().sum() + 1, calls))
    assert torch.allclose(parameter, torch.full((3,), 2.0), atol=1e-3)
    del calls[:]
    optimizer.step(closure_of(lambda: (parameter - 2).square().sum() + 1, calls))
    assert len(calls) <= 3


def test_weight_decay_is_a_penalty_in_the_loss_that_is_minimised():
    parameter = nn.Parameter(torch.zeros(2))
    optimizer = make(Lbfgs, [group(parameter, weight_decay=1.0)])
    for _ in range(5):
        optimizer.step(closure_of(lambda: (parameter - 3).square().sum() / 2))
    assert torch.allclose(parameter, torch.full((2,), 1.5), atol=1e-4)


def test_rates_of_groups_are_relative_to_the_highest():
    moves = []
    for low in (1.0, 0.01, 0.0):
        fast, slow = (nn.Parameter(torch.zeros(1)) for _ in range(2))
        optimizer = make(Lbfgs, [group(fast), group(slow, lr=low)], iterations=1, evaluations=2)
        optimizer.step(closure_of(lambda fast=fast, slow=slow: (fast - 1).square().sum() + (slow - 1).square().sum()))
        moves.append(float(slow.detach() / fast.detach()))
    assert moves == pytest.approx([1.0, 0.01, 0.0])
    same = nn.Parameter(torch.zeros(1))
    make(Lbfgs, [group(same, lr=0.0)]).step(closure_of(lambda: (same - 1).square().sum()))
    assert float(same.detach()) == 0


@pytest.mark.parametrize("kind", [Lbfgs, ConjugateGradients])
def test_a_step_never_evaluates_more_often_than_it_may(kind):
    parameter, calls = nn.Parameter(torch.full((5,), -1.2)), []
    make(kind, [group(parameter)], evaluations=4).step(closure_of(lambda: rosenbrock(parameter), calls))
    assert len(calls) <= 4


def test_the_history_is_short():
    parameter = nn.Parameter(torch.full((5,), -1.2))
    optimizer = make(Lbfgs, [group(parameter)], history=2)
    for _ in range(4):
        optimizer.step(closure_of(lambda: rosenbrock(parameter)))
    assert len(optimizer.state[parameter]["moves"]) == 2


@pytest.mark.parametrize("kind", [Lbfgs, ConjugateGradients])
def test_the_search_comes_back_from_where_the_loss_is_not_finite(kind):
    parameter = nn.Parameter(torch.full((1,), 0.5))
    optimizer = make(kind, [group(parameter)])
    for _ in range(5):
        optimizer.step(closure_of(lambda: (parameter - 10 * parameter.log()).sum()))  # NaN below 0
    assert float(parameter.detach()) == pytest.approx(10, rel=1e-2)


def test_a_point_of_the_line_search_meets_both_conditions():
    def evaluate(length):
        value, slope = (length - 3) ** 2, 2 * (length - 3)
        return Point(length=length, value=value, slope=slope, gradient=torch.zeros(1))

    start = evaluate(0.0)
    for first in (1e-3, 0.1, 1.0, 30.0):
        found = search(evaluate, start, length=first, curvature=0.1, evaluations=20)
        assert abs(found.slope) <= 0.1 * abs(start.slope)
        assert found.value <= start.value + 1e-4 * found.length * start.slope
    assert search(evaluate, start, length=1e6, curvature=0.1, evaluations=1) is start
