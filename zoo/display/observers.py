"""Observers that print the events of the library: as lines, with a live progress bar, as JSON, or not at all."""

from __future__ import annotations

import contextlib
import math
import shutil
import textwrap
import time
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from zoo.display import console
from zoo.display.formatting import (
    NO_VALUE,
    format_accuracy,
    format_classes,
    format_count,
    format_duration,
    format_estimate,
    format_metrics,
    format_percent,
)
from zoo.display.scores import ACCURACY, MEAN_AP, read_score
from zoo.display.stdout import QuietStream, results_stream
from zoo.display.study import format_trial, next_steps, study_facts, study_results, trial_header
from zoo.events import (
    CrossValidated,
    EpochResult,
    Estimate,
    Finished,
    Note,
    Started,
    StepResult,
    StudyResult,
    StudyStarted,
    TrialResult,
    Work,
    ignore,
)
from zoo.utils.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.progress import Progress, TaskID

    from zoo.events import Event, Observer

EPOCH_HEADER = "  epoch     loss  accuracy  val loss   val acc     rate    img/s  time (* best)"
_MAX_METRICS = 12  # values that are printed at the end; the record has all
_VALUE_COLUMN = 11  # where the values of the lines about a run begin
_SECONDS_BETWEEN_LINES = 30.0


@contextmanager
def display_events(*, as_json: bool = False, quiet: bool = False, next_steps: bool = True) -> Iterator[Observer]:
    """Provides an observer: JSON or silence on request, a live progress bar on a terminal, plain lines elsewhere.

    Args:
        as_json: Print each event as one line of JSON.
        quiet: Print only the path of a finished run.
        next_steps: Whether the command reports on a run of its own: its path, and commands to try next.
    """
    if as_json:
        yield print_event
    elif quiet:
        yield _print_path if next_steps else ignore
    elif console.on_terminal():
        live = LiveDisplay(next_steps=next_steps)
        with contextlib.closing(live):
            yield live
    else:
        yield LineDisplay(next_steps=next_steps)


def print_event(event: Event) -> None:
    """Prints an event as one line of JSON; the key ``"event"`` holds its class, and NaN becomes null."""
    console.echo(console.format_json({"event": type(event).__name__, **asdict(event)}))


def _print_path(event: Event) -> None:
    if isinstance(event, Finished):
        console.echo(event.path)


class LineDisplay:
    """Prints events as plain lines: one per epoch, and one every 30 s during slow work. A note is printed once.

    Args:
        next_steps: Whether to suggest commands after a finished run.
    """

    def __init__(self, *, next_steps: bool = True) -> None:
        self.next_steps = next_steps
        self.epochs = 0
        self._header_printed = False
        self._notes: set[str] = set()
        self._last_line = time.monotonic()
        self._pace = _Pace()

    def __call__(self, event: Event) -> None:
        """Prints one event."""
        match event:
            case Note():
                self.on_note(event)
            case Work():
                self.on_work(event)
            case Started():
                self.on_started(event)
            case Estimate():
                self.on_estimate(event)
            case StepResult():
                self.on_step(event)
            case EpochResult():
                self.on_epoch(event)
            case Finished():
                self.on_finished(event)
            case StudyStarted():
                self.on_study_started(event)
            case TrialResult():
                self.on_trial(event)
            case StudyResult():
                self.on_study_result(event)
            case CrossValidated():
                self.on_cross_validated(event)

    def write(self, line: str = "", **style: Any) -> None:
        """Prints one line, with the styles of `click.style` on a terminal. Control characters are escaped."""
        console.echo(click.style(one_line(line), **style))
        self._last_line = time.monotonic()

    def on_note(self, event: Note) -> None:
        """Prints a note, or a warning in colour, unless it was printed before."""
        if event.text not in self._notes:
            self._notes.add(event.text)
            label, colour = ("warning", "yellow") if event.warning else ("note", None)
            self.write(f"{label}: {event.text}", fg=colour)

    def on_work(self, event: Work) -> None:
        """Prints the progress of slow work."""
        self._write_occasionally(f"{event.what}: {self.format_work(event)}")

    def on_step(self, event: StepResult) -> None:
        """Prints the progress of a long epoch."""
        self._write_occasionally(
            f"{event.epoch:>3}/{self.epochs:<3} {event.step} of {event.steps} steps, {format_step(event)}"
        )

    def on_estimate(self, event: Estimate) -> None:
        """Prints how long the work ahead takes."""
        self.write(describe_estimate(event))

    def on_started(self, event: Started) -> None:
        """Prints the network, the data and the device of a run."""
        self.epochs, self._header_printed = event.epochs, False
        self.write(event.run, bold=True)
        for name, value in started_facts(event):
            self.write(f"  {name:<8} {value}")

    def on_epoch(self, event: EpochResult) -> None:
        """Prints the results of an epoch in one line; a star marks the best so far."""
        if not self._header_printed:
            self.write()
            self.write(epoch_header(event), bold=True)
            self._header_printed = True
        self.write(format_epoch(event, self.epochs))

    def on_finished(self, event: Finished) -> None:
        """Prints the final results, the path of the run, and commands to try next."""
        self._write_results(final_results(event))
        if self.next_steps:
            self.write("Next steps:")
            self.write(f"  zoo predict {event.path} photo.jpg")
            self.write(f"  zoo evaluate {event.path}")

    def on_study_started(self, event: StudyStarted) -> None:
        """Prints what a study searches, and the header of its trials."""
        self.write(event.study, bold=True)
        for name, value in study_facts(event):
            self.write(f"  {name:<8} {value}")
        self.write()
        self.write(trial_header(event.objective), bold=True)

    def on_trial(self, event: TrialResult) -> None:
        """Prints the result of a trial in one line; a star marks the best so far."""
        self.write(format_trial(event))

    def on_study_result(self, event: StudyResult) -> None:
        """Prints the best values, and how to go on."""
        self._write_results(study_results(event))
        if self.next_steps:
            for line in next_steps(event):
                self.write(line)

    def on_cross_validated(self, event: CrossValidated) -> None:
        """Prints the results of all folds, the path of the folder, and how to train the final model."""
        self._write_results(fold_results(event))
        if event.command:
            self.write("These figures are those of models trained on the other folds. To train one on all photos:")
            self.write(f"  {event.command}")

    def _write_results(self, rows: Sequence[tuple[str, str]]) -> None:
        self.write()
        width = max(14, 1 + max(len(name) for name, _ in rows))
        for name, value in rows:
            self.write(f"{name:<{width}}{value}", bold=name.endswith((ACCURACY, MEAN_AP)) or name == "best")
        self.write()

    def format_work(self, event: Work) -> str:
        """Returns ``25 %, 1 min 2 s left``; without the time as long as it is unknown."""
        left = self._pace.seconds_left(event)
        return _format_progress(event) + (f", {format_duration(left)} left" if left else "")

    def _write_occasionally(self, line: str) -> None:
        if time.monotonic() - self._last_line >= _SECONDS_BETWEEN_LINES:
            self.write(line)


class _Pace:
    """Measures the pace of work from its first event."""

    def __init__(self) -> None:
        self._what, self._first, self._started = "", 0, 0.0

    def seconds_left(self, event: Work) -> float | None:
        """Returns the time until the work is done; None after its first event, or if its total is unknown."""
        now = time.monotonic()
        if event.what != self._what or event.done <= self._first:
            self._what, self._first, self._started = event.what, event.done, now
        if event.total is None or event.done == self._first:
            return None
        return (now - self._started) / (event.done - self._first) * (event.total - event.done)


class LiveDisplay(LineDisplay):
    """Prints events as lines above a live progress bar, on a terminal. Close it to remove the bar.

    Args:
        next_steps: Whether to suggest commands after a finished run.
    """

    def __init__(self, *, next_steps: bool = True) -> None:
        super().__init__(next_steps=next_steps)
        self._progress: Progress | None = None
        self._stream: QuietStream | None = None  # of the bar, which a thread draws
        self._task: TaskID | None = None
        self._what = ""

    def close(self) -> None:
        """Removes the bar; the lines above it stay."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
        self._what = ""

    def write(self, line: str = "", **style: Any) -> None:
        """Prints one line above the bar, wrapped between words; a longer word, such as a path, stays whole."""
        for row in _wrap(one_line(line), shutil.get_terminal_size().columns):
            self._raise_stream_error()
            if self._progress is None:
                super().write(row, **style)
            else:
                from rich.text import Text

                self._progress.console.print(Text.from_ansi(click.style(row, **style)), soft_wrap=True)

    def on_work(self, event: Work) -> None:
        """Moves the bar, and removes it once the work is done."""
        self._update_bar(event.what, event.done, event.total, self.format_work(event))
        if event.total is not None and event.done >= event.total:
            self.close()

    def on_step(self, event: StepResult) -> None:
        """Moves the bar of the epoch."""
        self._update_bar(f"epoch {event.epoch}/{self.epochs}", event.step, event.steps, format_step(event))

    def on_epoch(self, event: EpochResult) -> None:
        """Replaces the bar of the epoch by its line."""
        self.close()
        super().on_epoch(event)

    def on_finished(self, event: Finished) -> None:
        """Prints the final results."""
        self.close()
        super().on_finished(event)

    def on_trial(self, event: TrialResult) -> None:
        """Replaces the bar of the trial by its line."""
        self.close()
        super().on_trial(event)

    def on_study_result(self, event: StudyResult) -> None:
        """Prints the best values."""
        self.close()
        super().on_study_result(event)

    def on_cross_validated(self, event: CrossValidated) -> None:
        """Prints the results of all folds."""
        self.close()
        super().on_cross_validated(event)

    def _update_bar(self, what: str, done: int, total: int | None, details: str) -> None:
        self._raise_stream_error()
        what, progress = one_line(what), self._progress or self._start_bar()
        if what != self._what or self._task is None:
            if self._task is not None:
                progress.remove_task(self._task)
            self._task, self._what = progress.add_task(what, total=total, details=""), what
        progress.update(self._task, completed=done, total=total, details=details)

    def _start_bar(self) -> Progress:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        columns = (TextColumn("{task.description}", markup=False), BarColumn(16), TextColumn("{task.fields[details]}"))
        self._stream = stream = QuietStream(results_stream())
        console: Any = Console(file=stream, highlight=False)  # type: ignore[arg-type]
        self._progress, self._task = Progress(*columns, console=console, transient=True), None
        self._progress.start()
        return self._progress

    def _raise_stream_error(self) -> None:
        if self._stream is not None and self._stream.error is not None:
            raise self._stream.error


def started_facts(event: Started) -> list[tuple[str, str]]:
    """Returns the network, the data and the device of a run, as pairs of a name and a value."""
    photos = ", ".join(f"{number} {split}" for split, number in event.images.items() if number)
    everything = event.trainable == event.parameters
    trainable = "all trainable" if everything else f"{format_count(event.trainable)} trainable"
    processes = f", {event.processes} processes" if event.processes > 1 else ""
    chosen = f"{event.backbone.rpartition('/')[2]} ({event.backbone_reason})" if event.backbone_reason else ""
    facts = [
        ("model", f"{event.backbone} + {event.head}, {format_count(event.parameters)} parameters, {trainable}"),
        ("backbone", chosen),
        ("weights", event.weights),
        ("data", f"{event.data}: {photos} photos, {format_classes(event.classes)}"),
        ("machine", f"{event.device}, {event.precision}{processes}"),
    ]
    return [(name, value) for name, value in facts if value]


def describe_estimate(event: Estimate) -> str:
    """Returns ``"About 80 s on this machine: 560 photos once through the backbone."``."""
    text = f"{'at most ' if event.at_most else ''}{format_estimate(event.seconds)} on this machine: {event.work}."
    return text[0].upper() + text[1:]


def format_step(event: StepResult) -> str:
    """Returns ``loss 0.312, accuracy 91.2 %, 48 images/s, 1 min 2 s left``."""
    accuracy = "" if math.isnan(event.accuracy) else f"accuracy {format_percent(event.accuracy)}, "
    left = format_duration(event.seconds_left)
    return f"loss {event.loss:.3f}, {accuracy}{event.images_per_second:.0f} images/s, {left} left"


def epoch_header(event: EpochResult) -> str:
    """Returns `EPOCH_HEADER`, with the mAP as the validation figure where there are several labels per photo."""
    return EPOCH_HEADER.replace("val acc", "val mAP") if "mean_ap" in event.metrics else EPOCH_HEADER


def format_epoch(event: EpochResult, epochs: int) -> str:
    """Returns the row of an epoch, aligned with `EPOCH_HEADER`."""
    cells = zip(epoch_cells(event, epochs), (7, 7, 8, 8, 8, 7, 7, 0), strict=True)
    return "  ".join(cell.rjust(width) for cell, width in cells)


def epoch_cells(event: EpochResult, epochs: int) -> tuple[str, ...]:
    """Returns the cells of the row of an epoch, in the order of `EPOCH_HEADER`."""
    has_rate = event.epoch and math.isfinite(event.learning_rate)
    return (
        f"{event.epoch}/{epochs}" if event.epoch else "probe",
        _format_number(event.train_loss),
        NO_VALUE if "mean_ap" in event.metrics else format_percent(event.train_accuracy),
        _format_number(event.val_loss),
        format_percent(event.metrics.get("mean_ap", event.val_accuracy)),
        f"{event.learning_rate:.1e}" if has_rate else NO_VALUE,
        _format_number(event.images_per_second, 1),
        f"{format_duration(event.seconds)}{' *' if event.best else ''}",
    )


def final_results(event: Finished) -> list[tuple[str, str]]:
    """Returns the accuracy or mAP, the time and the path of a finished run, as pairs of a name and a value."""
    results = event.results
    rows = []
    # With a test split, the accuracy on the photos that selected the epoch is of no interest.
    split = next((split for split in ("test", "val") if split in results), None)
    if split is not None:
        scores = results[split]
        if (score := read_score(results, split)) is not None:
            rows.append((f"{split} {score.name}", f"{score} ({scores['count']} photos)"))
        chosen = format_metrics(scores.get("metrics", {}), most=_MAX_METRICS)
        rows += [(f"{split} {name}" if name else "", value) for name, value in chosen]
    speed = results.get("images_per_second")
    throughput = f", training at {speed:.0f} images/s" if speed else ""
    rows.append(("time", f"{format_duration(results.get('seconds'))}{throughput}"))
    return [*rows, ("run", event.path)]


def fold_results(event: CrossValidated) -> list[tuple[str, str]]:
    """Returns the metrics of all folds together, the first on each, the time and the path, as names and values."""
    results = event.results
    folds = results["folds"]
    groups = f" in {results['groups']} groups" if results["groups"] else ""
    scores = {f"fold {number}": fold for number, fold in enumerate(folds, start=1)} | {"all": results}
    read = {name: read_score(scores, name) for name in scores}
    rows = [(name, f"{read[name]} ({fold['count']} photos)") for name, fold in scores.items() if fold is not results]
    several = "mean_ap" in results
    rows += [
        (MEAN_AP if several else ACCURACY, f"{read['all']} ({results['count']} photos{groups}, {len(folds)} folds)"),
        *(
            _label_figures(results)
            if several
            else [("balanced accuracy", format_percent(results["balanced_accuracy"]))]
        ),
        ("macro F1", format_percent(results["macro_f1"])),
        *format_metrics(results.get("metrics", {}), most=_MAX_METRICS),
        ("time", format_duration(results["seconds"])),
    ]
    if results["left_out"]:
        rows.append(("in no fold", f"{results['left_out']} photos of the only group of a class"))
    return [*rows, ("folds", event.path)]


def _label_figures(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    figures = {"micro_f1": "micro F1", "exact_match": "exact match", "hamming_loss": "Hamming loss"}
    return [(title, format_accuracy(results[key], results["intervals"][key])) for key, title in figures.items()]


def _wrap(line: str, width: int) -> list[str]:
    indent = " " * _VALUE_COLUMN if line.startswith("  ") else ""
    lines = textwrap.wrap(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return lines if len(line) > width else [line]


def _format_progress(event: Work) -> str:
    return f"{event.done}" if not event.total else f"{100 * event.done / event.total:.0f} %"


def _format_number(value: float, digits: int = 3) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else NO_VALUE
