"""Chooses how a training decides between two classes whose mistakes do not cost the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zoo.config import OWNER
from zoo.config.costs import parse_costs
from zoo.errors import ConfigError, did_you_mean
from zoo.events import Note
from zoo.metrics.costs import CostDecision
from zoo.training.balance import is_balancing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zoo.config import FinetuneConfig
    from zoo.plugins.specs import ImageSet


def describe_decision(decision: CostDecision, config: FinetuneConfig) -> Iterator[Note]:
    """Yields what the user should know about a decision by costs before training begins."""
    yield Note(text=f"Photos are decided to be {decision.describe()}.")
    if is_balancing(config):
        yield Note(
            text="With --class-weights, --sampler or --logit-adjustment, probabilities are those of photos whose "
            "classes are more equally common than yours: costs then count rare classes twice.",
            warning=True,
        )


def choose_decision(config: FinetuneConfig, images: ImageSet) -> CostDecision | None:
    """Returns the decision that a configuration asks for; None for the most probable class.

    Args:
        config: The configuration.
        images: The data.

    Raises:
        ConfigError: The data does not have two classes, one per photo, or has no class of the name in ``positive``.
    """
    if config.cost is None or config.positive is None:
        return None
    if images.multi_label or len(images.classes) != 2:
        kind = "any number of labels per photo" if images.multi_label else f"{len(images.classes)} classes"
        raise ConfigError(
            f"{OWNER}: option 'cost' is for two classes; '{images.name}' has {kind}.",
            hint="--threshold chooses the thresholds of labels."
            if images.multi_label
            else "Leave it out; --class-weights with a file of class,weight makes classes count more.",
        )
    if config.positive not in images.classes:
        raise ConfigError(
            f"{OWNER}: option 'positive' is '{config.positive}', but '{images.name}' has no class of this name.",
            hint=f"{did_you_mean(config.positive, images.classes)} Its classes: {', '.join(images.classes)}.".strip(),
        )
    costs = parse_costs(config.cost, owner=OWNER)
    return CostDecision(
        positive=config.positive,
        threshold=float(np.float32(costs.threshold)),
        miss=costs.miss,
        false_alarm=costs.false_alarm,
    )
