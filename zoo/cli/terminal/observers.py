"""Observers that show the library's events: as lines, as a live progress bar, as JSON, or not at all."""

from __future__ import annotations

import contextlib
import shutil
import time
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.terminal import console, wording
from zoo.events import EpochResult, Finished, Note, Started, StepResult, Work
from zoo.utils.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import Progress, TaskID

    from zoo.events import Event, Observer

_SECONDS_BETWEEN_LINES = 30.0


@contextmanager
def observing(*, as_json: bool = False, quiet: bool = False, next_steps: bool = True) -> Iterator[Observer]:
    """Gives the observer that fits: JSON or silence where asked for, a live bar on a terminal, else plain lines.

    Args:
        as_json: One JSON object a line for every event.
        quiet: Nothing but the path of the finished run.
        next_steps: Whether the end of a run is followed by commands to try next.
    """
    if as_json:
        yield write_event
    elif quiet:
        yield _path_alone if next_steps else _nothing
    elif console.on_terminal():
        live = LiveDisplay(next_steps=next_steps)
        with contextlib.closing(live):
            yield live
    else:
        yield LineDisplay(next_steps=next_steps)


def write_event(event: Event) -> None:
    """Prints an event as one line of JSON; its class is under ``"event"``, NaN is null."""
    values = {"event": type(event).__name__, **asdict(event)}
    click.echo(console.json_text(values))


def _path_alone(event: Event) -> None:
    if isinstance(event, Finished):
        click.echo(event.path)


def _nothing(event: Event) -> None:
    """Shows nothing."""


class LineDisplay:
    """Shows events as plain lines: one an epoch, and one every 30 s while something slow goes on.

    Args:
        next_steps: Whether the end of a run is followed by commands to try next.
    """

    def __init__(self, *, next_steps: bool = True) -> None:
        self.next_steps = next_steps
        self.epochs = 0
        self.columns_shown = False
        self._last_line = time.monotonic()

    def __call__(self, event: Event) -> None:
        """Shows one event."""
        match event:
            case Note():
                self.note(event)
            case Work():
                self.work(event)
            case Started():
                self.started(event)
            case StepResult():
                self.step(event)
            case EpochResult():
                self.epoch(event)
            case Finished():
                self.finished(event)

    def write(self, line: str = "", **style: Any) -> None:
        """Prints one line, styled as `click.style` says where it is a terminal; names in it may be anybody's."""
        click.secho(one_line(line), **style)
        self._last_line = time.monotonic()

    def note(self, event: Note) -> None:
        """Tells what the user should know; a warning in a colour of its own."""
        self.write(f"{'warning' if event.warning else 'note'}: {event.text}", fg="yellow" if event.warning else None)

    def work(self, event: Work) -> None:
        """Tells how far something is that takes long."""
        self._line_now_and_then(f"{event.what}: {wording.share_done(event)}")

    def step(self, event: StepResult) -> None:
        """Tells how far a long epoch is."""
        self._line_now_and_then(
            f"{event.epoch:>3}/{self.epochs:<3} {event.step} of {event.steps} steps, {wording.describe_step(event)}"
        )

    def started(self, event: Started) -> None:
        """Tells what is about to be trained, on what."""
        self.epochs, self.columns_shown = event.epochs, False
        photos = ", ".join(f"{number} {part}" for part, number in event.images.items() if number)
        trained = "all trained" if event.trainable == event.parameters else f"{console.count(event.trainable)} trained"
        self.write(event.run, bold=True)
        self.write(
            f"  model    {event.backbone} + {event.head}, {console.count(event.parameters)} parameters, {trained}"
        )
        self.write(f"  weights  {event.weights}")
        self.write(f"  data     {event.data}: {photos} photos, {wording.list_classes(event.classes)}")
        together = f", {event.processes} processes" if event.processes > 1 else ""
        self.write(f"  machine  {event.device}, {event.precision}{together}")

    def epoch(self, event: EpochResult) -> None:
        """Tells the figures of a finished epoch in one line; the best so far has a star."""
        if not self.columns_shown:
            self.write()
            self.write(wording.COLUMNS, bold=True)
            self.columns_shown = True
        self.write(wording.epoch_line(event, self.epochs))

    def finished(self, event: Finished) -> None:
        """Tells the final figures, where the run is, and what to do with it."""
        self.write()
        for name, value in wording.final_figures(event):
            self.write(f"{name:<14}{value}", bold=name.endswith("accuracy"))
        self.write()
        if self.next_steps:
            self.write("What to try next:")
            self.write(f"  zoo predict {event.path} photo.jpg")
            self.write(f"  zoo evaluate {event.path}")

    def _line_now_and_then(self, line: str) -> None:
        if time.monotonic() - self._last_line >= _SECONDS_BETWEEN_LINES:
            self.write(line)


class LiveDisplay(LineDisplay):
    """Shows events as lines above a live progress bar, on a terminal. Close it to free the terminal.

    Args:
        next_steps: Whether the end of a run is followed by commands to try next.
    """

    def __init__(self, *, next_steps: bool = True) -> None:
        super().__init__(next_steps=next_steps)
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._what = ""

    def close(self) -> None:
        """Removes the bar; what was written above it stays."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
        self._what = ""

    def write(self, line: str = "", **style: Any) -> None:
        """Prints one line above the bar, folded between words; what is longer, such as a path, stays whole."""
        for part in wording.folded(one_line(line), shutil.get_terminal_size().columns):
            if self._progress is None:
                super().write(part, **style)
            else:
                from rich.text import Text

                self._progress.console.print(Text.from_ansi(click.style(part, **style)), soft_wrap=True)

    def work(self, event: Work) -> None:
        """Moves the bar; it goes when the work is done."""
        self._show(event.what, event.done, event.total, wording.share_done(event))
        if event.total is not None and event.done >= event.total:
            self.close()

    def step(self, event: StepResult) -> None:
        """Moves the bar of the epoch."""
        self._show(f"epoch {event.epoch}/{self.epochs}", event.step, event.steps, wording.describe_step(event))

    def epoch(self, event: EpochResult) -> None:
        """Writes the line of the epoch in place of its bar."""
        self.close()
        super().epoch(event)

    def finished(self, event: Finished) -> None:
        """Tells the final figures."""
        self.close()
        super().finished(event)

    def _show(self, what: str, done: int, total: int | None, told: str) -> None:
        what, progress = one_line(what), self._progress or self._start()
        if what != self._what or self._task is None:
            if self._task is not None:
                progress.remove_task(self._task)
            self._task, self._what = progress.add_task(what, total=total, told=""), what
        progress.update(self._task, completed=done, total=total, told=told)

    def _start(self) -> Progress:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        columns = (TextColumn("{task.description}", markup=False), BarColumn(16), TextColumn("{task.fields[told]}"))
        self._progress, self._task = Progress(*columns, console=Console(highlight=False), transient=True), None
        self._progress.start()
        return self._progress
