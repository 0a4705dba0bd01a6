"""Makes up for classes of different size: weights in the loss, the drawing of photos, and an adjustment of logits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeGuard

from zoo.data.sources.allocation import count_labels
from zoo.data.sources.class_weights import read_class_weights
from zoo.data.targets import single_label
from zoo.errors import ConfigError, did_you_mean
from zoo.plugins.losses import check_balancing
from zoo.utils.paths import missing_path_advice, parse_path

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zoo.config import FinetuneConfig
    from zoo.plugins.specs import ImageSet, LossSpec

RULES = ("none", "balanced", "effective")  # what `FinetuneConfig.class_weights` may be besides a file
# Of the paper's values (0.9 to 0.9999) the one for classes of tens to hundreds of photos.
_BETA = 0.99
_LARGEST = 10.0  # weight of a label that few photos have: a handful of photos must not outweigh all others


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassBalance:
    """What a training does about classes of different size; each tuple has a number for each class, or none.

    Attributes:
        weights: Weights of the photos of a class in the loss; their mean over all training photos is 1.
        positive_weights: With any number of labels per photo, weights of the loss of a label in photos that have it.
        draws: How often an epoch shows a photo of a class on average.
        logit_offsets: Added to the logits in the loss.
    """

    weights: tuple[float, ...] = ()
    positive_weights: tuple[float, ...] = ()
    draws: tuple[float, ...] = ()
    logit_offsets: tuple[float, ...] = ()

    @property
    def loss_weights(self) -> tuple[float, ...]:
        """The weights with which the loss is built: 1 where only a solver for the head will weigh the draws."""
        return self.weights or (1.0,) * len(self.draws)

    def describe(self, classes: Sequence[str]) -> dict[str, dict[str, float]]:
        """Returns what the run record contains: the numbers of each class by its name."""
        kinds = ("weights", "positive_weights", "draws", "logit_offsets")
        found = {kind: getattr(self, kind) for kind in kinds}
        return {key: dict(zip(classes, values, strict=True)) for key, values in found.items() if values}


def is_balancing(config: FinetuneConfig) -> bool:
    """Returns whether a configuration does anything about classes of different size."""
    return config.class_weights != "none" or config.sampler != "none" or config.logit_adjustment > 0


def check_balance(config: FinetuneConfig, loss: LossSpec) -> None:
    """Checks what can be known before the photos are found. Imports no torch.

    Raises:
        ConfigError: There is no file of class weights, or the loss cannot be weighted or adjusted.
    """
    if config.class_weights not in RULES and not (path := parse_path(config.class_weights)).is_file():
        advice = did_you_mean(config.class_weights, RULES) or missing_path_advice(config.class_weights)
        raise ConfigError(
            f"finetune: option 'class_weights' is '{config.class_weights}', but there is no file {path}.",
            hint=advice or f"Pass {', '.join(RULES)} or a CSV file of class,weight.",
        )
    # Whether photos have any number of labels is not known yet.
    check_balancing(loss, weighted=_needs_weights(config) and not loss.per_label, adjusted=config.logit_adjustment > 0)


def make_balance(
    config: FinetuneConfig, images: ImageSet, *, recorded: Mapping[str, Any] | None = None
) -> ClassBalance:
    """Returns what a configuration asks for.

    Args:
        config: The configuration.
        images: All splits; the training photos are counted.
        recorded: The weights that a run to resume has recorded, by class. They take the place of a file, which may
            have changed or be gone.

    Raises:
        ConfigError: The file of class weights is wrong; the message names the line.
    """
    if not is_balancing(config):
        return ClassBalance()
    if images.multi_label:
        return ClassBalance(positive_weights=_find_positive_weights(config.class_weights, images, recorded))
    from zoo.data.loading.sampling import draw_rates  # with torch, for which the checks above do not wait

    counts = [0] * len(images.classes)
    for sample in images.train:
        counts[single_label(sample)] += 1
    weights: tuple[float, ...] = ()
    if config.class_weights != "none":
        weights = _normalise(_find_weights(config.class_weights, images.classes, counts, recorded), counts)
    draws = draw_rates(counts, config.sampler) if config.sampler != "none" else ()
    offsets: tuple[float, ...] = ()
    if config.logit_adjustment:
        # The share of each class as the loss sees it: Theorem 1 of the paper has it for weighted losses, too.
        shares = [
            count * (weights[label] if weights else 1) * (draws[label] if draws else 1)
            for label, count in enumerate(counts)
        ]
        offsets = tuple(config.logit_adjustment * math.log(share / sum(shares)) for share in shares)
    return ClassBalance(weights=weights, draws=draws if _needs_weights(config) else (), logit_offsets=offsets)


def _find_positive_weights(rule: str, images: ImageSet, recorded: Mapping[str, Any] | None) -> tuple[float, ...]:
    """Returns the weight of each label in photos that have it: 1 would weigh them as the photos that do not."""
    if rule not in RULES:
        return tuple(_read_weights(rule, images.classes, recorded, neutral="1 weighs photos with and without it alike"))
    counts = count_labels(sample.labels for sample in images.train)
    pairs = [(counts[label], len(images.train) - counts[label]) for label in range(len(images.classes))]
    # A label that all photos have, or none, is not rare among the others.
    return tuple(
        min(_LARGEST, _effective(b) / _effective(a) if rule == "effective" else b / a) if a and b else 1.0
        for a, b in pairs
    )


def _effective(count: int) -> float:
    """Returns the effective number of photos (Cui et al. 2019, https://arxiv.org/abs/1901.05555)."""
    return (1 - _BETA**count) / (1 - _BETA)


def _needs_weights(config: FinetuneConfig) -> bool:
    """Returns whether the loss has to weigh photos: a solver for the head draws none, but weighs them as drawn."""
    solves = config.probe or config.freeze == "all"
    return config.class_weights != "none" or (config.sampler != "none" and solves)


def _find_weights(
    rule: str, classes: Sequence[str], counts: Sequence[int], recorded: Mapping[str, Any] | None
) -> Sequence[float]:
    if rule == "balanced":
        return [1 / count for count in counts]
    if rule == "effective":
        return [1 / _effective(count) for count in counts]
    return _read_weights(rule, classes, recorded, neutral="Only the ratios count: 1 for all others is fine")


def _read_weights(
    file: str, classes: Sequence[str], recorded: Mapping[str, Any] | None, *, neutral: str
) -> Sequence[float]:
    """Returns the weights of a file, or those that a run has recorded; `neutral` explains what a weight of 1 means."""
    known = [weight for name in classes if _is_weight(weight := (recorded or {}).get(name))]
    if len(known) == len(classes):
        return known
    return read_class_weights(parse_path(file), classes, neutral=neutral)


def _is_weight(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and 0 < value < math.inf


def _normalise(weights: Sequence[float], counts: Sequence[int]) -> tuple[float, ...]:
    """Returns weights with a mean of 1 over all photos, so that learning rates and penalties keep their meaning."""
    mean = sum(weight * count for weight, count in zip(weights, counts, strict=True)) / sum(counts)
    return tuple(weight / mean for weight in weights)
