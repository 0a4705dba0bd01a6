"""The events of a study as text: what it searches, a line per trial, and the result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zoo.display.formatting import NO_VALUE, format_duration, format_option, format_percent, pluralize

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zoo.events import StudyResult, StudyStarted, TrialResult

_WIDTHS = (5, 7, 9, 9, 6, 12, 12)


def study_facts(event: StudyStarted) -> list[tuple[str, str]]:
    """Returns what a study searches, as pairs of a name and a value."""
    goal = f"{event.objective} of the validation photos, {'higher' if event.higher_is_better else 'lower'} is better"
    trials = f"{event.trials} in all" if event.trials is not None else "as many as the time allows"
    done = f", {event.done} of them done" if event.done else ""
    search = [("search" if number == 0 else "", f"{name}={values}") for number, (name, values) in _items(event.search)]
    return [("goal", goal), *search, ("trials", trials + done), ("storage", event.storage)]


def trial_header(objective: str) -> str:
    """Returns the line above those of `format_trial`."""
    value = objective if len(objective) <= _WIDTHS[2] else "value"
    cells = ("trial", "done", value, "best", "epochs", "time", "left")
    return f"{_align(cells)}  values (* best)"


def format_trial(event: TrialResult) -> str:
    """Returns the line of a trial, aligned with `trial_header`."""
    total = f"/{event.trials}" if event.trials is not None else ""
    shown = format_number(event.value) if event.state == "finished" else event.state
    cells = (
        f"{event.trial}",
        f"{event.done}{total}",
        shown,
        format_number(event.best_value),
        f"{event.epochs}",
        format_duration(event.seconds),
        format_duration(event.seconds_left),
    )
    reason = f" ({event.reason})" if event.reason else ""
    return f"{_align(cells)}  {describe_values(event.values)}{' *' if event.best else ''}{reason}"


def study_results(event: StudyResult) -> list[tuple[str, str]]:
    """Returns the result of a study, as pairs of a name and a value."""
    counts = ", ".join(f"{number} {state}" for state, number in event.counts.items() if number) or pluralize(0, "trial")
    rows = [("trials", counts)]
    if event.best is None:
        return [*rows, ("best", "no trial is finished yet")]
    without = f"; {format_number(event.first_value)} without a search" if event.first_value is not None else ""
    rows.append(("best", f"trial {event.best}: {event.objective} {format_number(event.value)}{without}"))
    rows += [
        ("values" if number == 0 else "", f"{name}={format_value(value)}")
        for number, (name, value) in _items(event.values)
    ]
    if event.importances:
        shares = ", ".join(f"{name} {format_percent(share, 0)}" for name, share in event.importances.items())
        rows.append(("importance", shares))
    rows += [("recipe", event.recipe), ("report", event.report), ("picture", event.picture), ("run", event.run)]
    return [(name, value) for name, value in rows if value]


def next_steps(event: StudyResult) -> list[str]:
    """Returns lines that say how to go on."""
    lines = []
    if running := event.counts.get("running", 0):
        lines.append(f"Other processes still run {pluralize(running, 'trial')}, and write the report once more.")
    if event.missing:
        left = "1 trial is left" if event.missing == 1 else f"{event.missing} trials are left"
        lines.append(f"{left}. The same command continues the study.")
    if event.train:
        lines += [
            "The test photos were left alone. This trains with the best values and evaluates them:",
            f"  {event.train}",
        ]
    return lines


def describe_values(values: Mapping[str, Any]) -> str:
    """Returns ``lr=0.00123 head-lr-multiplier=10``: the values of a trial for a line of text."""
    return " ".join(f"{name}={format_value(value)}" for name, value in values.items())


def format_value(value: Any) -> str:
    """Returns a value of a trial with three digits, as the command line accepts it."""
    return f"{value:.3g}" if isinstance(value, float) else format_option(value)


def format_number(value: float | None) -> str:
    """Returns ``0.4123``, and ``-`` for None."""
    return NO_VALUE if value is None else f"{value:.4g}"


def _items(values: Mapping[str, Any]) -> list[tuple[int, tuple[str, Any]]]:
    return list(enumerate(values.items()))


def _align(cells: tuple[str, ...]) -> str:
    return "  ".join(cell.rjust(width) for cell, width in zip(cells, _WIDTHS, strict=True))
