"""``zoo predict``: classifies photos."""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.commands.options import device_option, json_option, quiet_option, runs_option
from zoo.cli.completion import complete_runs
from zoo.cli.groups import UsageError
from zoo.data.images.formats import has_image_suffix
from zoo.display import console
from zoo.display.formatting import format_percent
from zoo.errors import PredictionError, ZooError
from zoo.inference.open import find_model, load_model
from zoo.inference.prediction_csv import PredictionCsv
from zoo.metrics.calibration import format_coverage
from zoo.utils.csv_rows import open_rows
from zoo.utils.paths import missing_path_advice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from zoo.errors import ImageError
    from zoo.inference.predictor import PhotoPredictor, Prediction
    from zoo.utils.csv_rows import TextSink

    FoundPhoto = tuple[Path, ImageError | None]  # with its error, if its format cannot be read
    WriteRow = Callable[[str, Prediction | ZooError], None]

_STDOUT = ("-", "/dev/stdout", "/dev/fd/1")  # descriptor 1 is that of stderr while a command runs
_ALL = sys.maxsize
_MAX_NAME_WIDTH, _MAX_CLASS_WIDTH = 100, 32  # of a column; longer names make their row longer


class _Top(click.IntRange):
    name = "K|all"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        return _ALL if value == "all" else int(super().convert(value, param, ctx))


@dataclass
class _Failures:
    """The number of photos without a prediction, and of folders that could not be read."""

    unreadable: int = 0
    not_finite: int = 0
    folders: int = 0
    hints: set[str] = field(default_factory=set)

    def count_photo(self, error: ZooError) -> None:
        """Counts a photo by the kind of its error."""
        if isinstance(error, PredictionError):
            self.not_finite += 1
        else:
            self.unreadable += 1

    def report_photo(self, path: Path, error: ZooError) -> None:
        """Prints why a photo has no prediction; what to do about it only the first time."""
        hint = missing_path_advice(path) or error.hint
        console.write_error(error.message, "" if hint in self.hints else hint)
        self.hints.add(hint)

    def report_folder(self, message: str) -> None:
        """Counts a folder and prints why."""
        self.folders += 1
        console.write_error(message)

    def summarise(self, total: int) -> None:
        """Prints how many of all photos have no prediction, and why."""
        if self.unreadable:
            console.write_message(f"{self.unreadable} of {total} photos could not be read.")
        if self.not_finite:
            console.write_message(f"For {self.not_finite} of {total} photos the network returned NaN or infinity.")

    def __bool__(self) -> bool:
        return bool(self.unreadable or self.not_finite or self.folders)


@click.command(name="predict")
@click.argument("run", metavar="RUN-OR-FILE", shell_complete=complete_runs)
@click.argument("paths", nargs=-1, required=True, metavar="FILE-OR-DIR...", type=click.Path(path_type=Path))
@click.option(
    "--top",
    type=_Top(min=1),
    default=5,
    show_default=True,
    metavar="K|all",
    help="Number of classes to show, the most likely first, or all.",
)
@click.option(
    "--coverage",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    metavar="SHARE",
    help="Show the classes among which the right one is with this probability, such as 0.95.",
)
@click.option("--csv", "csv_file", metavar="FILE", help="Write a CSV file, or CSV to stdout if FILE is -.")
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
    coverage: float | None,
    csv_file: str | None,
    device: str,
    runs: Path,
    quiet: bool,
    as_json: bool,
) -> None:
    """Classify photos with a run, an exported file or a model on a hub (hf:anna/hotdog).

    Folders are searched recursively.

    With several labels per photo, the row has those whose probability reaches the threshold of the label.

    With --coverage 0.95, the row has the classes of a prediction set: one where the model is sure, several where it is
    not. Over photos like those of the training data, 95 % of the sets contain the right class.

    The answer for a photo that is unlike those of training is "none of these", with the class that it is most like.

    Every photo is a row, printed as soon as it is classified; --json prints one JSON object per line. The row of a
    photo without a prediction says why, stderr does too, and the exit code is then 1.
    """
    if as_json and csv_file in _STDOUT:
        raise UsageError("--json and --csv - both write to stdout.", hint="Pass one of them, or --csv FILE.")
    model = find_model(run, runs=runs, ask=console.passphrase_prompt())
    failures = _Failures()
    with _open_csv(csv_file) as csv_rows:
        photos = list(_find_photos(paths, failures, quiet=quiet))
        readable = sum(error is None for _, error in photos)
        predictor = load_model(model, device=device, engine="auto", images=readable)
        predictor.check_coverage(coverage)
        for note in () if quiet else predictor.notes:
            console.write_warning(note)
        writers: list[WriteRow] = []
        if csv_rows is not None:
            table = PredictionCsv(
                csv_rows,
                predictor.classes,
                top=top,
                multi_label=predictor.multi_label,
                sets=coverage is not None,
                familiarity=predictor.familiarity_threshold is not None,
            )
            writers.append(table.write)
        if as_json:
            writers.append(partial(_print_json, top=top))
        elif csv_file is None and predictor.multi_label:
            writers.append(_answers_printer([path for path, _ in photos], "labels"))
        elif csv_file is None and coverage is not None:
            writers.append(
                _answers_printer([path for path, _ in photos], f"prediction set ({format_coverage(coverage)})")
            )
        elif csv_file is None:
            writers.append(_table_printer([path for path, _ in photos], predictor.classes, top=top))
        _classify(predictor, photos, writers, failures, coverage=coverage, csv_file=csv_file)
    failures.summarise(len(photos))
    if failures:
        ctx.exit(1)


def _classify(
    predictor: PhotoPredictor,
    photos: Sequence[FoundPhoto],
    writers: Sequence[WriteRow],
    failures: _Failures,
    *,
    coverage: float | None,
    csv_file: str | None,
) -> None:
    """Writes the row of each photo as soon as it is classified."""
    done = 0
    try:
        outcomes = predictor.predict_files([path for path, error in photos if error is None], coverage=coverage)
        for path, error in photos:
            outcome = next(outcomes) if error is None else error
            for write_row in writers:
                write_row(os.fsdecode(path), outcome)
            if isinstance(outcome, ZooError):
                failures.count_photo(outcome)
                if error is None:  # otherwise the warning about its folder counts it
                    failures.report_photo(path, outcome)
            done += 1
    except (KeyboardInterrupt, ZooError):
        if done:
            kept = f"; {csv_file} contains them" if csv_file not in (None, *_STDOUT) else ""
            console.write_warning(f"Stopped after {done} of {len(photos)} photos{kept}.")
        raise


def _find_photos(paths: Iterable[Path], failures: _Failures, *, quiet: bool) -> Iterator[FoundPhoto]:
    """Yields the files, and the photos in the folders sorted by name; reports what is left out of folders."""
    from zoo.data.sources.folder import list_photos
    from zoo.errors import DataError

    for path in paths:
        if not os.path.isdir(path):  # noqa: PTH112  pathlib raises where a path is too long
            yield path, None
            continue
        try:
            found = list_photos(path)
        except DataError as error:
            failures.report_folder(error.message)
            continue
        for problem in found.errors:
            failures.report_folder(problem.message)
        if found.left_out and (found.unreadable or not quiet):
            console.write_warning(f"{path}: {found.left_out}")
        if not found.photos and not found.unreadable:
            failures.report_folder(f"{path} contains no photos.")
        yield from sorted({**dict.fromkeys(found.photos), **found.unreadable}.items(), key=lambda each: each[0])


def _print_json(name: str, outcome: Prediction | ZooError, *, top: int) -> None:
    row: dict[str, Any]
    if isinstance(outcome, ZooError):
        row = {"name": name, "error": outcome.message}
    else:
        probabilities = {
            label: value
            for rank, (label, value) in enumerate(outcome.probabilities.items())
            if rank < top or label in (outcome.labels or outcome.prediction_set or ())
        }
        answer: dict[str, Any] = {"labels": list(outcome.labels or ())}
        if outcome.labels is None:
            answer = {"label": outcome.label, "probability": outcome.probability}
        if outcome.prediction_set is not None:
            answer |= {"prediction_set": list(outcome.prediction_set), "coverage": outcome.coverage}
        if outcome.familiarity is not None:
            answer |= {"familiarity": outcome.familiarity, "known": outcome.known}
        row = {"name": name, **answer, "probabilities": probabilities}
    console.echo(console.format_json(row))


def _answers_printer(photos: Sequence[Path], column: str) -> WriteRow:
    """Prints the header of a table of labels or of prediction sets, and returns a function that prints a row of it."""
    longest = max((console.text_width(os.fsdecode(photo)) for photo in photos), default=0)
    widths = [max(min(longest, _MAX_NAME_WIDTH), len("photo")), 0]
    if photos:
        console.write_row(["photo", column], widths)

    def print_row(name: str, outcome: Prediction | ZooError) -> None:
        if isinstance(outcome, ZooError):
            text = f"error: {outcome.message.removeprefix(f'{name}: ')}"
        else:
            named = outcome.labels if outcome.prediction_set is None else outcome.prediction_set
            found = (f"{label} {format_percent(outcome.probabilities[label])}" for label in named or ())
            text = (outcome.known is not False and ", ".join(found)) or outcome.answer
        console.write_row([name, text], widths)

    return print_row


def _table_printer(photos: Sequence[Path], classes: Sequence[str], *, top: int) -> WriteRow:
    """Prints the header of a table, and returns a function that prints a row of it."""
    top = min(top, len(classes))
    columns = ["class", "probability"] * top
    name_width = min(max((console.text_width(os.fsdecode(photo)) for photo in photos), default=0), _MAX_NAME_WIDTH)
    class_width = min(max(map(console.text_width, classes)), _MAX_CLASS_WIDTH)
    widths = [max(name_width, len("photo")), *[max(class_width, len("class")), len("probability")] * top]
    right = range(2, 2 * top + 1, 2)
    if photos:
        console.write_row(["photo", *columns], widths, right=right)

    def print_row(name: str, outcome: Prediction | ZooError) -> None:
        if isinstance(outcome, ZooError):
            cells = [f"error: {outcome.message.removeprefix(f'{name}: ')}"]
        else:
            ranked = islice(outcome.probabilities.items(), top)
            cells = [cell for label, value in ranked for cell in (label, format_percent(value))]
            if outcome.known is False:
                cells[0] = outcome.answer
        console.write_row([name, *cells], widths, right=right)

    return print_row


@contextlib.contextmanager
def _open_csv(file: str | None) -> Iterator[TextSink | None]:
    """Opens the CSV file, before any slow work; None if there is none to write."""
    if file is None or file in _STDOUT:
        yield console.LineSink() if file else None
        return
    if has_image_suffix(file) and os.path.isfile(file):  # noqa: PTH113  the shell may have replaced --csv *.jpg
        raise UsageError(f"--csv would replace the photo {file}.", hint="Pass the CSV file first: --csv FILE.csv.")
    with open_rows(Path(file)) as rows:
        yield rows
