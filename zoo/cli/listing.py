"""Lists the offers of plugins and the runs as plain rows, and searches them. Imports no library of a plugin."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from zoo.data.sources.resolve import is_local as is_local_dataset
from zoo.display import console
from zoo.display.formatting import NO_VALUE, format_duration
from zoo.display.scores import ACCURACY, MEAN_AP, Score, read_score
from zoo.errors import PluginError, RunError
from zoo.plugins import kinds
from zoo.plugins.registry import is_local, list_family_names, list_local_names
from zoo.plugins.specs import BackboneFamily
from zoo.runs.cross_validation import list_cross_validations
from zoo.runs.run import list_runs
from zoo.runs.tags import tags_by_run

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from zoo.plugins.discovery import Plugin
    from zoo.plugins.kinds import Kind
    from zoo.plugins.registry import Offer, Registry
    from zoo.plugins.specs import Family
    from zoo.runs.cross_validation import CrossValidationFolder
    from zoo.runs.run import RunFolder

LISTED = (*(kind.word for kind in kinds.KINDS if kind.listed), "runs")  # unless asked for other kinds
ALL_LISTED = (*(kind.word for kind in kinds.KINDS), "runs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An offer of a plugin, or a family of them.

    Attributes:
        kind: As in `ALL_LISTED`: ``"backbones"``, ``"export-targets"``.
        name: A name that resolves to it: the bare name of a built-in entry, unless an earlier plugin has the same;
            otherwise the qualified name.
        qualified: ``"torchvision/resnet18"``.
        summary: One line; empty for the members of a family.
        family: Whether it stands for a family (``"timm/..."``), so that `name` does not resolve.
        local: Whether its pretrained weights, or its photos, are known to be on this machine. None for the other
            kinds, which have neither, and for a family.
    """

    kind: str
    name: str
    qualified: str
    summary: str
    family: bool = False
    local: bool | None = None

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as plain values, fit for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """A row of the list of runs. Values that an unfinished run lacks are None.

    Attributes:
        name: Name of the run folder.
        path: Path of the run folder.
        status: As in `RunFolder.status`: ``"finished"``, ``"training"``, ``"interrupted"`` or ``"stopped"``.
        backbone: As requested by the user.
        head: As requested by the user.
        data: Name of the dataset.
        recipe: Name of the recipe.
        split: The split of the figures: ``"test"``, or ``"val"`` if the data has no test split; ``"5 folds"`` of a
            cross-validation; empty if unfinished.
        accuracy: Top-1, 0 to 1; None with several labels per photo.
        mean_ap: Mean average precision, 0 to 1, with several labels per photo; otherwise None.
        interval: 95 % interval of the accuracy, or of the mean average precision.
        seconds: Duration of the run.
        created: Start of the run, ISO 8601.
        tags: Tags of the run: ``hotdog@3``.
    """

    name: str
    path: str
    status: str
    backbone: str
    head: str
    data: str
    recipe: str
    split: str
    accuracy: float | None
    mean_ap: float | None
    interval: tuple[float, float] | None
    seconds: float | None
    created: str
    tags: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as plain values, fit for JSON."""
        return asdict(self)


class _Row(NamedTuple):
    plugin: Plugin
    name: str
    summary: str
    local: bool | None


# Says whether an offer works without a network, by kind. Offers of other kinds always do.
_IS_LOCAL: dict[str, Callable[[Offer[Any]], bool]] = {
    kinds.BACKBONE.name: is_local,
    kinds.DATASET.name: is_local_dataset,
}


class Listing(NamedTuple):
    """The entries of all plugins, and the errors of plugins that could not be asked for something.

    Attributes:
        entries: In the order in which bare names resolve.
        failures: One error per family that failed to list its names, and per plugin that failed to say what is local.
    """

    entries: list[Entry]
    failures: list[PluginError]


def list_entries(
    registry: Registry,
    *,
    word: str = "",
    include: Collection[str] = LISTED,
    expand: bool = False,
) -> Listing:
    """Returns the offers of all plugins.

    Args:
        registry: The plugins.
        word: Part of a name or summary; case is ignored. With a word, the members of families are searched too,
            which may take seconds the first time; without one, only those with weights on this machine are listed.
        include: Some of `ALL_LISTED`.
        expand: Whether to list the members of families even without a word.
    """
    entries: list[Entry] = []
    failures: list[PluginError] = []
    for kind in kinds.KINDS:
        if kind.word not in include:
            continue
        rows = _offer_rows(registry, kind, failures)
        for family, plugin in registry.families(kind):
            rows += _family_rows(family, plugin, failures, expand=bool(word) or expand)
        entries += _entries(kind.word, rows)
        if not (word or expand):
            entries += [_family_entry(kind.word, family, plugin) for family, plugin in registry.families(kind)]
    word = word.lower()
    matches = [entry for entry in entries if word in entry.qualified.lower() or word in entry.summary.lower()]
    return Listing(matches, failures)


def summarize_run(run: RunFolder, tags: Iterable[str] = ()) -> RunSummary:
    """Returns the row of a run; values that its record lacks are ``?`` or None."""
    record = run.record
    config, results = record.config, record.results
    split = next((split for split in ("test", "val") if split in results), "")
    score = read_score(results, split)
    values = {} if score is None else {score.name: score.value}
    return RunSummary(
        name=run.name,
        path=str(run.path),
        status=run.status,
        backbone=str(config.get("backbone", "?")),
        head=str(config.get("head", "?")),
        data=record.data.name or str(config.get("data", "?")),
        recipe=str(config.get("recipe", "?")),
        split=split,
        accuracy=values.get(ACCURACY),
        mean_ap=values.get(MEAN_AP),
        interval=None if score is None else score.interval,
        seconds=_number(results.get("seconds")),
        created=record.created,
        tags=tuple(tags),
    )


def summarize_folds(found: CrossValidationFolder) -> RunSummary:
    """Returns the row of a cross-validation, with the accuracy of all its folds together."""
    config, results = found.record.config, found.record.results
    score = read_score({"folds": dict(results)}, "folds")
    values = {} if score is None else {score.name: score.value}
    return RunSummary(
        name=found.name,
        path=str(found.path),
        status=found.status,
        backbone=str(config.get("backbone", "?")),
        head=str(config.get("head", "?")),
        data=found.record.data or str(config.get("data", "?")),
        recipe=str(config.get("recipe", "?")),
        split=f"{found.record.folds} folds",
        accuracy=values.get(ACCURACY),
        mean_ap=values.get(MEAN_AP),
        interval=None if score is None else score.interval,
        seconds=_number(results.get("seconds")),
        created=found.record.created,
    )


def _number(value: Any) -> float | None:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def search_runs(
    runs: Iterable[RunFolder], word: str = "", *, tags: Mapping[str, Iterable[str]] | None = None
) -> list[RunSummary]:
    """Returns the rows of the runs with a word in their name, backbone, head, data or tags.

    Args:
        runs: The runs to search.
        word: The word; case is ignored. An empty word matches every run.
        tags: Tags by name of the run.
    """
    rows = [summarize_run(run, (tags or {}).get(run.name, ())) for run in runs]
    return [row for row in rows if _matches(row, word)]


def _matches(row: RunSummary, word: str) -> bool:
    return word.lower() in " ".join((row.name, row.backbone, row.head, row.data, *row.tags)).lower()


def _offer_rows(registry: Registry, kind: Kind[Any], failures: list[PluginError]) -> list[_Row]:
    check = _IS_LOCAL.get(kind.name)
    rows: list[_Row] = []
    failed: set[str] = set()
    for offer in registry.offers(kind):
        local = None if check is None else False
        if check is not None and offer.plugin.key not in failed:
            try:
                local = check(offer)
            except PluginError as error:
                failed.add(offer.plugin.key)
                failures.append(error)
        rows.append(_Row(offer.plugin, offer.spec.name, offer.spec.summary, local))
    return rows


def _family_rows(family: Family, plugin: Plugin, failures: list[PluginError], *, expand: bool) -> list[_Row]:
    """Returns the members of a family; without `expand`, those with weights on this machine."""
    try:
        local = list_local_names(family, plugin)
        names = list_family_names(family, plugin) if expand else local
    except PluginError as error:
        failures.append(error)
        return []
    known, has_weights = set(local), isinstance(family, BackboneFamily)
    return [_Row(plugin, name.partition("/")[2], "", name in known if has_weights else None) for name in names]


def _entries(kind: str, rows: Iterable[_Row]) -> Iterator[Entry]:
    """Names built-in entries by their bare name, unless an earlier one has it, and all others by the qualified name.

    The bare name of a third-party entry may work too, unless a family that is not listed here has the same.
    """
    taken: set[str] = set()
    for plugin, name, summary, local in rows:
        bare = plugin.built_in and name not in taken
        if plugin.built_in:
            taken.add(name)
        qualified = f"{plugin.qualifier}/{name}"
        yield Entry(kind=kind, name=name if bare else qualified, qualified=qualified, summary=summary, local=local)


def _family_entry(kind: str, family: Family, plugin: Plugin) -> Entry:
    name = f"{plugin.qualifier}/..."
    return Entry(kind=kind, name=name, qualified=name, summary=family.summary, family=True)


def find_runs(runs: Path, word: str, *, quiet: bool = False) -> list[RunSummary]:
    """Returns the rows of the runs in a folder that match a word, with a warning if the tags cannot be read."""
    try:
        tags = tags_by_run(runs)
    except RunError as error:  # the runs can still be listed
        if not quiet:
            console.write_warning(error.message)
        tags = {}
    folds = [row for row in map(summarize_folds, list_cross_validations(runs)) if _matches(row, word)]
    rows = [*search_runs(list_runs(runs), word, tags=tags), *folds]
    return sorted(rows, key=lambda row: (not row.created, row.created, row.name))


def write_runs(rows: Sequence[RunSummary], *, indent: int = 0) -> None:
    """Prints a table of runs. Unfinished runs have their status in place of the accuracy."""
    table = [
        [
            row.name,
            row.backbone,
            row.head,
            row.data,
            format_run_result(row),
            format_duration(row.seconds),
            ", ".join(row.tags),
        ]
        for row in rows
    ]
    header = ["run", "backbone", "head", "data", "accuracy", "time", "tags"]
    if not any(row.tags for row in rows):
        header, table = header[:-1], [cells[:-1] for cells in table]
    console.write_table(header, table, right=(5,), indent=indent)


def format_run_result(row: RunSummary) -> str:
    """Returns ``93.1 % ± 1.8``, or the status of a run that is not finished."""
    if row.status != "finished":
        return row.status
    of = {"val": " (validation)", "test": "", "": ""}.get(row.split, f" ({row.split})")
    if row.mean_ap is not None:
        return f"{MEAN_AP} {Score(name=MEAN_AP, value=row.mean_ap, interval=row.interval)}{of}"
    if row.accuracy is None:
        return NO_VALUE
    return f"{Score(name=ACCURACY, value=row.accuracy, interval=row.interval)}{of}"
