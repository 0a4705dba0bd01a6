import itertools

import pytest

from zoo.training.optimizer import rate_factor

SCHEDULES = ("constant", "cosine", "linear")


def factors(schedule, *, steps=100, warmup=0.1):
    return [rate_factor(step, steps=steps, schedule=schedule, warmup=warmup) for step in range(steps)]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_rate_climbs_on_a_line_to_its_height(schedule):
    climb = factors(schedule)[:11]
    assert climb == pytest.approx([(step + 1) / 11 for step in range(11)])


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_after_its_height_the_rate_never_rises_nor_reaches_zero(schedule):
    safe_point = factors(schedule)[10:]
    assert all(later <= earlier for earlier, later in itertools.pairwise(safe_point))
    assert safe_point[0] == 1.0
    assert safe_point[-1] > 0


def test_the_schedules_end_where_they_should():
    assert factors("constant")[-1] == 1.0
    assert factors("cosine")[-1] < 0.001
    assert factors("linear")[-1] == pytest.approx(1 / 90)


def test_a_cosine_is_at_half_height_in_the_middle():
    assert rate_factor(50, steps=100, schedule="cosine", warmup=0.0) == pytest.approx(0.5)
    assert rate_factor(50, steps=100, schedule="linear", warmup=0.0) == pytest.approx(0.5)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("warmup", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_very_short_trainings_have_rates_too(schedule, warmup, steps):
    assert all(0 < factor <= 1 for factor in factors(schedule, steps=steps, warmup=warmup))
