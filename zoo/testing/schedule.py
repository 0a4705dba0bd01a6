"""The contract of a learning-rate schedule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from zoo.models.random_state import restore_random_states
from zoo.plugins.calls import resolve_callable
from zoo.testing.contract import Contract, check_options, describe_random_states
from zoo.training.schedule import factor_fault

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zoo.plugins.specs import ScheduleSpec

LENGTHS = (1, 2, 3, 10, 1000)  # steps of the trainings that are tried


@restore_random_states()
def check_schedule(spec: ScheduleSpec, *, options: Mapping[str, Any] | None = None) -> None:
    """Checks a schedule on trainings of 1 to 1000 steps.

    Args:
        spec: The schedule.
        options: Values of its options; those that are missing keep their defaults.

    Raises:
        AssertionError: The schedule violates its contract; the message says what the contract requires.
    """
    contract = Contract(f"schedule {spec.name}")
    instance = check_options(contract, spec.options, options or {})
    states = describe_random_states(torch.device("cpu"))
    for steps in LENGTHS:
        factors = [_factor(contract, spec, step, steps, instance) for step in range(steps)]
        contract.require(any(factors), f"factor() must be above 0 at some of {steps} steps, or nothing is trained")
        again = [_factor(contract, spec, step, steps, instance) for step in reversed(range(steps))][::-1]
        changed = next((step for step in range(steps) if factors[step] != again[step]), None)
        contract.require(
            changed is None,
            f"factor() must return the same for the same arguments, in any order; for step {changed} of {steps} it did "
            "not",
        )
        contract.require(
            not spec.warms_up or steps < LENGTHS[-1] or factors[0] < max(factors),
            f"factor() must rise from the first step, as its warms_up says; it begins with {factors[0]:g}, its highest",
        )
    contract.require(
        describe_random_states(torch.device("cpu")) == states, "factor() must not draw from the global generators"
    )


def _factor(contract: Contract, spec: ScheduleSpec, step: int, steps: int, options: Any) -> float:
    what = f"factor({step}, {steps})"
    with contract.calling(what):
        value: Any = resolve_callable(spec.factor)(step, steps, options)
    fault = factor_fault(value)
    contract.require(not fault, f"{what} must return a finite number from 0, but it returned {fault}")
    return float(value)
