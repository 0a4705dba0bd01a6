"""The tab that classifies many photos, or archives of them, into a table and a CSV file."""

from __future__ import annotations

import asyncio
import functools
import uuid
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Self

import gradio as gr

from zoo.data.sources.left_out import describe_left_out
from zoo.errors import ImageError, ZooError
from zoo.inference.prediction_csv import PredictionCsv
from zoo.inference.predictor import NONE_OF_THESE
from zoo.preprocess import photos_per_batch
from zoo_demo.models.batcher import BusyError
from zoo_demo.page.handlers import PRIVATE, UserError, escape_markup, require_model, select_model, show_errors
from zoo_demo.page.uploads import uploaded_file
from zoo_demo.tabs.archives import PhotoReader, find_photos
from zoo_demo.temp_files import temp_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zoo_demo.models.model_pool import ModelPool
    from zoo_demo.models.served_model import Outcome, ServedModel
    from zoo_demo.tabs.archives import UploadedPhoto

_MAX_ROWS = 500  # in the table
_SECONDS_BETWEEN_TRIES = 0.5  # while the server is busy
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
        paths = [Path(uploaded_file(file)) for file in files]
        photos, skipped = await asyncio.to_thread(show_errors(find_photos), paths)
        left_out = describe_left_out(skipped, kept=len(photos))
        if not photos:
            raise UserError(f"There are no photos to classify. {left_out}".strip(), title="No photos")
        report = await asyncio.to_thread(
            BatchReport,
            served.predictor.classes,
            multi_label=served.predictor.multi_label,
            familiarity=served.predictor.familiarity_threshold is not None,
        )
        with report, PhotoReader() as reader:
            count = photos_per_batch(served.predictor.preprocess.size)
            for start in range(0, len(photos), count):
                progress((start, len(photos)), desc="Classifying", unit="photos")
                chunk = photos[start : start + count]
                outcomes = await classify_photos(served, chunk, reader)
                await asyncio.to_thread(report.add, [photo.name for photo in chunk], outcomes)
        return f"{report.summary()} {escape_markup(left_out)}".rstrip(), report.rows, str(report.file)

    classified = button.click(
        classify,
        [uploads, choice],
        [summary, table, download],
        show_progress_on=table,
        api_name="batch",
        concurrency_limit=2,
    )
    classified.success(lambda: gr.DownloadButton(visible=True), None, download, **PRIVATE)


async def classify_photos(
    model: ServedModel, photos: Sequence[UploadedPhoto], reader: PhotoReader
) -> Sequence[Outcome]:
    """Classifies photos; waits while the server is busy, so that photos classified before are not lost."""
    sources = [(photo.name, functools.partial(reader.read, photo)) for photo in photos]
    while True:
        try:
            return (await model.predict(sources)).outcomes
        except BusyError:
            await asyncio.sleep(_SECONDS_BETWEEN_TRIES)
        except ZooError as error:
            raise UserError.from_error(error) from error


class BatchReport:
    """The predictions of a batch: written to a CSV file as they come, counted, and the first of them for the table.

    Use it as a context manager, which closes the file.

    Args:
        classes: The model's classes.
        multi_label: Whether a photo has any number of labels.
        familiarity: Whether the model recognises unfamiliar photos.

    Attributes:
        file: The CSV file.
        rows: The first rows, as the table shows them.
    """

    def __init__(self, classes: Sequence[str], *, multi_label: bool = False, familiarity: bool = False) -> None:
        self.file = temp_folder() / "tables" / uuid.uuid4().hex / "predictions.csv"
        self.rows: list[list[str]] = []
        self._labels: Counter[str] = Counter()
        self._unreadable = self._failed = self._classified = 0
        self.file.parent.mkdir(parents=True)
        self._stream = self.file.open("w", newline="", encoding="utf-8", errors="backslashreplace")
        self._table = PredictionCsv(self._stream, classes, multi_label=multi_label, familiarity=familiarity)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def add(self, names: Sequence[str], outcomes: Sequence[Outcome]) -> None:
        """Adds photos with their outcomes."""
        for name, outcome in zip(names, outcomes, strict=True):
            if isinstance(outcome, ZooError):
                self._unreadable += isinstance(outcome, ImageError)
                self._failed += not isinstance(outcome, ImageError)
                row = [name, outcome.message.removeprefix(f"{name}: "), ""]
            else:
                self._classified += 1
                if outcome.known is False:
                    self._labels[NONE_OF_THESE] += 1
                    row = [name, outcome.answer, ""]
                elif outcome.labels is None:
                    self._labels[outcome.label] += 1
                    row = [name, outcome.label, f"{outcome.probability:.1%}"]
                else:
                    self._labels.update(outcome.labels or (outcome.answer,))
                    row = [
                        name,
                        outcome.answer,
                        ", ".join(f"{outcome.probabilities[each]:.1%}" for each in outcome.labels),
                    ]
            if len(self.rows) < _MAX_ROWS:
                self.rows.append(row)
            self._table.write(name, outcome)

    def summary(self) -> str:
        """Returns Markdown that counts the photos of each class."""
        count = self._classified + self._unreadable + self._failed
        parts = [f"**{number}** {escape_markup(label)}" for label, number in self._labels.most_common(10)]
        if self._unreadable:
            parts.append(f"**{self._unreadable}** unreadable")
        if self._failed:
            parts.append(f"**{self._failed}** for which the model returned NaN or infinity")
        more = f" The table shows the first {_MAX_ROWS}; the CSV file contains all." if count > _MAX_ROWS else ""
        photos = "1 photo" if count == 1 else f"{count} photos"
        return f"{photos}: {', '.join(parts)}.{more}"
