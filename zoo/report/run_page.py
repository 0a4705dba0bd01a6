"""The report of a run as one HTML file, which may be attached to the model, mailed and printed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo.display.scores import read_score
from zoo.report.pages import check_page_target, write_page
from zoo.report.run_sections import make_sections

if TYPE_CHECKING:
    from pathlib import Path

    from zoo.report.run_input import ReportInput

_MARK = "<!doctype html><!-- zoo report -->"  # how the template begins


def write_run_page(target: Path, content: ReportInput) -> Path:
    """Writes a page; replaces an earlier one, but no other file.

    Raises:
        DataError: `target` exists and is not such a page.
        RunError: The file cannot be written.
    """
    run, record = content.run, content.run.record
    score = read_score(run.results, "test") or read_score(run.results, "val")
    kind = "multi-label classifier" if record.multi_label else "classifier"
    return write_page(
        target,
        "run_report.html",
        mark=_MARK,
        title=run.name,
        score="" if score is None else f"{score.name} {score}",
        summary=f"An image {kind} with {len(record.classes):,} classes: {record.backbone}, fine-tuned on "
        f"{record.data.name or 'photos'}.",
        written=f"Trained {record.created[:10]}; report of {content.written}, finetune-zoo {content.version}.",
        sections=make_sections(content),
    )


def check_run_page_target(target: Path) -> None:
    """Checks that a page may be written to a file; raises as `write_run_page` does."""
    check_page_target(target, _MARK)
