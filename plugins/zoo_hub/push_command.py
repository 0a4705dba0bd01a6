"""``zoo push``: publishes a run on the Hugging Face Hub."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from zoo.cli.commands.options import json_option, quiet_option, runs_option
from zoo.cli.completion import complete_runs
from zoo.display import console
from zoo.display.formatting import format_bytes
from zoo.display.observers import display_events
from zoo.errors import ConfigError
from zoo.inference.run import open_run
from zoo.plugins.registry import load_registry
from zoo_hub.push import Pushed, Target, check_licence, find_target, push
from zoo_hub.repository import Repository, parse_repository
from zoo_hub.staging import Publication, check_publishable, stage

if TYPE_CHECKING:
    from collections.abc import Iterator


@click.command(
    "push",
    epilog="\b\nFor example:\n"
    "  zoo push resnet18-linear-photos-1 anna/hotdog --license apache-2.0\n"
    "  zoo predict hf:anna/hotdog photo.jpg",
)
@click.argument("run", shell_complete=complete_runs)
@click.argument("repository", metavar="[USER/]NAME")
@click.option("--private", is_flag=True, help="Make a new repository private; an existing one stays as it is.")
@click.option("--message", "-m", metavar="TEXT", help="Message of the commit.  [default: Push RUN]")
@click.option("--revision", metavar="BRANCH", help="Branch to push to, created if missing.  [default: main]")
@click.option("--create-pr", is_flag=True, help="Open a pull request instead of changing the branch.")
@click.option(
    "--license", "licence", metavar="ID", help="Licence of the model, as the Hub writes it: apache-2.0, mit ..."
)
@click.option("--no-onnx", is_flag=True, help="Leave out the ONNX file.")
@click.option(
    "--data", metavar="DATA", help="Photos to compare a new ONNX file on.  [default: the run's validation photos]"
)
@click.option("--overwrite-readme", is_flag=True, help="Replace a README.md that was edited on the Hub.")
@click.option(
    "--to",
    "folder",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write what would be published to this new folder, and push nothing.",
)
@runs_option
@quiet_option
@json_option
def command(
    run: str,
    repository: str,
    private: bool,
    message: str | None,
    revision: str | None,
    create_pr: bool,
    licence: str | None,
    no_onnx: bool,
    data: str | None,
    overwrite_readme: bool,
    folder: Path | None,
    runs: Path,
    quiet: bool,
    as_json: bool,
) -> None:
    """Publish RUN in the repository USER/NAME on the Hugging Face Hub, which is created if it is missing.

    Published are the weights, the ONNX file, files that timm loads if it has the network, and a model card. Names of
    photos and folders of this machine are not. 'hf:USER/NAME' then means the run wherever a run can be named.
    """
    opened, registry = open_run(run, runs=runs), load_registry()
    check_publishable(opened)
    if create_pr and revision:
        raise click.UsageError("A pull request is made for the main branch: leave out --revision.")
    publication = Publication(
        repository=repository, licence=check_licence(licence) if licence else "", onnx=not no_onnx, data=data
    )
    if folder is not None:
        publication = replace(publication, repository=parse_repository(repository).id)
        with _new_folder(folder) as staged, display_events(quiet=quiet or as_json, next_steps=False) as observer:
            stage(opened, staged, publication, registry, observer)
        console.echo(folder)
        return
    target = Target(
        repository=_with_revision(find_target(repository), revision),
        private=private,
        create_pr=create_pr,
        overwrite_readme=overwrite_readme,
    )
    with tempfile.TemporaryDirectory(prefix="zoo-push-") as temporary:
        staged = Path(temporary)
        with display_events(quiet=quiet or as_json, next_steps=False) as observer:
            stage(opened, staged, replace(publication, repository=target.repository.id), registry, observer)
        size = sum(path.stat().st_size for path in staged.rglob("*") if path.is_file())
        pushed = push(staged, target, message=message or f"Push {opened.name}", quiet=quiet or as_json)
    if as_json:
        console.write_json(
            {"repository": target.repository.id, "url": pushed.url, "commit": pushed.commit, "bytes": size}
        )
    elif quiet:
        console.echo(pushed.url)
    else:
        _write(pushed, target.repository, size=size, licence=publication.licence)


def _with_revision(repository: Repository, revision: str | None) -> Repository:
    return repository if revision is None else parse_repository(f"{repository.id}@{revision}")


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """Yields a folder that gets its name if the block ends without an error."""
    try:
        if folder.exists() and any(folder.iterdir()):
            raise ConfigError(f"{folder} exists and is not empty.", hint="Pass a new folder with --to.")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".zoo-push-") as temporary:
            staged = Path(temporary) / folder.name
            staged.mkdir()
            yield staged
            if folder.exists():
                folder.rmdir()
            staged.rename(folder)
    except OSError as error:
        raise ConfigError(f"Cannot write {folder}: {error.strerror or error}.", hint="Choose another --to.") from error


def _write(pushed: Pushed, repository: Repository, *, size: int, licence: str) -> None:
    console.write_heading(pushed.url)
    console.write_pairs([("commit", pushed.commit), ("size", format_bytes(size))], indent=2)
    if pushed.kept_readme:
        console.write_warning("README.md was edited on the Hub, and is kept: --overwrite-readme replaces it.")
    if not licence:
        console.write_warning("The model card states no licence: --license apache-2.0 would.")
    console.echo("\nWhat to try next:")
    console.echo(f"  zoo predict {repository} photo.jpg")
    console.echo(f"  zoo finetune NETWORK --data ./photos --weights {repository}")
