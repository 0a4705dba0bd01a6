import pytest
import torch
from torch import nn

import zoo_schedules
from zoo.plugins.calls import resolve_callable
from zoo.plugins.options import make_options
from zoo.testing import check_plugin, check_schedule

SPECS = {spec.name: spec for spec in zoo_schedules.zoo_schedules()}


def factors_of(name, *, steps=100, **options):
    spec = SPECS[name]
    values, factor = make_options(spec.options, options, owner=name), resolve_callable(spec.factor)
    return [factor(step, steps, values) for step in range(steps)]


def test_the_plugin_keeps_the_contract():
    check_plugin("zoo_schedules")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("one-cycle", {"rise": 0.01}),
        ("one-cycle", {"rise": 0.9}),
        ("warmup-stable-decay", {"decay": 0.0}),
        ("warmup-stable-decay", {"decay": 1.0, "shape": "linear"}),
        ("warmup-stable-decay", {"shape": "cosine", "end": 0.1}),
        ("cosine", {"end": 1.0}),
    ],
)
def test_options_keep_the_contract(name, options):
    check_schedule(SPECS[name], options=options)


@pytest.mark.parametrize("name", ["cosine", "linear"])
def test_a_falling_rate_is_half_in_the_middle_and_ends_where_it_shall(name):
    assert factors_of(name)[50] == pytest.approx(0.5)
    assert factors_of(name, steps=1000, end=0.2)[-1] == pytest.approx(0.2, abs=1e-3)


def test_one_cycle_is_that_of_torch():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=1000)
    rates = []
    for _ in range(999):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()
    assert factors_of("one-cycle", steps=1000)[:999] == pytest.approx(rates, abs=0.01)


def test_a_stable_rate_falls_in_the_last_steps_only():
    for shape in ("1-sqrt", "linear", "cosine"):
        factors = factors_of("warmup-stable-decay", shape=shape)
        assert factors[:81] == [1.0] * 81
        assert sorted(factors[80:], reverse=True) == factors[80:]
        assert 0 < factors[-1] < 0.06
    fast, steady = (factors_of("warmup-stable-decay", shape=shape)[85] for shape in ("1-sqrt", "linear"))
    assert fast < steady
