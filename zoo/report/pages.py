"""HTML pages of one file: with their pictures inside, without scripts, and without requests."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

import jinja2

from zoo.data.images.decode import open_image
from zoo.errors import DataError, ImageError
from zoo.utils.files import atomic_write
from zoo.utils.text import printable

if TYPE_CHECKING:
    from pathlib import Path

_SIDE = 224  # pixels of the longer side of a photo


def write_page(target: Path, template: str, *, mark: str, **values: Any) -> Path:
    """Renders a template of this package into a file, in which every value is escaped.

    Args:
        target: The file; an earlier page of the kind is replaced.
        template: Name of the template, which begins with the mark.
        mark: What all pages of the kind begin with.
        **values: The values of the template.

    Raises:
        DataError: The file exists and is no page of the kind.
        RunError: The file cannot be written.
    """
    check_page_target(target, mark)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("zoo.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["printable"] = printable
    page = environment.get_template(template).render(values)
    with atomic_write(target) as temporary:
        # Names of files need not be text.
        temporary.write_bytes(page.encode("utf-8", "backslashreplace"))
    return target


def check_page_target(target: Path, mark: str) -> None:
    """Checks that a page may be written to a file.

    Raises:
        DataError: It exists and does not begin as a page of the kind does.
    """
    if target.exists() and not _begins_with(target, mark):
        kind = mark.partition("<!-- ")[2].removesuffix(" -->")
        raise DataError(f"{target} exists and is not a report of {kind}.", hint="Pass another file name.")


def encode_thumbnail(source: Path | bytes) -> str:
    """Returns a photo as a small JPEG in base64, or an empty string if it cannot be read."""
    try:
        image = open_image(source, min_side=_SIDE, approximate=True)
    except ImageError:
        return ""
    image.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _begins_with(path: Path, mark: str) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(mark)) == mark.encode()
    except OSError:
        return False
