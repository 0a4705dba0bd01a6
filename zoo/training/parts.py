"""The parts of a training that plugins offer, besides backbone, head, loss and data: found by name, options checked."""

from __future__ import annotations

import dataclasses
import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo.config import AUTO, OWNER, SPELLINGS, FinetuneConfig
from zoo.errors import ConfigError, ZooError
from zoo.plugins.kinds import AUGMENTATION, LOSS, METRIC, OPTIMIZER, SCHEDULE, TRACKER
from zoo.recipes import find_recipe, recipe_batch_size
from zoo.training.monitor import RULES
from zoo.utils.installer import install_command

if TYPE_CHECKING:
    from zoo.models.offers import Offers
    from zoo.plugins.registry import Choice, Offer, Registry
    from zoo.plugins.specs import AugmentationSpec, MetricSpec, OptimizerSpec, RecipeSpec, ScheduleSpec, TrackerSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a configuration names, each with its options.

    Attributes:
        optimizer: The optimizer.
        schedule: The learning-rate schedule.
        augmentations: The augmentations besides crops and flips, in their order.
        metrics: The metrics.
        monitored: The one of them that decides which epoch is the best; None if none does.
        trackers: The trackers.
        recipes: The recipe and those that it extends, as far as plugins offer them.
        batch_size: The batch size of the recipe if that of the configuration is ``"auto"``; otherwise None.
    """

    optimizer: Choice[OptimizerSpec]
    schedule: Choice[ScheduleSpec]
    augmentations: tuple[Choice[AugmentationSpec], ...] = ()
    metrics: tuple[Choice[MetricSpec], ...] = ()
    monitored: Choice[MetricSpec] | None = None
    trackers: tuple[Choice[TrackerSpec], ...] = ()
    recipes: tuple[Offer[RecipeSpec], ...] = ()
    batch_size: int | None = None


def find_parts(config: FinetuneConfig, registry: Registry) -> Parts:
    """Returns the parts that a configuration names. Imports no torch, unless a library is needed to know a name.

    Raises:
        UnknownNameError: No plugin offers a name.
        ConfigError: An option is unknown, missing or invalid, or does not go together with a part.
    """
    names = tuple(dict.fromkeys((*config.metric, config.monitor)))
    if config.monitor in RULES:
        names = config.metric
    metrics = registry.choose_all(METRIC, names, config.metric_options)
    parts = Parts(
        optimizer=registry.choose(OPTIMIZER, config.optimizer, config.optimizer_options),
        schedule=registry.choose(SCHEDULE, config.schedule, config.schedule_options),
        augmentations=find_augmentations(config, registry),
        metrics=metrics,
        trackers=_find_trackers(config, registry),
        recipes=_find_recipes(config, registry),
        batch_size=_find_batch_size(config, registry) if config.batch_size == AUTO else None,
        monitored=metrics[names.index(config.monitor)] if config.monitor in names else None,
    )
    _check_optimizer(config, parts.optimizer.spec)
    return parts


def offers_by_kind(offers: Offers, parts: Parts) -> dict[str, list[Offer[Any]]]:
    """Returns all offers that a training uses besides backbone, head and data, by the name of their kind."""
    found: dict[str, list[Offer[Any]]] = {
        LOSS.name: [] if offers.loss is None else [offers.loss.offer],
        OPTIMIZER.name: [parts.optimizer.offer],
        SCHEDULE.name: [parts.schedule.offer],
        AUGMENTATION.name: [augmentation.offer for augmentation in parts.augmentations],
        METRIC.name: [metric.offer for metric in parts.metrics],
    }
    return {kind: each for kind, each in found.items() if each}


def solves_head(config: FinetuneConfig, optimizer: OptimizerSpec) -> bool:
    """Returns whether a solver of the engine fits the head to cached features, in place of the optimizer."""
    return config.freeze == "all" and bool(optimizer.head_solver)


def adapt_config(config: FinetuneConfig, parts: Parts) -> tuple[FinetuneConfig, tuple[str, ...]]:
    """Returns the configuration without what does not go together with its optimizer, and sentences that say so.

    Only defaults of a recipe are changed: whatever the user would have to decide is an error of `find_parts`.
    """
    spec, changes, notes = parts.optimizer.spec, dict[str, Any](), list[str]()
    if solves_head(config, spec):
        return config, ()
    if config.ema is not None and (spec.averages or spec.takes_full_batch(parts.optimizer.options)):
        reason = "averages the weights itself" if spec.averages else "takes too few steps for an average of them"
        changes["ema"] = None
        notes.append(f"No moving average of the weights (--ema none): {spec.name} {reason}.")
    if spec.closure and config.precision == "auto":
        changes["precision"] = "fp32"  # a line search compares losses that differ by little
    if spec.averages and config.schedule != "constant":
        notes.append(f"{spec.name} replaces a schedule: --schedule constant is what it is made for.")
    return (dataclasses.replace(config, **changes) if changes else config), tuple(notes)


def _check_optimizer(config: FinetuneConfig, spec: OptimizerSpec) -> None:
    name = config.optimizer
    if solves_head(config, spec):
        if config.optimizer_options:
            raise ConfigError(
                f"{OWNER}: with --freeze all, '{name}' solves for the head on all photos at once, without options.",
                hint="Leave out --optimizer-option; --weight-decay sets the strength of its penalty.",
            )
        return
    if not spec.closure:
        return
    if config.clip_grad is not None:
        raise ConfigError(
            f"{OWNER}: option 'clip_grad' does not go together with '{name}', whose line search needs the gradient.",
            hint="Leave it out, or choose another optimizer.",
        )
    if config.precision == "fp16":
        raise ConfigError(
            f"{OWNER}: option 'precision' is 'fp16', which does not go together with '{name}': scaled losses cannot be "
            "compared.",
            hint="Use fp32 or bf16, or choose another optimizer.",
        )


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


def drop_missing_trackers(config: FinetuneConfig, registry: Registry) -> tuple[FinetuneConfig, str]:
    """Returns the configuration of a run to resume without trackers if one is missing here, and why; else as it is.

    Trackers decide nothing about the result, so a run can be resumed without them.
    """
    try:
        _find_trackers(config, registry)
    except ZooError as error:
        text = f"The run goes on without trackers: {error.message}"
        return dataclasses.replace(config, tracker=(), tracker_options={}), text
    return config, ""


def _find_trackers(config: FinetuneConfig, registry: Registry) -> tuple[Choice[TrackerSpec], ...]:
    choices = registry.choose_all(TRACKER, config.tracker, config.tracker_options)
    for choice in choices:
        if missing := [name for name in choice.spec.needs if not _is_installed(name)]:
            raise ConfigError(
                f"The tracker {choice.spec.name} needs the package {missing[0]}, which is not installed.",
                hint=install_command(choice.spec.install or missing[0]),
            )
    return choices


def _is_installed(module: str) -> bool:
    spec = importlib.util.find_spec(module)
    return spec is not None and spec.origin is not None  # else a folder of that name, such as ./wandb


def _find_recipes(config: FinetuneConfig, registry: Registry) -> tuple[Offer[RecipeSpec], ...]:
    try:
        recipes = find_recipe(config.recipe, registry)
    except ZooError:  # a resumed run has the values of its recipe, which may be gone
        return ()
    return tuple(recipe.offer for recipe in recipes if recipe.offer is not None)


def _find_batch_size(config: FinetuneConfig, registry: Registry) -> int:
    fields = dataclasses.fields(FinetuneConfig)
    default: Any = next(field.default for field in fields if field.name == "batch_size")
    return recipe_batch_size(config.recipe, registry, default=default)
