from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from contract_offers import violation
from plugin_helpers import raising

import zoo
from zoo.testing import check_findings

if TYPE_CHECKING:
    from collections.abc import Callable


def check_spec(run: Callable[[], Any]) -> zoo.CheckSpec:
    return zoo.CheckSpec(name="net", run=run)


def finding(status: Any, advice: str = "") -> zoo.Finding:
    return zoo.Finding(about="speed", status=status, text="It is there.", advice=advice)


def test_a_good_check_passes() -> None:
    check_findings(check_spec(lambda: [finding("ok"), finding("warning"), finding("problem", "Buy a faster one.")]))


@pytest.mark.parametrize(
    ("run", "sentence"),
    [
        (list, "run() must return a list of zoo.Finding, at least one"),
        (lambda: None, "run() must return a list of zoo.Finding"),
        (lambda: ["ok"], "run() must return a list of zoo.Finding"),
        (raising(ZeroDivisionError("no")), "run() raised ZeroDivisionError: no"),
        (lambda: print("hm"), "run() must print nothing; it printed 'hm"),
        (lambda: [finding("bad")], "must be ok, warning or problem; that of 'speed' is 'bad'"),
        (lambda: [zoo.Finding(about="speed", status="ok", text=None)], "'text' of a finding must be text; it is None"),  # type: ignore[arg-type]
        (raising(SystemExit(3)), "run() raised SystemExit: 3"),
        (lambda: [finding("problem")], "the problem 'speed' must come with advice"),
    ],
)
def test_a_broken_check_is_refused(run: Callable[[], Any], sentence: str) -> None:
    message = violation(lambda: check_findings(check_spec(run)))
    assert message.startswith("check net: ")
    assert sentence in message
