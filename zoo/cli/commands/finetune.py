"""``zoo finetune``: fine-tunes a backbone on photos."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from zoo.cli.commands.options import (
    GroupedCommand,
    GroupedOption,
    config_options,
    given_values,
    quiet_option,
    require_data,
    runs_option,
)
from zoo.cli.completion import complete_offers
from zoo.cli.groups import ARGUMENTS, UsageError
from zoo.cli.terminal.observers import display_events
from zoo.cli.terminal.stdout import released_stdout
from zoo.config import AUTO, make_config
from zoo.training.distributed.process_group import ProcessGroup

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from zoo.config import FinetuneConfig
    from zoo.events import Observer


@click.command(
    cls=GroupedCommand,
    name="finetune",
    epilog="\b\nFor example:\n"
    "  zoo finetune --data ./photos\n"
    "  zoo finetune resnet18 --data hotdog\n"
    "  zoo finetune timm/resnet50d --data ./photos --head mlp --head-option hidden=512",
)
@click.argument("backbone", required=False, shell_complete=complete_offers("backbone"))
@config_options()
@click.option(
    "--resume",
    cls=GroupedOption,
    metavar="RUN",
    help="Continue a run that was interrupted, with the settings of that run; after it diverged, with a lower --lr.",
)
@click.option(
    "--resume-anyway",
    "anyway",
    cls=GroupedOption,
    is_flag=True,
    help="With --resume: continue even if data, configuration or code have changed, or the run would diverge again.",
)
@runs_option
@quiet_option
@click.option("--json", "as_json", cls=GroupedOption, is_flag=True, help="Print each event as one line of JSON.")
def command(
    backbone: str | None,
    data: str | None,
    resume: str | None,
    anyway: bool,
    runs: Path,
    quiet: bool,
    as_json: bool,
    **values: Any,
) -> None:
    """Fine-tune BACKBONE on photos, and save weights, results and plots in a run folder.

    Without BACKBONE, the best one is taken whose pretrained weights are on this machine: 'zoo list' marks them.

    Options that are not given take their values from the recipe. The defaults shown are those of the default recipe.
    """
    given = given_values(values)
    if resume is not None:
        if backbone or data or given.keys() - {"lr"}:
            raise UsageError(
                "--resume takes all settings from the run.",
                hint="Leave out the backbone and the other options. Only a run that diverged takes --lr, a lower rate.",
            )
        config, train = _config_of(resume, runs), _resume(resume, runs, anyway=anyway, **given)
    elif anyway:
        raise UsageError("--resume-anyway is only valid with --resume RUN.")
    else:
        config = make_config(backbone or AUTO, data=require_data(data), **given)
        train = _finetune(config, runs)
    if config.devices > 1 and ProcessGroup.from_environment().is_single:
        context = click.get_current_context()
        if resume is None:
            _check_names(config, runs)
        context.exit(_launch(config, context.meta[ARGUMENTS]))
    with display_events(as_json=as_json, quiet=quiet) as observer:
        train(observer)


def _check_names(config: FinetuneConfig, runs: Path) -> None:
    """Fails fast on a wrong name or path, before other processes are started."""
    from zoo.plugins.registry import load_registry
    from zoo.training.request import resolve_names, suggested_offline_command

    registry = load_registry()
    with suggested_offline_command(config, registry):
        resolve_names(config, registry=registry, runs=runs)


def _launch(config: FinetuneConfig, arguments: Sequence[str]) -> int:
    from zoo.training.distributed.device import device_for
    from zoo.training.distributed.launch import launch

    device_for(config.device, ProcessGroup(count=config.devices, local_count=config.devices))
    with released_stdout():
        return launch(arguments, devices=config.devices)


def _config_of(reference: str, runs: Path) -> FinetuneConfig:
    from zoo.runs.open import load_config, open_run

    return load_config(open_run(reference, runs=runs))


def _finetune(config: FinetuneConfig, runs: Path) -> Callable[[Observer], object]:
    from zoo.training.finetune import finetune

    return lambda observer: finetune(config, runs=runs, observer=observer)


def _resume(reference: str, runs: Path, *, anyway: bool, **lr: Any) -> Callable[[Observer], object]:
    from zoo.training.finetune import resume

    return lambda observer: resume(reference, runs=runs, anyway=anyway, observer=observer, **lr)
