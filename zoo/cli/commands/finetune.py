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
from zoo.cli.completion import complete_offers, complete_runs_and_folds
from zoo.cli.groups import ARGUMENTS, UsageError
from zoo.config import change_config, make_config, read_settings
from zoo.display import console
from zoo.display.observers import display_events
from zoo.display.stdout import released_stdout
from zoo.plugins.registry import load_registry
from zoo.recipes import located_options, overlay
from zoo.runs.cross_validation import find_cross_validation
from zoo.training.distributed.process_group import ProcessGroup

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from zoo.config import FinetuneConfig
    from zoo.events import Observer
    from zoo.plugins.registry import Registry
    from zoo.training.cross_validation import CrossValidation


@click.command(
    cls=GroupedCommand,
    name="finetune",
    epilog="\b\nFor example:\n"
    "  zoo finetune --data ./photos\n"
    "  zoo finetune resnet18 --data hotdog\n"
    "  zoo finetune timm/resnet50d --data ./photos --head mlp --head-option hidden=512\n"
    "  zoo finetune --like resnet18-linear-hotdog-1 --lr 1e-3\n"
    "  zoo finetune resnet18 --data ./photos --groups patients.csv --folds 5",
)
@click.argument("backbone", required=False, shell_complete=complete_offers("backbone"))
@config_options()
@click.option(
    "--folds",
    cls=GroupedOption,
    group="Data",
    type=click.IntRange(2, 100),
    metavar="N",
    help="Cross-validate: train N times, each time without one of N folds of the training photos, and measure every "
    "photo by the run that did not see it.",
)
@click.option(
    "--config",
    "config_file",
    cls=GroupedOption,
    group="Settings",
    metavar="FILE",
    help="TOML file with any of these options, the data and the backbone; options given here take precedence.",
)
@click.option(
    "--like",
    cls=GroupedOption,
    group="Settings",
    metavar="RUN",
    help="Take all settings from a run, except those given here; this is a new run.",
)
@click.option(
    "--resume",
    cls=GroupedOption,
    metavar="RUN",
    shell_complete=complete_runs_and_folds,
    help="Continue a run or a cross-validation that was interrupted, with its settings; after a run diverged, with a "
    "lower --lr.",
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
    folds: int | None,
    config_file: str | None,
    like: str | None,
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
    given, registry = given_values(values), load_registry()
    if resume is not None:
        if backbone or data or folds or config_file or like or given.keys() - {"lr"}:
            raise UsageError(
                "--resume takes all settings from the run.",
                hint="Leave out the backbone and the other options. Only a run that diverged takes --lr, a lower rate.",
            )
        if find_cross_validation(resume, runs=runs) is not None:
            _run_folds(_resume_folds(resume, runs, registry, anyway=anyway, **given), quiet=quiet, as_json=as_json)
            return
        config, train = _config_of(resume, runs), _resume(resume, runs, registry, anyway=anyway, **given)
    elif anyway:
        raise UsageError("--resume-anyway is only valid with --resume RUN.")
    else:
        named = {name: value for name, value in {"backbone": backbone, "data": data}.items() if value}
        config = _make_config({**named, **given}, config_file, like, runs, registry)
        if folds is not None:
            files = () if config_file is None else (config_file,)
            _run_folds(_cross_validate(config, folds, runs, registry), *files, quiet=quiet, as_json=as_json)
            return
        train = _finetune(config, runs, registry)
    if config.devices > 1 and ProcessGroup.from_environment().is_single:
        context = click.get_current_context()
        if resume is None:
            _check_names(config, runs, registry)
        context.exit(_launch(config, context.meta[ARGUMENTS]))
    files = () if config_file is None else (config_file,)
    with display_events(as_json=as_json, quiet=quiet) as observer, located_options(*files):
        train(observer)


def _run_folds(train: Callable[[Observer], CrossValidation], *files: str, quiet: bool, as_json: bool) -> None:
    with display_events(as_json=as_json, quiet=quiet, next_steps=False) as observer, located_options(*files):
        result = train(observer)
    if quiet and not as_json:
        console.echo(str(result.path))


def _check_names(config: FinetuneConfig, runs: Path, registry: Registry) -> None:
    """Fails fast on a wrong name or path, before other processes are started."""
    from zoo.training.request import resolve_names, suggested_offline_command

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


def _make_config(
    given: dict[str, Any], config_file: str | None, like: str | None, runs: Path, registry: Registry
) -> FinetuneConfig:
    if like is not None:
        if config_file or "recipe" in given:
            raise UsageError(
                "--like takes all settings from the run.",
                hint=f"Leave out {'--config' if config_file else '--recipe'}, and pass the options that should differ.",
            )
        from zoo.runs.open import open_run
        from zoo.runs.settings import requested_config

        return change_config(requested_config(open_run(like, runs=runs)), given)
    if config_file is not None:
        given = overlay(read_settings(config_file), given)
    return make_config(**{**given, "data": require_data(given.get("data"))}, registry=registry)


def _finetune(config: FinetuneConfig, runs: Path, registry: Registry) -> Callable[[Observer], object]:
    from zoo.training.finetune import finetune

    return lambda observer: finetune(config, runs=runs, observer=observer, registry=registry)


def _resume(reference: str, runs: Path, registry: Registry, *, anyway: bool, **lr: Any) -> Callable[[Observer], object]:
    from zoo.training.finetune import resume

    return lambda observer: resume(reference, runs=runs, anyway=anyway, observer=observer, registry=registry, **lr)


def _cross_validate(
    config: FinetuneConfig, folds: int, runs: Path, registry: Registry
) -> Callable[[Observer], CrossValidation]:
    from zoo.training.cross_validation import cross_validate

    return lambda observer: cross_validate(config, folds=folds, runs=runs, observer=observer, registry=registry)


def _resume_folds(
    reference: str, runs: Path, registry: Registry, *, anyway: bool, **lr: Any
) -> Callable[[Observer], CrossValidation]:
    if lr:
        raise UsageError(
            "--lr is for a run that diverged, not for a cross-validation.",
            hint="Resume the run of the fold first: zoo finetune --resume FOLDER/fold-1 --lr ...",
        )
    from zoo.training.cross_validation import resume_cross_validation

    return lambda observer: resume_cross_validation(
        reference, runs=runs, anyway=anyway, observer=observer, registry=registry
    )
