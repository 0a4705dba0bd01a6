"""What there is: backbones, heads, datasets and runs as plain rows, searched by a word. Imports no plugin's library."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from zoo.cli.terminal import console
from zoo.cli.terminal.formatting import format_accuracy, format_duration
from zoo.errors import PluginError, RunError
from zoo.plugins import kinds
from zoo.plugins.registry import family_names
from zoo.runs.run import list_runs
from zoo.runs.tags import tags_by_run
from zoo.utils.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from zoo.plugins.discovery import Plugin
    from zoo.plugins.registry import Registry
    from zoo.plugins.specs import BackboneFamily
    from zoo.runs.run import Run

LISTED = (*(kind.plural for kind in kinds.KINDS if kind.chosen), "runs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing that can be named.

    Attributes:
        kind: In the plural: ``"backbones"``, ``"heads"``, ``"datasets"``.
        name: A name that finds it: bare for what is built in, unless an earlier plugin has it; else qualified.
        qualified: ``"torchvision/resnet18"``.
        summary: One line; empty where the plugin says nothing, as for the members of a family.
        family: Whether it stands for a family of names, and is no name itself (``"timm/..."``).
    """

    kind: str
    name: str
    qualified: str
    summary: str
    family: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """What a listing says of a run. What an unfinished run lacks is None.

    Attributes:
        name: Of the folder.
        path: Of the folder.
        status: ``"finished"``, or what ``run.json`` says instead.
        backbone: As it was asked for.
        head: As it was asked for.
        data: Name of the dataset.
        recipe: As it was asked for.
        part: What was scored: ``"test"``, or ``"val"`` where the data has no test part; empty while unfinished.
        accuracy: Top-1 on that part, 0 to 1.
        interval: Its 95 % interval.
        seconds: Of the whole run.
        created: When it was begun, ISO 8601.
        tags: Names that stand for it, ``hotdog@3``.
    """

    name: str
    path: str
    status: str
    backbone: str
    head: str
    data: str
    recipe: str
    part: str
    accuracy: float | None
    interval: tuple[float, float] | None
    seconds: float | None
    created: str
    tags: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as plain values."""
        return asdict(self)


class Listing(NamedTuple):
    """What the plugins offer, and what kept some of it from being listed.

    Attributes:
        entries: In the order in which bare names resolve.
        failures: One error for each family that could not tell its names.
    """

    entries: list[Entry]
    failures: list[PluginError]


def list_entries(
    registry: Registry,
    *,
    word: str = "",
    of: Iterable[str] = LISTED,
    expand: bool = False,
) -> Listing:
    """Returns what the plugins offer.

    Args:
        registry: Of which plugins.
        word: Part of a name or summary, in any case. With a word the names of families are searched too, which may
            take seconds the first time.
        of: Which of `LISTED`.
        expand: Whether families are listed name by name even without a word.
    """
    entries: list[Entry] = []
    failures: list[PluginError] = []
    for kind in kinds.KINDS:
        if not kind.chosen or kind.plural not in of:
            continue
        rows = [(offer.plugin, offer.spec.name, offer.spec.summary) for offer in registry.offers(kind)]
        for family, plugin in registry.families(kind) if word or expand else ():
            try:
                rows += [(plugin, name.partition("/")[2], "") for name in family_names(family, plugin)]
            except PluginError as error:
                failures.append(error)
        entries += _entries(kind.plural, rows)
        if not (word or expand):
            entries += [_family_entry(kind.plural, family, plugin) for family, plugin in registry.families(kind)]
    word = word.lower()
    found = [entry for entry in entries if word in entry.qualified.lower() or word in entry.summary.lower()]
    return Listing(found, failures)


def run_row(run: Run, tags: Iterable[str] = ()) -> RunRow:
    """Returns what a listing says of a run and its tags; what its record lacks is ``?`` or None."""
    record = run.record
    config, results = record.config, record.results
    part = next((part for part in ("test", "val") if part in results), "")
    scores = _mapping(results.get(part))
    return RunRow(
        name=run.name,
        path=str(run.path),
        status=record.status,
        backbone=str(config.get("backbone", "?")),
        head=str(config.get("head", "?")),
        data=record.data.name or str(config.get("data", "?")),
        recipe=str(config.get("recipe", "?")),
        part=part,
        accuracy=_number(scores.get("accuracy")),
        interval=_interval(scores.get("interval")),
        seconds=_number(results.get("seconds")),
        created=record.created,
        tags=tuple(tags),
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: Any) -> float | None:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _interval(value: Any) -> tuple[float, float] | None:
    low, high = map(_number, value) if isinstance(value, list) and len(value) == 2 else (None, None)
    return None if low is None or high is None else (low, high)


def matching_runs(
    runs: Iterable[Run], word: str = "", *, tags: Mapping[str, Iterable[str]] | None = None
) -> list[RunRow]:
    """Returns the rows of those runs that have a word in their name, backbone, head, data or tags.

    Args:
        runs: To search.
        word: In any case; all runs when empty.
        tags: Of each run, by its name.
    """
    rows = [run_row(run, (tags or {}).get(run.name, ())) for run in runs]
    return [row for row in rows if word.lower() in _searched(row).lower()]


def _searched(row: RunRow) -> str:
    return " ".join((row.name, row.backbone, row.head, row.data, *row.tags))


def _entries(kind: str, offers: Iterable[tuple[Plugin, str, str]]) -> Iterator[Entry]:
    """Names each built-in offer by its bare name, unless an earlier one has it; outsiders by their qualified name.

    An outsider's bare name may work too, but a family that is not asked here could hold the same.
    """
    taken: set[str] = set()
    for plugin, name, summary in offers:
        bare = plugin.built_in and name not in taken
        if plugin.built_in:
            taken.add(name)
        qualified = f"{plugin.qualifier}/{name}"
        yield Entry(kind=kind, name=name if bare else qualified, qualified=qualified, summary=summary)


def _family_entry(kind: str, family: BackboneFamily, plugin: Plugin) -> Entry:
    name = f"{plugin.qualifier}/..."
    return Entry(kind=kind, name=name, qualified=name, summary=family.summary, family=True)


def find_runs(runs: Path, word: str) -> list[RunRow]:
    """Returns the rows of the runs that have a word; where the tags cannot be read, it says so on stderr."""
    try:
        tags = tags_by_run(runs)
    except RunError as error:  # the runs can be listed all the same
        click.echo(f"warning: {printable(error.message)}", err=True)
        tags = {}
    return matching_runs(list_runs(runs), word, tags=tags)


def write_runs(rows: Sequence[RunRow], *, indent: int = 0) -> None:
    """Prints a table of runs; of an unfinished one it tells the state in place of the accuracy.

    There is a column of tags where a run has one.
    """
    table = [
        [row.name, row.backbone, row.head, row.data, _accuracy(row), format_duration(row.seconds), ", ".join(row.tags)]
        for row in rows
    ]
    header = ["run", "backbone", "head", "data", "accuracy", "time", "tags"]
    if not any(row.tags for row in rows):
        header, table = header[:-1], [cells[:-1] for cells in table]
    console.write_table(header, table, right=(5,), indent=indent)


def _accuracy(row: RunRow) -> str:
    if row.status != "finished":
        return row.status
    return format_accuracy(row.accuracy, row.interval) + (" (validation)" if row.part == "val" else "")
