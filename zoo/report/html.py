"""The dataset doctor's report as one HTML file, with the photos in question side by side.

The file embeds its photos, runs no script and makes no requests. Its policy also forbids scripts and requests that the
name of a file or class might smuggle in.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from zoo.data.check.report import LEVELS
from zoo.report.pages import check_page_target, encode_thumbnail, write_page

if TYPE_CHECKING:
    from pathlib import Path

    from zoo.data.check.report import DataReport

_LIMITS = {"problem": 100, "warning": 60, "note": 12}  # pairs or photos per finding
_MAX_CLASSES = 200
# How the template begins.
_MARK = "<!doctype html><!-- zoo data check -->"


def write_html_report(target: Path, report: DataReport) -> Path:
    """Writes a page that shows the findings; replaces an earlier page, but no other file.

    Args:
        target: The file to write.
        report: The result of `zoo.data.check.examine`.

    Returns:
        `target`. The page shows at most 100 pairs or photos per finding, and says how many more there are.

    Raises:
        DataError: `target` exists and is not such a page.
        RunError: The file cannot be written.
    """
    return write_page(
        target,
        "data_check.html",
        mark=_MARK,
        report=report,
        levels=LEVELS,
        rows=report.count_table()[:_MAX_CLASSES],
        limits=_LIMITS,
        thumbnail=functools.lru_cache(maxsize=1024)(encode_thumbnail),
    )


def check_html_target(target: Path) -> None:
    """Checks that a page may be written to a file.

    Raises:
        DataError: It exists and is not a page that `write_html_report` wrote.
    """
    check_page_target(target, _MARK)
