"""``zoo info``: shows the details of whatever plugins offer under a name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from zoo.cli.commands.options import PAIRS, flag_of, json_option
from zoo.cli.describe import BackboneDescription, DatasetDescription, Description, RecipeDescription, describe
from zoo.cli.terminal import console
from zoo.cli.terminal.formatting import format_count, format_option
from zoo.config import NAMES_OF
from zoo.plugins.options import option_flag
from zoo.plugins.registry import load_registry
from zoo.utils.text import article

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zoo.plugins.specs import WeightsInfo
    from zoo.preprocess import Preprocess


@click.command(name="info")
@click.argument("name")
@json_option
def command(name: str, as_json: bool) -> None:
    """Show the details of a backbone, head, dataset, optimizer, loss ...: options, size, weights and licence."""
    found = describe(name, load_registry())
    if as_json:
        console.write_json([description.to_dict() for description in found])
        return
    for number, description in enumerate(found):
        if number:
            console.echo()
        _write(description)


def _write(description: Description) -> None:
    console.write_heading(f"{description.name}, {article(description.kind)}")
    pairs = [("summary", description.summary), ("plugin", description.plugin)]
    match description:
        case BackboneDescription():
            console.write_pairs([*pairs, *_backbone_pairs(description)], indent=2)
            _write_stages(description)
        case DatasetDescription():
            console.write_pairs([*pairs, *_dataset_pairs(description)], indent=2)
        case RecipeDescription():
            console.write_pairs(pairs, indent=2)
            _write_recipe(description)
        case _:
            console.write_pairs(pairs, indent=2)
    _write_options(description)


def _backbone_pairs(description: BackboneDescription) -> list[tuple[str, str]]:
    size, preprocess = description.size, description.preprocess
    height, width = preprocess.size
    pairs = [("input", f"{height} x {width} pixels"), ("preprocessing", describe_preprocess(preprocess))]
    pairs += _weights_pairs(description.weights, local=description.local)
    if size is not None:
        pairs.append(("parameters", f"{format_count(size.parameters)} ({size.parameters:,}), without a head"))
        pairs.append(("features", f"pooled (N, {size.pooled_width}), map (N, {size.map_width}, h, w)"))
    return pairs


def _weights_pairs(weights: WeightsInfo | None, *, local: bool) -> list[tuple[str, str]]:
    if weights is None:
        return [("weights", "none available; train with --weights none")]
    published = f", ImageNet top-1 {weights.accuracy:.1f} %" if weights.accuracy is not None else ""
    return [
        ("weights", f"{weights.name}{published}{', on this machine' if local else ''}"),
        ("from", weights.source),
        ("licence", weights.licence or "not stated"),
    ]


def describe_preprocess(preprocess: Preprocess) -> str:
    """Returns the steps of the preprocessing in one line."""
    height, width = preprocess.size
    resize = {
        "shorter": f"shorter side to {preprocess.resize}, centre crop",
        "longer": f"longer side to {preprocess.resize}, padded",
        "squash": f"squashed to {height} x {width}",
    }[preprocess.resize_mode]
    mean, std = (", ".join(f"{value:g}" for value in triple) for triple in (preprocess.mean, preprocess.std))
    return f"{resize}, {preprocess.interpolation}; mean {mean}; std {std}"


def _write_stages(description: BackboneDescription) -> None:
    if description.size is None:
        return
    console.echo("\n  Stages, as counted by --freeze")
    stages = description.size.stages
    rows = [(str(number), name, format_count(size)) for number, (name, size) in enumerate(stages, start=1)]
    console.write_table(("", "stage", "parameters"), rows, right=(0, 2), indent=4)


def _dataset_pairs(description: DatasetDescription) -> list[tuple[str, str]]:
    missing = not (description.present or description.local)
    files = f"{description.folder} (not downloaded yet)" if missing else description.folder
    return [("licence", description.licence or "not stated"), ("files", files)]


def _write_recipe(description: RecipeDescription) -> None:
    sections: list[tuple[str, Mapping[str, Any]]] = [
        (_base_of(description), description.values),
        ("With --weights none", description.from_scratch),
        ("With --freeze all", description.frozen),
    ]
    for title, values in sections:
        if values:
            console.echo(f"\n  {title}")
            console.write_pairs([pair for name, value in values.items() for pair in _setting(name, value)], indent=4)


def _setting(name: str, value: Any) -> list[tuple[str, str]]:
    """Returns how a value of a recipe is set on the command line."""
    if name in PAIRS and isinstance(value, dict):
        return [(PAIRS[name], f"{key}={format_option(each)}") for key, each in value.items()]
    if name in NAMES_OF:
        return [(flag_of(name), each) for each in ([value] if isinstance(value, str) else value)]
    return [(flag_of(name), format_option(value))]


def _base_of(description: RecipeDescription) -> str:
    extended = f"the recipe {description.extends}" if description.extends else "the defaults in 'zoo finetune --help'"
    return f"Differences from {extended}"


def _write_options(description: Description) -> None:
    if not description.options:
        return
    console.echo(f"\n  Options, set with {option_flag(description.kind)} NAME=VALUE")
    console.write_pairs(
        ((option.name, option.describe().partition(" ")[2]) for option in description.options), indent=4
    )
