import json
import sys

import pytest

import zoo.cli.doctor
from zoo import CheckSpec, Finding, hookimpl
from zoo.display import console

LONG = "this finding has so many words that they do not fit in a single line of a terminal and have to be wrapped"


@pytest.fixture
def found(monkeypatch, plugins):
    """Replaces the checks of the core; a test may add findings."""
    findings = [Finding(about="Python", status="ok", text="3.12.1")]
    monkeypatch.setattr(zoo.cli.doctor, "CHECKS", (CheckSpec(name="machine", run=lambda: findings),))
    return findings


def test_without_problems_the_exit_code_is_0(run_zoo, found):
    code, out, err = run_zoo("doctor")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "ok       Python          3.12.1",
        "ok       plugins         5 loaded",
        "",
        "2 ok, no warnings, no problems",
    ]


def test_a_warning_has_its_advice_below_and_is_not_a_failure(run_zoo, found, plugins, opener):
    plugins.append(opener)
    found.append(Finding(about="memory", status="warning", text="1.0 GiB", advice="Close other programs."))
    code, out, _ = run_zoo("doctor")
    assert code == 0
    assert "warning  memory          1.0 GiB\n                         -> Close other programs.\n" in out
    assert "ok       boxes           There are some.\n" in out
    assert out.endswith("\n3 ok, 1 warning, no problems\n")


def test_a_problem_fails_and_so_does_a_check_that_raises(run_zoo, found, plugins, broken):
    class Raising:
        @staticmethod
        @hookimpl
        def zoo_checks():
            return [CheckSpec(name="odd", run=lambda: sys.exit(3))]

    plugins += [broken, plugins[0].__class__(entry="odd", distribution="acme", version="1", load=lambda: Raising)]
    code, out, _ = run_zoo("doctor")
    assert code == 1
    assert "problem  acme:broken     The plugin failed: ImportError: No module named 'acme_core'" in out
    assert (
        "problem  odd             The plugin acme:odd failed while checking the set-up for 'odd': SystemExit: 3" in out
    )
    assert out.endswith("2 problems\n")


def test_quiet_prints_only_warnings_and_problems(run_zoo, found):
    found.append(Finding(about="memory", status="warning", text="1.0 GiB", advice="Close other programs."))
    out = run_zoo("doctor", "--quiet").out
    assert out == "warning  memory          1.0 GiB\n                         -> Close other programs.\n"


def test_json_names_the_check(run_zoo, found, plugins, opener):
    plugins.append(opener)
    findings = json.loads(run_zoo("doctor", "--json").out)
    assert [finding["check"] for finding in findings] == ["machine", "plugins", "acme/box"]
    assert findings[0] == {"check": "machine", "about": "Python", "status": "ok", "text": "3.12.1", "advice": ""}


def test_on_a_terminal_nothing_is_wider_than_it(run_zoo, found, monkeypatch):
    monkeypatch.setattr(console, "on_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    found.append(Finding(about="a name that is long", status="problem", text=LONG, advice=LONG))
    lines = run_zoo("doctor").out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[1] == "problem  a name that is long"
    assert " ".join(line.strip() for line in lines[2:7]).replace("-> ", "").startswith(LONG)
