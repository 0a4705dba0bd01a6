"""``zoo runs``: lists, renames and deletes runs, and tags them as ``hotdog@3`` or ``hotdog@prod``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from zoo.cli.commands.options import json_option, quiet_option, runs_option
from zoo.cli.completion import complete_runs, complete_runs_and_folds, complete_tags
from zoo.cli.groups import UsageError
from zoo.cli.listing import find_runs, format_run_result, summarize_folds, summarize_run, write_runs
from zoo.display import console
from zoo.display.formatting import NO_VALUE, format_bytes, pluralize
from zoo.runs.cross_validation import find_cross_validation
from zoo.runs.manage import check_deletion, delete_run, rename_run
from zoo.runs.open import open_run
from zoo.runs.run import RunFolder
from zoo.runs.tag_history import read_history
from zoo.runs.tags import has_run, list_tags, tag_run, untag

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from zoo.cli.listing import RunSummary
    from zoo.runs.cross_validation import CrossValidationFolder
    from zoo.runs.tag_history import Tag

_OWN = "Pass a run of this machine: 'zoo runs' lists them."


class _ListByDefault(click.Group):
    """A group whose default command is ``list``: ``zoo runs``, ``zoo runs WORD``, ``zoo runs --json``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Inserts ``list`` if the first argument is not a command."""
        if not args and ctx.resilient_parsing:  # the shell asks which commands there are
            return super().parse_args(ctx, args)
        if not args or (args[0] not in self.commands and args[0] not in ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)


@click.group(name="runs", cls=_ListByDefault)
def command() -> None:
    """List, tag, rename and delete runs.

    'zoo runs [WORD]' is short for 'zoo runs list [WORD]'. Every command that takes a run also takes a tag: a version
    such as hotdog@3, which never moves, or a label such as hotdog@prod, which can be moved to another run.
    """


@command.command(name="list", short_help="List the runs (default).")
@click.argument("word", default="", shell_complete=complete_runs)
@runs_option
@quiet_option
@json_option
def list_command(word: str, runs: Path, quiet: bool, as_json: bool) -> None:
    """List the runs, oldest first. With WORD, only those with WORD in their name, backbone, head, data or tags."""
    rows = find_runs(runs, word, quiet=quiet)
    if as_json:
        console.write_json([row.to_dict() for row in rows])
    elif rows:
        write_runs(rows)
    elif not quiet:
        console.echo(f"No run in {runs}/ matches '{word}'." if word else f"There are no runs in {runs}/.")
        console.echo("'zoo finetune resnet18 --data hotdog' creates one.")


@command.command(name="tag", short_help="Tag a run.")
@click.argument("run", shell_complete=complete_runs)
@click.argument("name", shell_complete=complete_tags)
@runs_option
@quiet_option
def tag_command(run: str, name: str, runs: Path, quiet: bool) -> None:
    """Tag RUN as NAME: hotdog@3, hotdog@prod, or hotdog for the next version.

    A version is assigned once and never moves. Any other label can be moved, and keeps a history of its runs. With
    --quiet, only the tag is printed.
    """
    opened = open_run(run, runs=runs)
    opened.refuse_copy(_OWN)
    tag = tag_run(opened, name, runs=runs)
    console.echo(tag.name if quiet else f"{tag.name} is {tag.run}")


@command.command(name="tags", short_help="List the tags and their runs.")
@click.argument("model", default="")
@click.option("--history", is_flag=True, help="List every change of a tag, oldest first.")
@runs_option
@quiet_option
@json_option
def tags_command(model: str, history: bool, runs: Path, quiet: bool, as_json: bool) -> None:
    """List the tags and their runs. With MODEL, only the tags of that model."""
    tags = read_history(runs) if history else list_tags(runs)
    tags = [tag for tag in tags if model in ("", tag.model, tag.name)]
    if as_json:
        console.write_json([tag.to_dict() for tag in tags])
    elif tags:
        rows = [(tag.name, _format_run(tag, runs), tag.at.replace("T", " ")[:16], tag.by or NO_VALUE) for tag in tags]
        console.write_table(("tag", "run", "since (UTC)" if not history else "at (UTC)", "by"), rows)
    elif not quiet:
        console.echo(f"There are no tags{f' of {model!r}' if model else ''} in {runs}/.")
        console.echo(f"'zoo runs tag RUN {model or 'hotdog'}' assigns the next version to a run.")


@command.command(name="untag", short_help="Remove a tag.")
@click.argument("name", shell_complete=complete_tags)
@runs_option
@quiet_option
def untag_command(name: str, runs: Path, quiet: bool) -> None:
    """Remove the tag NAME. The run and the history of the tag stay, and a version is never assigned again."""
    tag = untag(name, runs=runs)
    if not quiet:
        console.echo(f"{tag.name} was {tag.run}")


@command.command(name="rename", short_help="Rename a run.")
@click.argument("run", shell_complete=complete_runs_and_folds)
@click.argument("name")
@runs_option
@quiet_option
def rename_command(run: str, name: str, runs: Path, quiet: bool) -> None:
    """Rename RUN, a run or a cross-validation, to NAME.

    Its tags, the tables of comparisons and unfinished runs that need its weights follow. With --quiet, only the new
    name is printed.
    """
    old = _open(run, runs)
    new = rename_run(old, name)
    console.echo(new.name if quiet else f"{old.name} is now {new.name}")


@command.command(name="delete", short_help="Delete runs.")
@click.argument("run", nargs=-1, required=True, shell_complete=complete_runs_and_folds)
@click.option("--yes", "-y", is_flag=True, help="Delete without asking.")
@runs_option
@quiet_option
def delete_command(run: tuple[str, ...], yes: bool, runs: Path, quiet: bool) -> None:
    """Delete each RUN, a run or a cross-validation, with everything in its folder, after asking.

    A run that a tag points to, or that a process trains, is not deleted; nor are the others then.
    """
    found = list({opened.path.resolve(): opened for opened in (_open(each, runs) for each in run)}.values())
    for opened in found:
        check_deletion(opened)
    if not (yes or _confirm_deletion(found)):
        console.write_message("Nothing is deleted.")
        click.get_current_context().exit(1)
    for opened in found:
        delete_run(opened)
        console.echo(opened.name if quiet else f"{opened.name} is deleted")


def _open(reference: str, runs: Path) -> RunFolder | CrossValidationFolder:
    """Returns a cross-validation, or a run that may be changed."""
    if (folds := find_cross_validation(reference, runs=runs)) is not None:
        return folds
    run = open_run(reference, runs=runs)
    run.refuse_copy(_OWN)
    return run


def _confirm_deletion(runs: Sequence[RunFolder | CrossValidationFolder]) -> bool:
    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageError(
            "zoo runs delete asks before it deletes, and there is no terminal to ask on.",
            hint="Pass --yes to delete without being asked.",
            ctx=click.get_current_context(),
        )
    for run in runs:
        files = [path.lstat().st_size for path in run.path.rglob("*") if not path.is_dir()]
        console.write_message(
            f"{run.path}: {format_run_result(_summarize(run))}, {pluralize(len(files), 'file')}, "
            f"{format_bytes(sum(files))}"
        )
    question = f"Delete {'this run' if len(runs) == 1 else f'these {len(runs)} runs'}?"
    return click.confirm(question, err=True)


def _summarize(run: RunFolder | CrossValidationFolder) -> RunSummary:
    return summarize_run(run) if isinstance(run, RunFolder) else summarize_folds(run)


def _format_run(tag: Tag, runs: Path) -> str:
    if not tag.run:
        return "(removed)"
    return tag.run if has_run(tag, runs=runs) else f"{tag.run} (gone)"
