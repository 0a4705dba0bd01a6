"""``zoo data``: checks a dataset, and lists or leaves out the photos that should not be used."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.commands.options import (
    GroupedCommand,
    GroupedOption,
    config_options,
    data_argument,
    given_values,
    json_option,
    quiet_option,
)
from zoo.config import make_config
from zoo.display import console
from zoo.display.formatting import format_duration, pluralize
from zoo.display.observers import display_events
from zoo.errors import DataError
from zoo.events import Work
from zoo.plugins.registry import load_registry
from zoo.utils.paths import parse_path
from zoo.utils.text import printable

if TYPE_CHECKING:
    from collections.abc import Collection

    from zoo.data.check.report import DataFinding, DataReport
    from zoo.events import Observer
    from zoo.training.suspects.result import Suspects

_FIELDS = ("data_options", "val_fraction", "test_fraction", "seed", "exclude", "labels", "groups")
_MAX_EXAMPLES = 3  # of each finding; --json and --html have all
_MAX_SUSPECTS = 20  # that are printed; --json has all
_MAX_CLASSES = 30  # in the table of counts
_FILE = click.Path(dir_okay=False, path_type=Path)


@click.group(name="data")
def command() -> None:
    """Inspect a dataset before training on it."""


@command.command(name="check", cls=GroupedCommand, short_help="Find leaks, duplicates and broken files.")
@data_argument
@config_options(only=_FIELDS)
@click.option(
    "--near",
    cls=GroupedOption,
    group="Data",
    type=click.IntRange(0, 64),
    default=None,
    metavar="DISTANCE",
    help="Maximum distance of near duplicates, of 128; 0: only identical-looking photos.  [default: 28]",
)
@click.option(
    "--fix", is_flag=True, cls=GroupedOption, group="Fix", help="List the photos to leave out in DATA-exclude.csv."
)
@click.option(
    "--fix-list",
    cls=GroupedOption,
    group="Fix",
    type=_FILE,
    metavar="FILE.csv",
    help="As --fix, in a file of this name.",
)
@click.option(
    "--fix-into",
    cls=GroupedOption,
    group="Fix",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Copy the photos to keep into a new directory; the originals are not changed.",
)
@click.option(
    "--html",
    cls=GroupedOption,
    type=_FILE,
    metavar="FILE.html",
    help="Write a report that shows the photos, pair by pair.",
)
@quiet_option
@json_option
def check_command(
    data: str,
    near: int | None,
    fix: bool,
    fix_list: Path | None,
    fix_into: Path | None,
    html: Path | None,
    quiet: bool,
    as_json: bool,
    **values: Any,
) -> None:
    """Check DATA for leaks between splits, duplicates, conflicting labels, and broken or unusual files.

    DATA is a dataset, a folder or a CSV file, and is split as 'zoo finetune --data' would split it. The exit code is
    1 if there is a problem. With --quiet, only warnings and problems are printed.
    """
    registry = load_registry()
    config = make_config("resnet18", data=data, registry=registry, **given_values(values))
    from zoo.data.check.examine import check_data
    from zoo.data.check.hash_index import RADIUS

    _check_targets(data, fix_list, fix_into, html)
    with display_events(quiet=quiet or as_json, next_steps=False) as observer:
        report = check_data(
            data,
            registry=registry,
            options=config.data_options,
            test_fraction=config.test_fraction,
            val_fraction=config.val_fraction,
            seed=config.seed,
            groups=config.groups,
            exclude=None if config.exclude is None else parse_path(config.exclude),
            labels=config.labels,
            near=RADIUS if near is None else near,
            progress=_progress(observer),
        )
    if fix and fix_list is None:
        fix_list = Path(f"{report.name}-exclude.csv")
    if quiet and not as_json:
        _write_findings(report, levels=("problem", "warning"))
    elif not as_json:
        _write_report(report, hint=html is None)
    with display_events(quiet=quiet or as_json, next_steps=False) as observer:
        written = _write_files(report, fix_list, fix_into, html, observer)
    if as_json:
        console.write_json({**report.to_dict(), "written": written})
    else:
        _write_paths(written, hint=not quiet)
    click.get_current_context().exit(1 if report.worst == "problem" else 0)


@command.command(name="suspects", cls=GroupedCommand, short_help="Find photos whose labels are probably wrong.")
@data_argument
@click.option(
    "--backbone",
    cls=GroupedOption,
    group="Model",
    metavar="NAME",
    help="Whose features to use.  [default: the best whose pretrained weights are on this machine]",
)
@config_options(only=(*_FIELDS, "device"))
@click.option(
    "--sheet", cls=GroupedOption, type=_FILE, metavar="FILE.png", help="Write a picture of the first 24 suspects."
)
@click.option(
    "--fix-list",
    cls=GroupedOption,
    group="Fix",
    type=_FILE,
    metavar="FILE.csv",
    help="List the suspects, to leave them out with --exclude.",
)
@click.option(
    "--fix-labels",
    cls=GroupedOption,
    group="Fix",
    type=_FILE,
    metavar="FILE.csv",
    help="List the suspects with the classes that they look like, to correct them with --labels.",
)
@quiet_option
@json_option
def suspects_command(
    data: str,
    backbone: str | None,
    sheet: Path | None,
    fix_list: Path | None,
    fix_labels: Path | None,
    quiet: bool,
    as_json: bool,
    **values: Any,
) -> None:
    """Find photos of DATA, in all splits, whose labels are probably wrong.

    A pretrained backbone computes features, and linear models on them predict each photo without having seen it, its
    group or near duplicates of it. Suspects are confidently predicted as another class. Some of them are right: look at
    them, and delete the lines that are before you use a list.
    """
    from zoo.data.sources.corrections import check_corrections_target
    from zoo.data.sources.exclusions import check_list_target
    from zoo.training.suspects.find import find_suspects

    if fix_list is not None:
        check_list_target(fix_list)
    if fix_labels is not None:
        check_corrections_target(fix_labels)
    registry = load_registry()
    config = make_config(backbone, data=data, registry=registry, **given_values(values))
    with display_events(quiet=quiet or as_json, next_steps=False) as observer:
        found = find_suspects(
            data,
            backbone=backbone,
            observer=observer,
            registry=registry,
            **{name: getattr(config, name) for name in (*_FIELDS, "device")},
        )
    written: dict[str, str] = {}
    if sheet is not None:
        written["sheet"] = str(found.write_sheet(sheet))
    if fix_list is not None:
        written["exclude"] = str(found.write_exclusions(fix_list))
    if fix_labels is not None:
        written["labels"] = str(found.write_corrections(fix_labels))
    if as_json:
        console.write_json({**found.to_dict(), "written": written})
        return
    _write_suspects(found)
    _write_paths(written, hint=not quiet)


def _write_suspects(found: Suspects) -> None:
    suspects = found.suspects
    listed = ", ".join(f"{few:,} of {total:,} in {split}" for split, (few, total) in found.counts().items())
    console.write_heading(f"{found.name}: {pluralize(len(suspects), 'suspect')} ({listed})")
    if found.unjudged:
        console.echo(
            f"{pluralize(found.unjudged, 'photo')} cannot be judged: no other group has the class, so that nothing "
            "is left to learn it from."
        )
    estimate = found.judgement.estimated_errors
    console.echo(f"Estimated wrong labels: {estimate:.0f}. Features of {found.backbone}, {found.seconds:.0f} s.")
    if not suspects:
        return
    console.echo()
    rows = [(str(each.rank), each.split, each.name, each.reason) for each in suspects[:_MAX_SUSPECTS]]
    console.write_table(("", "split", "photo", "reason"), rows, right=(0,))
    if len(suspects) > _MAX_SUSPECTS:
        console.echo(f"and {len(suspects) - _MAX_SUSPECTS:,} more: --sheet shows, --fix-list and --json list them.")


def _check_targets(data: str, fix_list: Path | None, fix_into: Path | None, html: Path | None) -> None:
    """Fails fast if an output would overwrite anything but an earlier list or report."""
    from zoo.data.check.fix import check_copy_target
    from zoo.data.sources.exclusions import check_list_target
    from zoo.report.html import check_html_target

    if fix_list is not None:
        check_list_target(fix_list)
    if html is not None:
        check_html_target(html)
    if fix_into is not None:
        # A copy inside the folder of the data would become part of the data.
        if fix_into.resolve().is_relative_to(parse_path(data).resolve()):
            raise DataError(f"{fix_into} lies inside the data.", hint="Choose a directory outside of it.")
        check_copy_target(fix_into)


def _write_files(
    report: DataReport, fix_list: Path | None, fix_into: Path | None, html: Path | None, observer: Observer
) -> dict[str, str]:
    """Writes the requested files, and returns their paths by kind."""
    from zoo.data.check.fix import list_exclusions, write_clean_copy
    from zoo.data.sources.exclusions import write_exclusions
    from zoo.report.html import write_html_report

    written: dict[str, str] = {}
    if fix_list is not None:
        written["exclude"] = str(write_exclusions(fix_list, list_exclusions(report)))
    if fix_into is not None:
        written["copy"] = str(write_clean_copy(report, fix_into, progress=_progress(observer)))
    if html is not None:
        written["html"] = str(write_html_report(html, report))
    return written


def _progress(observer: Observer) -> Any:
    return lambda what, done, total: observer(Work(what=what, done=done, total=total))


def _write_report(report: DataReport, *, hint: bool) -> None:
    console.write_heading(f"{report.name}: {len(report.photos):,} photos, {format_duration(report.seconds)}")
    if report.note:
        console.echo(printable(report.note))
    console.echo()
    _write_counts(report)
    console.echo()
    _write_findings(report, levels=("problem", "warning", "note"))
    if report.findings:
        console.echo()
    console.echo(", ".join(pluralize(report.count(level), level) for level in ("problem", "warning", "note")))
    if report.findings and hint:
        console.echo("--html FILE.html shows the photos, --json lists all of them.")


def _write_paths(written: dict[str, str], *, hint: bool) -> None:
    for kind, path in written.items():
        console.echo(f"{kind}: {printable(path)}")
    if hint and "exclude" in written:
        console.echo(f"To leave these photos out: 'zoo finetune ... --exclude {printable(written['exclude'])}'.")
    if hint and "labels" in written:
        console.echo(f"To correct these labels: 'zoo finetune ... --labels {printable(written['labels'])}'.")


def _write_counts(report: DataReport) -> None:
    kind, kinds = ("label", "labels") if report.multi_label else ("class", "classes")
    classes = list(next(iter(report.counts.values()), {}))
    if len(classes) > _MAX_CLASSES:
        sums = {split: f"{sum(photo.split == split for photo in report.photos):,}" for split in report.counts}
        console.write_pairs([(kinds, str(len(classes))), *sums.items()])
        return
    rows = [(name, *map(str, counts)) for name, counts in report.count_table()]
    console.write_table((kind, *report.counts), rows, right=range(1, len(report.counts) + 1))


def _write_findings(report: DataReport, *, levels: Collection[str]) -> None:
    for finding in report.findings:
        if finding.level in levels:
            _write_finding(finding)


def _write_finding(finding: DataFinding) -> None:
    console.write_finding(finding.level, finding.about, finding.text, finding.advice)
    if finding.level == "note":
        return
    lines = [
        *(f"{photo.name}: {why}" if why else photo.name for photo, why in finding.photos[:_MAX_EXAMPLES]),
        *(f"{pair.original.name} = {pair.duplicate.name}" for pair in finding.pairs[:_MAX_EXAMPLES]),
    ]
    more = len(finding.photos) + len(finding.pairs) - len(lines)
    for line in [*lines, *([f"and {more:,} more"] if more else [])]:
        console.write_detail(click.style(printable(line), dim=True))
