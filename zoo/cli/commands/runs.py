"""``zoo runs``: lists the runs with their accuracy, and gives them names: ``hotdog@3``, ``hotdog@prod``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from zoo.cli.commands.options import json_option, runs_option
from zoo.cli.listing import find_runs, write_runs
from zoo.cli.terminal import console
from zoo.cli.terminal.formatting import NO_VALUE
from zoo.runs.open import open_run
from zoo.runs.tag_history import read_history
from zoo.runs.tags import is_there, list_tags, tag_run, untag

if TYPE_CHECKING:
    from pathlib import Path

    from zoo.runs.tag_history import Tag


class _ListsByDefault(click.Group):
    """A group that lists when no command is named: ``zoo runs``, ``zoo runs WORD``, ``zoo runs --json``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Puts ``list`` before what is not the name of a command."""
        if not args or (args[0] not in self.commands and args[0] not in ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)


@click.group(name="runs", cls=_ListsByDefault)
def command() -> None:
    """List the runs, and name them: hotdog@3 for good, hotdog@prod until it is moved.

    Without a command it lists; 'zoo runs [WORD]' is 'zoo runs list [WORD]'. Whatever takes a run takes its tag.
    """


@command.command(name="list", short_help="List the runs; the same as 'zoo runs'.")
@click.argument("word", default="")
@runs_option
@json_option
def list_command(word: str, runs: Path, as_json: bool) -> None:
    """List the runs, oldest first; with WORD, those that have it in their name, backbone, head, data or tags."""
    rows = find_runs(runs, word)
    if as_json:
        console.write_json([row.to_dict() for row in rows])
    elif rows:
        write_runs(rows)
    else:
        click.echo(f"There are no runs{f' with {word!r} in their name' if word else ''} below {runs}/.")
        click.echo("'zoo finetune resnet18 --data hotdog' makes one.")


@command.command(name="tag", short_help="Give a run a name.")
@click.argument("run")
@click.argument("name")
@runs_option
def tag_command(run: str, name: str, runs: Path) -> None:
    """Let NAME stand for RUN: hotdog@3, hotdog@prod, or hotdog for the next number.

    A numbered version is given once and never moves; any other label moves, and remembers where it was.
    """
    tag = tag_run(open_run(run, runs=runs), name, runs=runs)
    click.echo(f"{tag.name} is {tag.run}")


@command.command(name="tags", short_help="List the names and their runs.")
@click.argument("model", default="")
@click.option("--history", is_flag=True, help="List every pointing and withdrawal, oldest first.")
@runs_option
@json_option
def tags_command(model: str, history: bool, runs: Path, as_json: bool) -> None:
    """List the tags and their runs; with MODEL, those of that model."""
    tags = read_history(runs) if history else list_tags(runs)
    tags = [tag for tag in tags if model in ("", tag.model, tag.name)]
    if as_json:
        console.write_json([tag.to_dict() for tag in tags])
    elif tags:
        rows = [(tag.name, _run(tag, runs), tag.at.replace("T", " ")[:16], tag.by or NO_VALUE) for tag in tags]
        console.write_table(("tag", "run", "since (UTC)" if not history else "at (UTC)", "by"), rows)
    else:
        click.echo(f"There are no tags{f' of {model!r}' if model else ''} in {runs}/.")
        click.echo(f"'zoo runs tag RUN {model or 'hotdog'}' gives a run its next number.")


@command.command(name="untag", short_help="Withdraw a name.")
@click.argument("name")
@runs_option
def untag_command(name: str, runs: Path) -> None:
    """Withdraw the tag NAME. Its run stays; its history too, and its number goes to no other run."""
    tag = untag(name, runs=runs)
    click.echo(f"{tag.name} was {tag.run}")


def _run(tag: Tag, runs: Path) -> str:
    if not tag.run:
        return "(withdrawn)"
    return tag.run if is_there(tag, runs=runs) else f"{tag.run} (gone)"
