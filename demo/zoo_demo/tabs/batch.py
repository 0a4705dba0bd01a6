"""The tab that classifies many photos, or archives of them, into a table and a CSV file."""

from __future__ import annotations

import csv
import uuid
import zipfile
import zlib
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

import gradio as gr

from zoo.data.images.decode import MAX_BYTES
from zoo.data.sources.folder import IMAGE_SUFFIXES
from zoo.errors import ImageError
from zoo_demo.page.handlers import PRIVATE, UserError, escape_markup, predict_photos, require_model, select_model
from zoo_demo.page.uploads import uploaded_file
from zoo_demo.temp_files import temp_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from zoo_demo.models.model_pool import ModelPool
    from zoo_demo.models.served_model import Outcome, ServedModel

_BATCH = 32
_MAX_PHOTOS = 10_000
_MAX_ROWS = 500  # in the table
_HEADERS = ["photo", "prediction", "probability"]


def build(pool: ModelPool, page: gr.Blocks, tab: gr.Tab) -> None:
    """Builds the tab."""
    choice = select_model(pool, page, tab)
    uploads = gr.Files(label="Photos, or ZIP archives of photos", height=180)
    button = gr.Button("Classify all", variant="primary")
    summary = gr.Markdown(elem_classes="zoo-facts")
    table = gr.Dataframe(
        headers=_HEADERS,
        label="Predictions",
        interactive=False,
        wrap=True,
        max_height=420,
        column_widths=["30%", "40%", "30%"],
    )
    download = gr.DownloadButton("Download CSV", visible=False)

    async def classify(
        files: list[str] | None,
        model: str,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - gradio looks for it here
    ) -> tuple[str, list[list[str]], str]:
        if not files:
            raise UserError("Add photos first.", title="No photos")
        served = require_model(pool, model)
        photos = list(_find_photos([uploaded_file(file) for file in files]))
        outcomes: list[Outcome] = []
        for start in range(0, len(photos), _BATCH):
            progress((start, len(photos)), desc="Classifying", unit="photos")
            outcomes += await _classify(served, photos[start : start + _BATCH])
        rows = [_row(photo.name, outcome) for photo, outcome in zip(photos, outcomes, strict=True)]
        file = _write_csv([photo.name for photo in photos], outcomes, served.predictor.classes)
        return _summarize(outcomes), rows[:_MAX_ROWS], file

    classified = button.click(
        classify,
        [uploads, choice],
        [summary, table, download],
        show_progress_on=table,
        api_name="batch",
        concurrency_limit=2,
    )
    classified.success(lambda: gr.DownloadButton(visible=True), None, download, **PRIVATE)


class _PhotoFile(NamedTuple):
    """A photo in a file of its own, or a member of an archive."""

    name: str
    file: Path
    member: str | None = None


def _find_photos(paths: Sequence[str]) -> Iterator[_PhotoFile]:
    """Yields every photo. Archives are read in place; nothing is unpacked to disk."""
    count = 0
    for file in map(Path, paths):
        found = list(_members(file)) if zipfile.is_zipfile(file) else [_PhotoFile(file.name, file)]
        count += len(found)
        if count > _MAX_PHOTOS:
            message = f"There are more than {_MAX_PHOTOS:,} photos. Use 'zoo predict FOLDER' instead."
            raise UserError(message, title="Too many photos")
        yield from found


def _members(file: Path) -> Iterator[_PhotoFile]:
    with zipfile.ZipFile(file) as archive:
        for info in sorted(archive.infolist(), key=lambda info: info.filename):
            path = PurePosixPath(info.filename)
            hidden = any(part.startswith((".", "__MACOSX")) and part != ".." for part in path.parts)
            if path.suffix.lower() in IMAGE_SUFFIXES and not info.is_dir() and not hidden:
                yield _PhotoFile(f"{file.name}/{info.filename}", file, info.filename)


async def _classify(model: ServedModel, photos: Sequence[_PhotoFile]) -> list[Outcome]:
    contents = [_read(photo) for photo in photos]
    readable = [(p.name, c) for p, c in zip(photos, contents, strict=True) if not isinstance(c, ImageError)]
    outcomes = iter((await predict_photos(model, readable)).outcomes)
    return [each if isinstance(each, ImageError) else next(outcomes) for each in contents]


def _read(photo: _PhotoFile) -> Path | bytes | ImageError:
    if photo.member is None:
        return photo.file
    try:
        with zipfile.ZipFile(photo.file) as archive, archive.open(photo.member) as stream:
            return stream.read(MAX_BYTES + 1)  # one byte more than the decoder accepts: stops decompression bombs
    except (zipfile.BadZipFile, RuntimeError, OSError, EOFError, zlib.error) as error:  # RuntimeError: encrypted
        return ImageError(f"{photo.name}: it cannot be unpacked: {error}.", hint="Create the archive again.")


def _row(name: str, outcome: Outcome) -> list[str]:
    if isinstance(outcome, ImageError):
        return [name, outcome.message.removeprefix(f"{name}: "), ""]
    return [name, outcome.label, f"{outcome.probability:.1%}"]


def _summarize(outcomes: Sequence[Outcome]) -> str:
    failed = sum(isinstance(outcome, ImageError) for outcome in outcomes)
    counts = Counter(outcome.label for outcome in outcomes if not isinstance(outcome, ImageError))
    parts = [f"**{count}** {escape_markup(label)}" for label, count in counts.most_common(10)]
    if failed:
        parts.append(f"**{failed}** unreadable")
    more = f" The table shows the first {_MAX_ROWS}; the CSV file contains all." if len(outcomes) > _MAX_ROWS else ""
    photos = "1 photo" if len(outcomes) == 1 else f"{len(outcomes)} photos"
    return f"{photos}: {', '.join(parts)}.{more}"


def _write_csv(names: Sequence[str], outcomes: Sequence[Outcome], classes: Sequence[str]) -> str:
    file = temp_folder() / "tables" / uuid.uuid4().hex / "predictions.csv"
    file.parent.mkdir(parents=True)
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(map(_escape_formula, ["photo", "label", "probability", *classes, "error"]))
        for name, outcome in zip(names, outcomes, strict=True):
            if isinstance(outcome, ImageError):
                cells = [name, "", "", *[""] * len(classes), outcome.message]
            else:
                by_class = [f"{outcome.probabilities[each]:.6f}" for each in classes]
                cells = [name, outcome.label, f"{outcome.probability:.6f}", *by_class, ""]
            writer.writerow(map(_escape_formula, cells))
    return str(file)


def _escape_formula(cell: str) -> str:
    """Returns a cell that no spreadsheet evaluates: file names may be an attacker's.

    Source: https://owasp.org/www-community/attacks/CSV_Injection
    """
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell
