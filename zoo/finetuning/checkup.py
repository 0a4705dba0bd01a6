"""The fast part of the dataset doctor, before every training: what makes results wrong is told, and recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zoo.data.check.examine import check_fast
from zoo.events import Note, Work

if TYPE_CHECKING:
    from zoo.data.check.report import Report
    from zoo.events import Observer
    from zoo.specs import ImageSet

_MOST = 200  # pairs of a finding that the record lists; 'zoo data check' has all


def check_up(images: ImageSet, *, data: str, observer: Observer) -> Report:
    """Examines the photos of a training as `zoo.data.check.examine.check_fast` does, and tells what is wrong.

    Args:
        images: Its parts as they will be trained on.
        data: As the user wrote it.
        observer: Told of problems and warnings.
    """
    report = check_fast(images, progress=lambda what, done, total: observer(Work(what=what, done=done, total=total)))
    # Those that cannot be read are told by name, as they are decoded.
    told = [finding for finding in report.findings if finding.level != "note" and finding.kind != "unreadable"]
    for finding in told:
        observer(Note(text=finding.text, warning=True))
    if any(finding.pairs for finding in told):
        text = f"'zoo data check {data} --html page.html' shows them; with --fix it lists what to leave out."
        observer(Note(text=text))
    return report


def describe_check(report: Report) -> dict[str, Any]:
    """Returns what the run record keeps of a report: the findings, with the first of their photos."""
    return {"near": report.near, "findings": [finding.to_dict(most=_MOST) for finding in report.findings]}
