import itertools
import math

import pytest
from fakes import FakePlugin, make_choice, make_registry

import zoo
from zoo.errors import ConfigError, PluginError
from zoo.plugins.kinds import SCHEDULE
from zoo.training.schedule import check_rates, factor_fault, make_rate_factor


def choose(factor, **values):
    plugin = FakePlugin()
    plugin.zoo_schedules = zoo.hookimpl(lambda: [zoo.ScheduleSpec(name="mine", factor=factor, **values)])
    return make_registry(plugin).choose(SCHEDULE, "mine", {})


def factors_of(name, *, steps=100, warmup=0.1, **options):
    factor = make_rate_factor(make_choice(SCHEDULE, name, **options), warmup=warmup)
    return [factor(step, steps) for step in range(steps)]


@pytest.mark.parametrize("name", ["constant", "cosine", "linear", "warmup-stable-decay"])
def test_the_rate_rises_linearly_in_the_warmup_and_not_after_it(name):
    factors = factors_of(name)
    assert factors[:11] == pytest.approx([(step + 1) / 11 for step in range(11)])
    assert all(later <= earlier for earlier, later in itertools.pairwise(factors[10:]))
    assert factors[10] == 1.0
    assert factors[-1] > 0


def test_a_schedule_that_warms_up_itself_gets_all_steps():
    assert factors_of("one-cycle") == factors_of("one-cycle", warmup=0.0)


@pytest.mark.parametrize("warmup", [0.0, 0.07, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("steps", [1, 2, 3, 57, 250])
def test_constant_cosine_and_linear_have_the_rates_that_they_always_had(steps, warmup):
    def expected(step, name):
        warmup_steps = round(warmup * steps)
        if step < warmup_steps:
            return (step + 1) / (warmup_steps + 1)
        if name == "constant":
            return 1.0
        done = (step - warmup_steps) / max(1, steps - warmup_steps)
        return 1 - done if name == "linear" else (1 + math.cos(math.pi * done)) / 2

    for name in ("constant", "cosine", "linear"):
        found = factors_of(name, steps=steps, warmup=warmup)
        assert found == [expected(step, name) for step in range(steps)]  # bit for bit
        assert all(0 < factor <= 1 for factor in found)


@pytest.mark.parametrize(
    ("factor", "reason"),
    [
        (lambda step, steps, options: float("nan"), "it returned nan, not a finite number from 0"),
        (lambda step, steps, options: -0.1, "it returned -0.1, not a finite number from 0"),
        (lambda step, steps, options: "1", "it returned str, not a number"),
        (lambda step, steps, options: 1 / (steps - 1 - step), "ZeroDivisionError: "),
        ("zoo_no_such_module:factor", "ImportError: cannot import 'zoo_no_such_module:factor'"),
    ],
)
def test_a_schedule_that_fails_is_named_before_the_training_begins(factor, reason):
    with pytest.raises(PluginError, match=r"The plugin fake:fake failed while computing the rate of step ") as caught:
        check_rates(choose(factor), steps=20, warmup=0.1)
    assert "by 'mine': " in caught.value.message
    assert reason in caught.value.message


def test_an_error_for_the_user_stays_as_it_is():
    def refuse(step, steps, options):
        raise ConfigError("Too few steps.")

    with pytest.raises(ConfigError, match="Too few steps"):
        check_rates(choose(refuse), steps=20, warmup=0.0)


def test_only_finite_numbers_from_zero_are_factors():
    assert [factor_fault(value) for value in (0, 1, 0.5, 10.0)] == [""] * 4
    assert all(factor_fault(value) for value in (True, None, -1, float("inf")))
