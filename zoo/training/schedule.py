"""The learning rate as a pure function of the step: a linear warmup, then the schedule of a plugin."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from zoo.errors import ZooError
from zoo.plugins.calls import plugin_failure, resolve_callable

if TYPE_CHECKING:
    from collections.abc import Callable

    from zoo.plugins.registry import Choice
    from zoo.plugins.specs import ScheduleSpec

    RateFactor = Callable[[int, int], float]  # of a step, from 0, and the number of all steps


def constant_rate(step: int, steps: int) -> float:
    """Returns 1: the rate stays the same."""
    return 1.0


def with_warmup(factor: RateFactor, warmup: float) -> RateFactor:
    """Returns a schedule that is preceded by a linear rise from near 0 to 1.

    Args:
        factor: The schedule, for the steps that follow.
        warmup: Share of all steps in which the factor rises.
    """

    def warmed(step: int, steps: int) -> float:
        rising = round(warmup * steps)
        return (step + 1) / (rising + 1) if step < rising else factor(step - rising, steps - rising)

    return warmed


def make_rate_factor(choice: Choice[ScheduleSpec], *, warmup: float) -> RateFactor:
    """Returns the factor on the learning rate at a step, as a function of the step and the number of all steps.

    The function raises a `PluginError` if the schedule fails, or returns anything but a finite number from 0.

    Args:
        choice: The schedule, with its options.
        warmup: Share of all steps in which the factor rises, unless the schedule warms up itself.
    """
    spec, plugin, options = choice.spec, choice.offer.plugin, choice.options
    function = resolve_callable(spec.factor)

    def factor(step: int, steps: int) -> float:
        try:
            value: object = function(step, steps, options)
        except ZooError:
            raise
        except Exception as error:
            raise plugin_failure(plugin, _describe(spec, step, steps), error) from error
        if fault := factor_fault(value):
            raise plugin_failure(plugin, _describe(spec, step, steps), f"it returned {fault}")
        return float(value)  # type: ignore[arg-type]

    return factor if spec.warms_up else with_warmup(factor, warmup)


def check_rates(choice: Choice[ScheduleSpec], *, steps: int, warmup: float) -> None:
    """Computes the factors of the first and the last step, so that a broken schedule ends a training before it begins.

    Raises:
        PluginError: The schedule failed.
    """
    factor = make_rate_factor(choice, warmup=warmup)
    for step in {0, steps // 2, steps - 1}:
        choice.offer.call("computing the rate of", factor, step, steps)


def factor_fault(value: object) -> str:
    """Returns what a schedule returned if that is no factor on a learning rate; otherwise an empty string."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"{type(value).__name__}, not a number"
    return "" if math.isfinite(value) and value >= 0 else f"{value}, not a finite number from 0"


def _describe(spec: ScheduleSpec, step: int, steps: int) -> str:
    return f"computing the rate of step {step + 1} of {steps} by '{spec.name}'"
