"""The dataset doctor's report as one HTML file, with the photos in question side by side.

The file embeds its photos, runs no script and makes no requests. Its policy also forbids scripts and requests that the
name of a file or class might smuggle in.
"""

from __future__ import annotations

import base64
import functools
import io
from typing import TYPE_CHECKING

import jinja2

from zoo.data.check.report import LEVELS
from zoo.data.images.decode import open_image
from zoo.errors import DataError, ImageError
from zoo.utils.files import atomic_write
from zoo.utils.text import printable

if TYPE_CHECKING:
    from pathlib import Path

    from zoo.data.check.report import DataReport

_SIDE = 224  # pixels of the longer side of a photo
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
    check_html_target(target)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("zoo.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["printable"] = printable
    page = environment.get_template("data_check.html").render(
        report=report,
        levels=LEVELS,
        rows=report.count_table()[:_MAX_CLASSES],
        limits=_LIMITS,
        thumbnail=functools.lru_cache(maxsize=1024)(_thumbnail),
    )
    with atomic_write(target) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return target


def check_html_target(target: Path) -> None:
    """Checks that a page may be written to a file.

    Raises:
        DataError: It exists and is not a page that `write_html_report` wrote.
    """
    if target.exists() and not _is_page(target):
        raise DataError(f"{target} exists and is not a report of zoo data check.", hint="Pass another file name.")


def _thumbnail(source: Path | bytes) -> str:
    """Returns a photo as a small JPEG in base64, or an empty string if it cannot be read."""
    try:
        image = open_image(source, min_side=_SIDE, approximate=True)
    except ImageError:
        return ""
    image.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _is_page(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_MARK)) == _MARK.encode()
    except OSError:
        return False
