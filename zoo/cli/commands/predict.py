"""``zoo predict``: classifies photos."""

from __future__ import annotations

import contextlib
import csv
import os
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from zoo.cli.commands.options import device_option, json_option, quiet_option, runs_option
from zoo.cli.terminal import console
from zoo.cli.terminal.formatting import format_percent
from zoo.cli.terminal.stdout import results_stream
from zoo.errors import RunError, ZooError
from zoo.inference.open import find_model, load_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from zoo.inference.predictor import Prediction

_STDOUT = "-"


@click.command(name="predict")
@click.argument("run", metavar="RUN-OR-FILE")
@click.argument("paths", nargs=-1, required=True, metavar="FILE-OR-DIR...", type=click.Path(path_type=Path))
@click.option(
    "--top",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="K",
    help="Number of classes to show, the most likely first.",
)
@click.option(
    "--csv", "csv_file", metavar="FILE", help="Write all probabilities to a CSV file, or to stdout if FILE is -."
)
@device_option
@runs_option
@quiet_option
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    run: str,
    paths: tuple[Path, ...],
    top: int,
    csv_file: str | None,
    device: str,
    runs: Path,
    quiet: bool,
    as_json: bool,
) -> None:
    """Classify photos with a run or an exported file. Folders are searched recursively.

    A photo that cannot be read is reported on stderr and skipped; the exit code is then 1.
    """
    model = find_model(run, runs=runs, ask=console.passphrase_prompt())
    failed: list[ZooError] = []
    with _open_csv(csv_file) as stream:
        photos = list(_find_photos(paths, failed, quiet=quiet))
        predictor = load_model(model, device=device, engine="auto", images=len(photos))
        for note in () if quiet else predictor.notes:
            console.write_warning(note)
        write_row = _row_writer(stream, predictor.classes)
        predictions = []
        for prediction in _skip_failures(predictor.predict_files(photos), failed):
            write_row(prediction)
            predictions.append(prediction)
    if as_json:
        console.write_json([_to_dict(prediction, top) for prediction in predictions])
    elif csv_file is None and predictions:
        _write_table(predictions, top)
    if failed:
        click.echo(f"{len(failed)} of {len(failed) + len(predictions)} photos could not be read.", err=True)
        ctx.exit(1)


def _skip_failures(outcomes: Iterable[Prediction | ZooError], failed: list[ZooError]) -> Iterator[Prediction]:
    for outcome in outcomes:
        if isinstance(outcome, ZooError):
            _report(outcome, failed)
        else:
            yield outcome


def _find_photos(paths: Iterable[Path], failed: list[ZooError], *, quiet: bool) -> Iterator[Path]:
    """Yields the files, and the photos in the folders sorted by name; reports what is left out of folders."""
    from zoo.data.sources.folder import list_photos
    from zoo.errors import DataError

    for path in paths:
        if not os.path.isdir(path):  # noqa: PTH112  pathlib raises where a path is too long
            yield path
            continue
        try:
            found = list_photos(path)
        except DataError as error:
            _report(error, failed)
            continue
        for problem in found.errors:
            _report(problem, failed)
        if found.left_out and (found.unreadable or not quiet):
            console.write_warning(f"{path}: {found.left_out}")
        failed += [DataError(f"{path}: {found.left_out}")] * found.unreadable
        if not found.photos and not found.unreadable:
            _report(DataError(f"{path} contains no photos."), failed)
        yield from found.photos


def _report(error: ZooError, failed: list[ZooError]) -> None:
    failed.append(error)
    console.write_error(error.message)


def _write_table(predictions: Sequence[Prediction], top: int) -> None:
    top = min(top, len(predictions[0].probabilities))
    header = ["photo"] + ["class", "probability"] * top
    rows = []
    for prediction in predictions:
        ranked = list(prediction.probabilities.items())[:top]
        rows.append([prediction.name, *(cell for name, p in ranked for cell in (name, format_percent(p)))])
    console.write_table(header, rows, right=range(2, 2 * top + 1, 2))


def _to_dict(prediction: Prediction, top: int) -> dict[str, Any]:
    return {
        "name": prediction.name,
        "label": prediction.label,
        "probability": prediction.probability,
        "probabilities": dict(list(prediction.probabilities.items())[: top if top > 1 else None]),
    }


def _row_writer(stream: IO[str] | None, classes: Sequence[str]) -> Callable[[Prediction], None]:
    """Returns a function that writes a prediction as a row of the CSV, or does nothing without a stream."""
    if stream is None:
        return lambda prediction: None
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["photo", "label", "probability", *classes])

    def write_row(prediction: Prediction) -> None:
        by_class = (f"{prediction.probabilities[name]:.6f}" for name in classes)
        writer.writerow([prediction.name, prediction.label, f"{prediction.probability:.6f}", *by_class])

    return write_row


@contextlib.contextmanager
def _open_csv(file: str | None) -> Iterator[IO[str] | None]:
    """Opens the CSV file, before any slow work; None if there is none to write."""
    if file is None or file == _STDOUT:
        yield results_stream() if file else None
        return
    try:
        with Path(file).open("w", encoding="utf-8", newline="") as stream:
            yield stream
    except OSError as error:
        raise RunError(f"Cannot write {file}: {error.strerror}.", hint="Choose another file with --csv.") from error
