"""The parts of a training that plugins offer, besides backbone, head, loss and data: found by name, options checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo.config import OWNER, SPELLINGS
from zoo.errors import ConfigError
from zoo.plugins.kinds import AUGMENTATION

if TYPE_CHECKING:
    from zoo.config import FinetuneConfig
    from zoo.plugins.registry import Choice, Offer, Registry
    from zoo.plugins.specs import AugmentationSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a configuration names, each with its options.

    Attributes:
        augmentations: The augmentations besides crops and flips, in their order.
    """

    augmentations: tuple[Choice[AugmentationSpec], ...] = ()


def find_parts(config: FinetuneConfig, registry: Registry) -> Parts:
    """Returns the parts that a configuration names. Imports no torch.

    Raises:
        UnknownNameError: No plugin offers a name.
        ConfigError: An option is unknown, missing or invalid.
    """
    return Parts(augmentations=find_augmentations(config, registry))


def find_augmentations(config: FinetuneConfig, registry: Registry) -> tuple[Choice[AugmentationSpec], ...]:
    """Returns the augmentations of a configuration: those with a field of their own first, then `config.augment`.

    Raises:
        UnknownNameError: No plugin offers a name.
        ConfigError: An option is unknown, missing or invalid, or an augmentation is asked for twice.
    """
    spelled: dict[str, dict[str, Any]] = {}
    for field, (name, option) in SPELLINGS.items():
        if any(getattr(config, other) for other, (owner, _) in SPELLINGS.items() if owner == name):
            spelled.setdefault(name, {})[option] = getattr(config, field)
    choices = [registry.choose(AUGMENTATION, name, options) for name, options in spelled.items()]
    more = registry.choose_all(AUGMENTATION, config.augment, config.augment_options)
    spelled_names = {choice.offer.name for choice in choices}
    for choice in more:
        if choice.offer.name in spelled_names:
            given = " and ".join(
                f"'{field}'"
                for field, (name, _) in SPELLINGS.items()
                if name == choice.spec.name and getattr(config, field)
            )
            raise ConfigError(
                f"{OWNER}: '{choice.spec.name}' is both in 'augment' and set by {given}.",
                hint=f"Pass --augment {choice.spec.name} alone; 'zoo info {choice.spec.name}' lists its options.",
            )
    return (*choices, *more)


def offers_by_kind(parts: Parts) -> dict[str, list[Offer[Any]]]:
    """Returns all offers that a training uses besides backbone, head and data, by the name of their kind."""
    found = {AUGMENTATION.name: [choice.offer for choice in parts.augmentations]}
    return {kind: each for kind, each in found.items() if each}
