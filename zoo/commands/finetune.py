"""``zoo finetune``: fine-tunes a backbone on photos."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from zoo.commands._options import (
    GroupedCommand,
    GroupedOption,
    config_options,
    given_values,
    quiet_option,
    runs_option,
)
from zoo.config import make_config
from zoo.observers import observing


@click.command(
    cls=GroupedCommand,
    name="finetune",
    epilog="\b\nFor example:\n"
    "  zoo finetune resnet18 --data hotdog\n"
    "  zoo finetune timm/resnet50d --data ./photos --head mlp --head-option hidden=512",
)
@click.argument("backbone")
@config_options()
@runs_option
@quiet_option
@click.option("--json", "as_json", cls=GroupedOption, is_flag=True, help="Print every event as a line of JSON.")
def command(backbone: str, data: str | None, runs: Path, quiet: bool, as_json: bool, **values: Any) -> None:
    """Fine-tune BACKBONE on photos; leaves a run folder.

    What is not said, the recipe decides; the defaults shown are those of the default recipe.
    """
    data = require_data(data)
    config = make_config(backbone, data=data, **given_values(values))
    from zoo.finetune import finetune

    with observing(as_json=as_json, quiet=quiet) as observer:
        finetune(config, runs=runs, observer=observer)


def require_data(data: str | None) -> str:
    """Returns `data`; when it is missing, tells what it can be.

    Raises:
        click.UsageError: It is missing.
    """
    if data:
        return data
    from zoo.plugins import load_registry

    named = ", ".join(offer.spec.name for offer in load_registry().datasets()) or "none installed"
    raise click.UsageError(
        "What shall it learn from? Give --data one of:\n"
        f"  a dataset        {named}\n"
        "  a folder         ./photos, with a folder of photos for each class\n"
        "  a CSV file       photos.csv, of path,label"
    )
