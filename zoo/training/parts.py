"""The parts of a training that plugins offer, besides backbone, head, loss and data: found by name, options checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo.plugins.kinds import LOSS, METRIC
from zoo.training.monitor import RULES

if TYPE_CHECKING:
    from zoo.config import FinetuneConfig
    from zoo.models.offers import Offers
    from zoo.plugins.registry import Choice, Offer, Registry
    from zoo.plugins.specs import MetricSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a configuration names, each with its options.

    Attributes:
        metrics: The metrics.
        monitored: The one of them that decides which epoch is the best; None if none does.
    """

    metrics: tuple[Choice[MetricSpec], ...] = ()
    monitored: Choice[MetricSpec] | None = None


def find_parts(config: FinetuneConfig, registry: Registry) -> Parts:
    """Returns the parts that a configuration names. Imports no torch.

    Raises:
        UnknownNameError: No plugin offers a name.
        ConfigError: An option is unknown, missing or invalid.
    """
    names = tuple(dict.fromkeys((*config.metric, config.monitor)))
    if config.monitor in RULES:
        names = config.metric
    metrics = registry.choose_all(METRIC, names, config.metric_options)
    monitored = metrics[names.index(config.monitor)] if config.monitor in names else None
    return Parts(metrics=metrics, monitored=monitored)


def offers_by_kind(offers: Offers, parts: Parts) -> dict[str, list[Offer[Any]]]:
    """Returns all offers that a training uses besides backbone, head and data, by the name of their kind."""
    found: dict[str, list[Offer[Any]]] = {
        LOSS.name: [] if offers.loss is None else [offers.loss.offer],
        METRIC.name: [metric.offer for metric in parts.metrics],
    }
    return {kind: each for kind, each in found.items() if each}
