"""Adapts a training to data with several labels per photo."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from zoo.config import OWNER, FinetuneConfig
from zoo.errors import ConfigError, DataError
from zoo.plugins.kinds import LOSS
from zoo.plugins.registry import shortest_names
from zoo.plugins.specs import SPLITS
from zoo.training.monitor import VAL_MAP

if TYPE_CHECKING:
    from zoo.models.offers import Offers
    from zoo.plugins.registry import Registry
    from zoo.plugins.specs import ImageSet

_LOSS = "bce"  # takes the place of the default loss
_ONE_CLASS = ("sampler", "logit_adjustment")  # options that count photos by their class
_DEFAULTS = {field.name: field.default for field in dataclasses.fields(FinetuneConfig)}


def adapt_to_labels(
    config: FinetuneConfig, offers: Offers, images: ImageSet, registry: Registry
) -> tuple[FinetuneConfig, Offers, tuple[str, ...]]:
    """Returns configuration and offers that fit the labels of the data, and sentences on what was adapted.

    Several labels per photo need a loss with sigmoids: `_LOSS` replaces the default loss, and any other is an error.

    Args:
        config: The configuration.
        offers: The loss that it names, among others.
        images: The data.
        registry: The plugins.

    Raises:
        ConfigError: The loss, `monitor` or `threshold` does not fit the data.
        DataError: No photo of a split has a label, so that nothing can be measured on it.
    """
    if not images.multi_label:
        _check_single(config, images)
        return config, offers, ()
    _check_unbalanced(config, images)
    _check_splits(images)
    if offers.loss is None or offers.loss.spec.activation == "sigmoid":
        return config, offers, ()
    if config.loss != _DEFAULTS["loss"]:
        fitting = {
            name for name, offer in shortest_names(registry.offers(LOSS)).items() if offer.spec.activation == "sigmoid"
        }
        raise ConfigError(
            f"{OWNER}: option 'loss' is '{config.loss}', whose probabilities sum to one, but the photos of "
            f"'{images.name}' have any number of labels.",
            hint=f"Losses with a probability for each label: {', '.join(sorted(fitting))}.",
        )
    loss = registry.choose(LOSS, _LOSS, {})
    text = f"The photos have any number of labels: the loss is {_LOSS}, with a probability for each label."
    return dataclasses.replace(config, loss=_LOSS), dataclasses.replace(offers, loss=loss), (text,)


def _check_unbalanced(config: FinetuneConfig, images: ImageSet) -> None:
    for name in _ONE_CLASS:
        if getattr(config, name) != _DEFAULTS[name]:
            raise ConfigError(
                f"{OWNER}: option '{name}' is for one class per photo; the photos of '{images.name}' have any number "
                "of labels.",
                hint="Leave it out.",
            )


def _check_splits(images: ImageSet) -> None:
    for split in SPLITS:
        samples = getattr(images, split)
        if samples and not any(sample.labels for sample in samples):
            raise DataError(
                f"None of the {len(samples)} {split} photos of '{images.name}' has a label.",
                hint="Move photos with labels into that split, or leave the split out.",
            )


def _check_single(config: FinetuneConfig, images: ImageSet) -> None:
    for name, value, given in (
        ("threshold", config.threshold, config.threshold != _DEFAULTS["threshold"]),
        ("monitor", config.monitor, config.monitor == VAL_MAP),
    ):
        if given:
            raise ConfigError(
                f"{OWNER}: option '{name}' is '{value}', which is for several labels per photo; each photo of "
                f"'{images.name}' has one class.",
                hint="Leave it out.",
            )
