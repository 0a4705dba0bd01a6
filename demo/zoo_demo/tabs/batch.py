"""The tab on which many photos, or archives of them, become a table and a CSV file."""

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
from zoo_demo.asking import PRIVATE, ask, chosen, pick_model
from zoo_demo.photo_input import sent_file
from zoo_demo.plain import plain
from zoo_demo.refusal import Refusal
from zoo_demo.scratch import scratch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from zoo.inference.predictor import Prediction
    from zoo_demo.offer import Offer
    from zoo_demo.served import Served

    Outcome = Prediction | ImageError

_AT_ONCE = 32
_MOST_PHOTOS = 10_000
_SHOWN = 500
_HEADERS = ["photo", "says", "probability"]


def build(offer: Offer, page: gr.Blocks, tab: gr.Tab) -> None:
    """Builds the tab."""
    model = pick_model(offer, page, tab)
    files = gr.Files(label="Photos, or ZIP files of photos", height=180)
    button = gr.Button("Classify all", variant="primary")
    told = gr.Markdown(elem_classes="zoo-facts")
    table = gr.Dataframe(
        headers=_HEADERS,
        label="What the model says",
        interactive=False,
        wrap=True,
        max_height=420,
        column_widths=["30%", "40%", "30%"],
    )
    download = gr.DownloadButton("Download the table as CSV", visible=False)

    async def classify(
        paths: list[str] | None,
        name: str,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - gradio looks for it here
    ) -> tuple[str, list[list[str]], str]:
        if not paths:
            raise Refusal("Choose photos first.", title="No photos")
        served = chosen(offer, name)
        places = list(_places([sent_file(path) for path in paths]))
        outcomes: list[Outcome] = []
        for start in range(0, len(places), _AT_ONCE):
            progress((start, len(places)), desc="Classifying", unit="photos")
            outcomes += await _classified(served, places[start : start + _AT_ONCE])
        rows = [_row(place.name, outcome) for place, outcome in zip(places, outcomes, strict=True)]
        file = _write_csv([place.name for place in places], outcomes, served.predictor.classes)
        return _summary(places, outcomes), rows[:_SHOWN], file

    done = button.click(
        classify,
        [files, model],
        [told, table, download],
        show_progress_on=table,
        api_name="batch",
        concurrency_limit=2,
    )
    done.success(lambda: gr.DownloadButton(visible=True), None, download, **PRIVATE)


class _Place(NamedTuple):
    """Where a photo lies: in a file of its own, or as a member of an archive."""

    name: str
    file: Path
    member: str | None = None


def _places(paths: Sequence[str]) -> Iterator[_Place]:
    """Yields the place of every photo; members of archives are read where they lie, nothing is unpacked to disk."""
    count = 0
    for file in map(Path, paths):
        found = list(_members(file)) if zipfile.is_zipfile(file) else [_Place(file.name, file)]
        count += len(found)
        if count > _MOST_PHOTOS:
            raise Refusal(f"More than {_MOST_PHOTOS:,} photos: use 'zoo predict' on a folder.", title="Too many")
        yield from found


def _members(file: Path) -> Iterator[_Place]:
    with zipfile.ZipFile(file) as archive:
        for info in sorted(archive.infolist(), key=lambda info: info.filename):
            path = PurePosixPath(info.filename)
            hidden = any(part.startswith((".", "__MACOSX")) and part != ".." for part in path.parts)
            if path.suffix.lower() in IMAGE_SUFFIXES and not info.is_dir() and not hidden:
                yield _Place(f"{file.name}/{info.filename}", file, info.filename)


async def _classified(served: Served, places: Sequence[_Place]) -> list[Outcome]:
    contents = [_content(place) for place in places]
    photos = [(p.name, c) for p, c in zip(places, contents, strict=True) if not isinstance(c, ImageError)]
    told = iter((await ask(served, photos)).outcomes)
    return [each if isinstance(each, ImageError) else next(told) for each in contents]


def _content(place: _Place) -> Path | bytes | ImageError:
    if place.member is None:
        return place.file
    try:
        with zipfile.ZipFile(place.file) as archive, archive.open(place.member) as stream:
            return stream.read(MAX_BYTES + 1)  # one byte more than the image entrance lets through: a bomb ends there
    except (zipfile.BadZipFile, RuntimeError, OSError, EOFError, zlib.error) as error:  # RuntimeError: it is encrypted
        return ImageError(f"{place.name}: it cannot be unpacked: {error}.", hint="Make the archive again.")


def _row(name: str, outcome: Outcome) -> list[str]:
    if isinstance(outcome, ImageError):
        return [name, outcome.message.removeprefix(f"{name}: "), ""]
    return [name, outcome.label, f"{outcome.probability:.1%}"]


def _summary(places: Sequence[_Place], outcomes: Sequence[Outcome]) -> str:
    failed = sum(isinstance(outcome, ImageError) for outcome in outcomes)
    counts = Counter(outcome.label for outcome in outcomes if not isinstance(outcome, ImageError))
    parts = [f"**{count}** {plain(label)}" for label, count in counts.most_common(10)]
    if failed:
        parts.append(f"**{failed}** could not be read")
    shown = f" The table shows the first {_SHOWN}; the file has all." if len(places) > _SHOWN else ""
    photos = "1 photo" if len(places) == 1 else f"{len(places)} photos"
    return f"{photos}: {', '.join(parts)}.{shown}"


def _write_csv(names: Sequence[str], outcomes: Sequence[Outcome], classes: Sequence[str]) -> str:
    file = scratch() / "tables" / uuid.uuid4().hex / "predictions.csv"
    file.parent.mkdir(parents=True)
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(map(_harmless, ["photo", "label", "probability", *classes, "error"]))
        for name, outcome in zip(names, outcomes, strict=True):
            if isinstance(outcome, ImageError):
                writer.writerow([_harmless(name), "", "", *[""] * len(classes), _harmless(outcome.message)])
            else:
                by_class = [f"{outcome.probabilities[each]:.6f}" for each in classes]
                writer.writerow(
                    [_harmless(name), _harmless(outcome.label), f"{outcome.probability:.6f}", *by_class, ""]
                )
    return str(file)


def _harmless(cell: str) -> str:
    """Returns a cell that no spreadsheet takes for a formula (OWASP, CSV injection): names of files are strangers'."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell
