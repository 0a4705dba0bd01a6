"""The contract of a check of the installation."""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING

from zoo.models.random_state import restore_random_states
from zoo.plugins.calls import resolve_callable
from zoo.plugins.faults import findings_fault
from zoo.plugins.specs import CHECK_SECONDS
from zoo.testing.contract import Contract

if TYPE_CHECKING:
    from zoo.plugins.specs import CheckSpec


@restore_random_states()
def check_findings(spec: CheckSpec) -> None:
    """Runs a check of the installation, and checks its findings.

    Args:
        spec: The check, as returned by the hook ``zoo_checks``.

    Raises:
        AssertionError: The check violates its contract; the message says what the contract requires.
    """
    contract = Contract(f"check {spec.name}")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        findings = contract.call_within(CHECK_SECONDS, "run()", resolve_callable(spec.run))
    contract.require(not printed.getvalue(), f"run() must print nothing; it printed {printed.getvalue()!r:.80}")
    fault = findings_fault(findings, subject="run()")
    contract.require(not fault, fault)
