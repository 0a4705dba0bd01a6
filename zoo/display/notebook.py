"""An observer for notebooks: one output per training, with a progress bar, that is updated in place."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any

from zoo.display.observers import (
    LineDisplay,
    describe_estimate,
    epoch_cells,
    final_results,
    format_step,
    started_facts,
)
from zoo.utils.markup import Markup, bar, block, heading, line, pairs, table

if TYPE_CHECKING:
    from zoo.events import EpochResult, Estimate, Event, Finished, Started, StepResult, Work

_SECONDS_BETWEEN_UPDATES = 0.2  # a browser shows no more, and every update is a message to it
_HEADER = ("epoch", "loss", "accuracy", "val loss", "val acc", "rate", "img/s", "time (* best)")
_LABELS_HEADER = (*_HEADER[:4], "val mAP", *_HEADER[5:])  # with several labels per photo


class NotebookDisplay(LineDisplay):
    """Shows the events of a training in an output of the running cell. Each training gets an output of its own."""

    _title: str
    _facts: list[tuple[str, str]]
    _lines: list[tuple[str, bool]]  # with whether each is a warning
    _epochs: list[tuple[str, ...]]
    _header: tuple[str, ...] = _HEADER
    _results: list[tuple[str, str]]
    _bar: tuple[str, float, str] | None  # the work, its share, and details
    _display_id: str
    _last_update: float

    def __init__(self) -> None:
        super().__init__(next_steps=False)
        self._clear()

    def __call__(self, event: Event) -> None:
        """Shows one event."""
        if self._results:  # of the training before
            self._clear()
        super().__call__(event)
        self._update(force=not self._bar)

    def write(self, line: str = "", **style: Any) -> None:
        """Adds a line."""
        if line:
            self._lines.append((line, style.get("fg") == "yellow"))

    def on_started(self, event: Started) -> None:
        """Shows the network, the data and the device of a run."""
        self.epochs, self._title, self._facts = event.epochs, event.run, started_facts(event)

    def on_estimate(self, event: Estimate) -> None:
        """Shows how long the work ahead takes."""
        self.write(describe_estimate(event))

    def on_work(self, event: Work) -> None:
        """Moves the bar, and removes it once the work is done."""
        done = event.total is not None and event.done >= event.total
        share = event.done / event.total if event.total else 0.0
        self._bar = None if done else (event.what, share, self.format_work(event))

    def on_step(self, event: StepResult) -> None:
        """Moves the bar of the epoch."""
        self._bar = (f"epoch {event.epoch}/{self.epochs}", event.step / event.steps, format_step(event))

    def on_epoch(self, event: EpochResult) -> None:
        """Replaces the bar of the epoch by its row."""
        self._bar = None
        self._epochs.append(epoch_cells(event, self.epochs))
        self._header = _LABELS_HEADER if "mean_ap" in event.metrics else _HEADER

    def on_finished(self, event: Finished) -> None:
        """Shows the final results."""
        self._bar = None
        self._results = final_results(event)

    def _clear(self) -> None:
        self._title, self._display_id, self._last_update = "", "", 0.0
        self._facts, self._lines, self._epochs, self._results = [], [], [], []
        self._bar = None

    def _update(self, *, force: bool) -> None:
        if not force and time.monotonic() - self._last_update < _SECONDS_BETWEEN_UPDATES:
            return
        import IPython.display

        display: Any = IPython.display.display  # untyped
        content = {"text/html": self._render(), "text/plain": self._render_text()}
        if self._display_id:
            display(content, raw=True, display_id=self._display_id, update=True)
        else:
            self._display_id = uuid.uuid4().hex
            display(content, raw=True, display_id=self._display_id)
        self._last_update = time.monotonic()

    def _render(self) -> str:
        parts: list[str] = [heading(self._title)] if self._title else []
        parts.append(pairs(self._facts))
        parts += [line(text, warning=warning) for text, warning in self._lines]
        if self._epochs:
            parts.append(table(self._header, self._epochs, right=range(7)))
        if self._bar is not None:
            what, share, details = self._bar
            parts.append(pairs([(what, Markup(f"{bar(share, width='16em')}{line(details)}"))]))
        parts.append(pairs(self._results))
        return block(*parts)

    def _render_text(self) -> str:
        """Returns the same in short, for programs that show no HTML."""
        lines = [self._title, *(text for text, _ in self._lines), *("  ".join(cells) for cells in self._epochs)]
        lines += [f"{name} {value}" for name, value in self._results]
        return "\n".join(filter(None, lines))
