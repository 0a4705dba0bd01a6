"""``zoo data``: checks a dataset, shows what is wrong with it, and lists what to leave out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.commands.options import GroupedCommand, GroupedOption, config_options, given_values, json_option
from zoo.cli.terminal import console
from zoo.cli.terminal.formatting import format_duration, pluralize
from zoo.cli.terminal.observers import display_events
from zoo.config import make_config
from zoo.errors import DataError
from zoo.events import Work
from zoo.plugins.registry import load_registry
from zoo.utils.paths import typed_path
from zoo.utils.text import printable

if TYPE_CHECKING:
    from zoo.data.check.report import Finding, Report
    from zoo.events import Observer

_FIELDS = ("data_options", "val_fraction", "test_fraction", "seed", "exclude")
_EXAMPLES = 3  # shown of each finding; --json and --html have them all
_MOST_CLASSES = 30  # that a terminal is asked to show
_FILE = click.Path(dir_okay=False, path_type=Path)


@click.group(name="data")
def command() -> None:
    """Look into a dataset before anything is trained on it."""


@command.command(name="check", cls=GroupedCommand, short_help="Find leaks, duplicates, broken and odd files.")
@click.argument("data")
@config_options(only=_FIELDS)
@click.option(
    "--near",
    cls=GroupedOption,
    group="Data",
    type=click.IntRange(0, 64),
    default=None,
    metavar="BITS",
    help="Bits of 128 in which the hashes of near duplicates may differ; 0: only what looks just the same.  "
    "[default: 24]",
)
@click.option(
    "--fix", is_flag=True, cls=GroupedOption, group="Fix", help="List what to leave out, in DATA-exclude.csv."
)
@click.option(
    "--fix-list",
    cls=GroupedOption,
    group="Fix",
    type=_FILE,
    metavar="FILE.csv",
    help="The same, in a file of that name.",
)
@click.option(
    "--fix-into",
    cls=GroupedOption,
    group="Fix",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Copy what is to stay into a new folder. The originals are never touched.",
)
@click.option(
    "--html",
    cls=GroupedOption,
    type=_FILE,
    metavar="FILE.html",
    help="Write a page that shows the photos, pair by pair.",
)
@json_option
def check_command(
    data: str,
    near: int | None,
    fix: bool,
    fix_list: Path | None,
    fix_into: Path | None,
    html: Path | None,
    as_json: bool,
    **values: Any,
) -> None:
    """Find what is wrong with DATA: photos of the test in train, duplicates, two labels, broken and odd files.

    DATA is what 'zoo finetune --data' takes, and is split as it would be there. The exit code is 1 if there is a
    problem, and 0 if there are warnings and notes alone.
    """
    config = make_config("resnet18", data=data, **given_values(values))
    registry = load_registry()
    from zoo.data.check.examine import check_data
    from zoo.data.check.near import RADIUS

    _check_targets(data, fix_list, fix_into, html)
    with display_events(quiet=as_json, next_steps=False) as observer:
        report = check_data(
            data,
            registry=registry,
            options=config.data_options,
            test_fraction=config.test_fraction,
            val_fraction=config.val_fraction,
            seed=config.seed,
            exclude=None if config.exclude is None else typed_path(config.exclude),
            near=RADIUS if near is None else near,
            progress=_progress(observer),
        )
    if fix and fix_list is None:
        fix_list = Path(f"{report.name}-exclude.csv")
    if not as_json:
        _write(report, hint=html is None)
    with display_events(quiet=as_json, next_steps=False) as observer:
        written = _write_files(report, fix_list, fix_into, html, observer)
    if as_json:
        console.write_json({**report.to_dict(), "written": written})
    else:
        _write_written(written)
    click.get_current_context().exit(1 if report.worst == "problem" else 0)


def _check_targets(data: str, fix_list: Path | None, fix_into: Path | None, html: Path | None) -> None:
    """Refuses to write over anything else than an earlier list or page, before minutes are spent on the photos."""
    from zoo.data.check.fix import check_copy_target
    from zoo.data.sources.exclusions import check_list_target
    from zoo.report.html import check_html_target

    if fix_list is not None:
        check_list_target(fix_list)
    if html is not None:
        check_html_target(html)
    if fix_into is not None:
        # Inside the folder that it is a copy of, it would be more data.
        if fix_into.resolve().is_relative_to(typed_path(data).resolve()):
            raise DataError(f"{fix_into} lies in the data.", hint="Name a folder beside it.")
        check_copy_target(fix_into)


def _write_files(
    report: Report, fix_list: Path | None, fix_into: Path | None, html: Path | None, observer: Observer
) -> dict[str, str]:
    """Writes what was asked for, and returns where it is."""
    from zoo.data.check.fix import exclusions, write_clean_copy
    from zoo.data.sources.exclusions import write_exclusions
    from zoo.report.html import write_html_report

    written: dict[str, str] = {}
    if fix_list is not None:
        written["exclude"] = str(write_exclusions(fix_list, exclusions(report)))
    if fix_into is not None:
        written["copy"] = str(write_clean_copy(report, fix_into, progress=_progress(observer)))
    if html is not None:
        written["html"] = str(write_html_report(html, report))
    return written


def _progress(observer: Observer) -> Any:
    return lambda what, done, total: observer(Work(what=what, done=done, total=total))


def _write(report: Report, *, hint: bool) -> None:
    console.write_heading(f"{report.name}: {len(report.photos):,} photos, {format_duration(report.seconds)}")
    if report.note:
        click.echo(printable(report.note))
    click.echo()
    _write_counts(report)
    click.echo()
    for finding in report.findings:
        _write_finding(finding)
    if report.findings:
        click.echo()
    click.echo(", ".join(pluralize(report.count(level), level) for level in ("problem", "warning", "note")))
    if report.findings and hint:
        click.echo("--html FILE.html shows the photos, --json lists all of them.")


def _write_written(written: dict[str, str]) -> None:
    for what, path in written.items():
        click.echo(f"{what}: {printable(path)}")
    if "exclude" in written:
        click.echo(f"'zoo finetune ... --exclude {printable(written['exclude'])}' leaves out what is listed.")


def _write_counts(report: Report) -> None:
    classes = list(next(iter(report.counts.values()), {}))
    if len(classes) > _MOST_CLASSES:
        sums = {part: f"{sum(counted.values()):,}" for part, counted in report.counts.items()}
        console.write_pairs([("classes", str(len(classes))), *sums.items()])
        return
    rows = [(name, *(str(counted[name]) for counted in report.counts.values())) for name in classes]
    console.write_table(("class", *report.counts), rows, right=range(1, len(report.counts) + 1))


def _write_finding(finding: Finding) -> None:
    console.write_finding(finding.level, finding.about, finding.text, finding.advice)
    if finding.level == "note":
        return
    lines = [
        *(f"{photo.name}: {why}" if why else photo.name for photo, why in finding.photos[:_EXAMPLES]),
        *(f"{pair.kept.name} = {pair.other.name}" for pair in finding.pairs[:_EXAMPLES]),
    ]
    more = len(finding.photos) + len(finding.pairs) - len(lines)
    for line in [*lines, *([f"and {more:,} more"] if more else [])]:
        console.write_detail(click.style(printable(line), dim=True))
