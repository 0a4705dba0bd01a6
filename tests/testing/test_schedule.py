import itertools
import random

import pytest
from contract_offers import violation

import zoo
from zoo.testing import check_schedule

counter = itertools.count()


def spec(factor, **values):
    return zoo.ScheduleSpec(name="mine", factor=factor, **values)


def test_a_good_schedule_passes():
    check_schedule(spec(lambda step, steps, options: 1 - step / steps))


@pytest.mark.parametrize(
    ("factor", "values", "sentence"),
    [
        (
            lambda step, steps, options: None,
            {},
            "factor(0, 1) must return a finite number from 0, but it returned NoneT",
        ),
        (lambda step, steps, options: float("nan"), {}, "but it returned nan"),
        (lambda step, steps, options: float("inf"), {}, "but it returned inf"),
        (lambda step, steps, options: 1 - 2 * step / steps, {}, "factor(2, 3) must return a finite number from 0"),
        (lambda step, steps, options: 1 / next(counter), {}, "factor() must return the same for the same arguments"),
        (lambda step, steps, options: step / (steps - 1), {}, "factor(0, 1) raised ZeroDivisionError"),
        (lambda step, steps, options: 1 / (999 - step), {}, "factor(999, 1000) raised ZeroDivisionError"),
        (lambda step, steps, options: 0.0, {}, "factor() must be above 0 at some of 1 steps"),
        (lambda step, steps, options: 1.0, {"warms_up": True}, "factor() must rise from the first step"),
        (lambda step, steps, options: 1.0 + 0 * random.random(), {}, "factor() must not draw from the global"),
        (lambda step, steps: 1.0, {}, "factor(0, 1) raised TypeError"),
    ],
)
def test_a_mistake_is_named(factor, values, sentence):
    next(counter)
    message = violation(lambda: check_schedule(spec(factor, **values)))
    assert message.startswith("schedule mine: ")
    assert sentence in message
