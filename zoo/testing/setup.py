"""The contracts of what opens files, and of what checks a set-up."""

from __future__ import annotations

import contextlib
import io
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import ZooError
from zoo.plugins.calls import resolve_callable
from zoo.plugins.specs import Finding, FormatRequest
from zoo.testing.subject import Subject

if TYPE_CHECKING:
    from zoo.plugins.specs import CheckSpec, FormatSpec

_BROKEN = {"empty": b"", "zeros": bytes(64), "text": b"no model at all\n", "noise": bytes(range(256)) * 4}


def check_format(spec: FormatSpec) -> None:
    """Checks that a format answers files which are broken, or missing, with a `ZooError` and nothing else.

    Args:
        spec: As the hook ``zoo_formats`` offers it.

    Raises:
        AssertionError: The contract is broken; the sentence says what it wants.
    """
    subject = Subject(f"format {spec.name}")
    with tempfile.TemporaryDirectory() as folder:
        for suffix in spec.suffixes:
            for name, content in _BROKEN.items():
                path = Path(folder) / f"{name}{suffix}"
                path.write_bytes(content)
                _check_refused(subject, spec, path, f"a file of {name}")
            _check_refused(subject, spec, Path(folder) / f"missing{suffix}", "a file that is not there")


def _check_refused(subject: Subject, spec: FormatSpec, path: Path, what: str) -> None:
    try:
        resolve_callable(spec.load)(FormatRequest(path=path, device="cpu"))
    except ZooError:
        return
    except Exception as error:
        raise AssertionError(
            f"{subject.name}: load() must answer {what} with a ZooError, not {type(error).__name__}: {error}"
        ) from error
    subject.want(False, f"load() must answer {what} with a ZooError, not open it")


def check_findings(spec: CheckSpec) -> None:
    """Runs a check of the set-up, and checks what it returns.

    Args:
        spec: As the hook ``zoo_checks`` offers it.

    Raises:
        AssertionError: The contract is broken; the sentence says what it wants.
    """
    subject = Subject(f"check {spec.name}")
    printed = io.StringIO()
    with subject.calling("run()"), contextlib.redirect_stdout(printed):
        findings = resolve_callable(spec.run)()
    subject.want(not printed.getvalue(), f"run() must print nothing, not {printed.getvalue()!r:.80}")
    subject.want(
        isinstance(findings, list) and bool(findings) and all(isinstance(each, Finding) for each in findings),
        "run() must return a list of Finding, at least one",
    )
    for finding in findings:
        subject.want(finding.status in ("ok", "warning", "problem"), f"there is no status {finding.status!r}")
        subject.want(
            finding.status != "problem" or bool(finding.advice), f"the problem '{finding.about}' must come with advice"
        )
