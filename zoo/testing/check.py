"""The contract of a check of the installation."""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING

from zoo.models.random_state import restore_random_states
from zoo.plugins.calls import resolve_callable
from zoo.plugins.specs import Finding
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
    with contract.calling("run()"), contextlib.redirect_stdout(printed):
        findings = resolve_callable(spec.run)()
    contract.require(not printed.getvalue(), f"run() must print nothing; it printed {printed.getvalue()!r:.80}")
    contract.require(
        isinstance(findings, list) and bool(findings) and all(isinstance(each, Finding) for each in findings),
        "run() must return a list of zoo.Finding, at least one",
    )
    for finding in findings:
        contract.require(
            finding.status in ("ok", "warning", "problem"),
            f"the status of a finding must be ok, warning or problem; that of '{finding.about}' is {finding.status!r}",
        )
        contract.require(
            finding.status != "problem" or bool(finding.advice), f"the problem '{finding.about}' must come with advice"
        )
