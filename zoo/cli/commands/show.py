"""``zoo show``: writes a contact sheet of a dataset's photos, as stored or as the network sees them in training."""

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
    quiet_option,
    split_option,
)
from zoo.config import make_config
from zoo.display import console
from zoo.display.observers import display_events
from zoo.plugins.kinds import BACKBONE
from zoo.plugins.registry import get_card, load_registry
from zoo.preprocess import Preprocess

if TYPE_CHECKING:
    from zoo.config import FinetuneConfig
    from zoo.plugins.registry import Registry
    from zoo.plugins.specs import ImageSet
    from zoo.report.sheets import Views

_FIELDS = (
    *("data_options", "labels", "image_size", "recipe", "seed"),
    *("train_size", "crop_scale", "hflip", "vflip", "rotation", "shear", "color_jitter", "randaugment"),
    *("mixup", "augment", "augment_options"),
)
_COUNT, _COUNT_AUGMENTED = 24, 6
_DEFAULT_PREPROCESS = Preprocess(size=(224, 224), resize=256)  # that of most backbones


@click.command(cls=GroupedCommand, name="show")
@data_argument
@split_option(default="train", help="Split to show.")
@click.option(
    "--count", cls=GroupedOption, type=int, metavar="N", help="Number of photos.  [default: 24, or 6 with --augmented]"
)
@click.option(
    "--output",
    "-o",
    cls=GroupedOption,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.png",
    help="The file to write.  [default: named after the data]",
)
@click.option(
    "--augmented", cls=GroupedOption, is_flag=True, help="Show each photo with the views that the network trains on."
)
@click.option(
    "--backbone", cls=GroupedOption, help="Use the input size and resizing of this backbone.  [default: 224 pixels]"
)
@quiet_option
@config_options(only=_FIELDS)
def command(
    data: str,
    split: str,
    count: int | None,
    output: Path | None,
    augmented: bool,
    backbone: str | None,
    quiet: bool,
    **values: Any,
) -> None:
    """Write a contact sheet of photos of DATA, with their labels."""
    registry = load_registry()
    config = make_config(backbone or "resnet18", data=data, registry=registry, **given_values(values))
    from zoo.data.sources.load import load_corrected, report_left_out
    from zoo.data.sources.resolve import resolve_data
    from zoo.report.sheets import write_sheet

    with display_events(quiet=quiet, next_steps=False) as observer:
        source = resolve_data(data, registry=registry, options=config.data_options, labels=config.labels)
        images = load_corrected(source, observer)
        report_left_out(images, observer)
    views = None
    if augmented:
        views = _augmented_views(config, _preprocess(config, backbone, registry), registry, images)
    target = output or Path(f"{images.name}{'-augmented' if augmented else ''}.png")
    number = count if count is not None else _COUNT_AUGMENTED if augmented else _COUNT
    console.echo(write_sheet(images, target, split=split, count=number, seed=config.seed, views=views))


def _augmented_views(config: FinetuneConfig, preprocess: Preprocess, registry: Registry, images: ImageSet) -> Views:
    from zoo.data.loading.augment import augmented_views
    from zoo.data.loading.augment_params import CropPolicy
    from zoo.data.loading.augmenters import build_augmenters, build_mixers
    from zoo.training.parts import find_augmentations

    classes = len(images.classes)
    choices = find_augmentations(config, registry)
    return augmented_views(
        preprocess,
        CropPolicy.from_config(config),
        augmenters=build_augmenters(choices, preprocess, classes=classes),
        mixers=build_mixers(choices, preprocess, classes=classes),
        classes=classes,
        seed=config.seed,
    )


def _preprocess(config: FinetuneConfig, backbone: str | None, registry: Registry) -> Preprocess:
    preprocess = get_card(registry.find(BACKBONE, backbone)).preprocess if backbone else _DEFAULT_PREPROCESS
    if config.image_size is not None:
        preprocess = preprocess.at_size((config.image_size, config.image_size))
    return preprocess.for_training(config.train_size)
