"""What a study does, with everything checked before its first trial. Imports neither torch nor Optuna."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo.config import AUTO, OPTIONS_OF, FinetuneConfig, make_config
from zoo.config.make import parse_values
from zoo.errors import ConfigError
from zoo.recipes import located_options, overlay
from zoo.runs.run import RunFolder
from zoo.training.distributed.process_group import ProcessGroup
from zoo.training.request import find_weights, resolve_names, suggested_offline_command
from zoo.training.tuning.objective import Objective, find_objective
from zoo.training.tuning.parameters import (
    Parameter,
    drop_unused,
    find_default,
    find_field,
    parse_search,
    to_values,
)
from zoo.utils.arguments import LIST

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from zoo.plugins.registry import Registry
    from zoo.training.request import ResolvedNames
    from zoo.training.tuning.parameters import Value

# Processes on different machines may differ in these; that the photos are the same is checked by their fingerprint.
_OF_MACHINE = (
    *("data", "data_options", "exclude", "labels", "recipe", "device", "devices", "workers", "cache", "cache_size"),
    *("save_every", "tracker", "tracker_options"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a study does.

    Attributes:
        values: The fields that are the same for all trials.
        base: The configuration with these values alone.
        parameters: What is searched.
        objective: What is optimised.
        registry: The plugins.
        runs: The folder of the runs.
        stem: What the study is called unless the user chooses a name.
    """

    values: Mapping[str, Any]
    base: FinetuneConfig
    parameters: tuple[Parameter, ...]
    objective: Objective
    registry: Registry
    runs: Path
    stem: str

    def config(self, params: Mapping[str, Any]) -> FinetuneConfig:
        """Returns the configuration with some of the searched values, as the recipe has it.

        Raises:
            ConfigError: The values do not go together.
        """
        given = [each for each in self.parameters if each.name in params]
        config = make_config(**overlay(self.values, to_values(given, params)), registry=self.registry)
        config = dataclasses.replace(config, **drop_unused(config, given, self.registry))
        if config.weights in ("pretrained", "none") or ":" in config.weights:  # a colon: on a hub
            return config
        weights = find_weights(config, runs=self.runs)
        if isinstance(weights, RunFolder):  # its name means nothing in the folder of a trial
            config = dataclasses.replace(config, weights=str(weights.path.absolute()))
        return config

    def in_order(self, params: Mapping[str, Value]) -> dict[str, Value]:
        """Returns the values of a trial in the order in which the options were named; storages keep no order."""
        return {each.name: params[each.name] for each in self.parameters if each.name in params}

    def first_values(self) -> dict[str, Value]:
        """Returns the values of the first trial: those of a run without a search, where the search contains them."""
        values = {each: find_default(each, self.base, self.registry) for each in self.parameters}
        return {each.name: value for each, value in values.items() if each.contains(value)}

    def settings(self) -> dict[str, dict[str, Any]]:
        """Returns what determines the trials, apart from the photos and the machine."""
        values = {name: value for name, value in self.base.to_dict().items() if name not in _OF_MACHINE}
        values |= {"monitor": self.objective.name}
        return {"": values, "search": {each.name: each.describe() for each in self.parameters}}


def make_plan(
    given: Mapping[str, Any], search: Mapping[str, str | Sequence[Any]], registry: Registry, runs: Path
) -> Plan:
    """Returns what a study does.

    Args:
        given: The fields that are the same for all trials, as for `make_config`.
        search: As in `zoo.training.tuning.parameters.parse_search`.
        registry: The plugins.
        runs: The folder of the runs.

    Raises:
        ZooError: A name is unknown, an option is wrong or cannot be searched, or a file is missing.
    """
    values = parse_values(given)
    if "devices" in values or not ProcessGroup.from_environment().is_single:
        raise ConfigError(
            "tune trains in a single process.",
            hint="To use several devices, start it once for each, with --device: they share the study.",
        )
    fields = {name: find_field(name)[0] for name in search}
    if twice := next((name for name, field in fields.items() if field in values and field not in OPTIONS_OF), ""):
        raise ConfigError(f"tune: '{twice}' is both searched and set.", hint="Leave one of them out.")
    searched = "backbone" in fields.values()
    base = make_config(
        **values, **({"backbone": _first_backbone(search, fields)} if searched else {}), registry=registry
    )
    with suggested_offline_command(base, registry), located_options(base.recipe):
        names = resolve_names(base, registry=registry, runs=runs)
    if not searched:
        values["backbone"] = names.config.backbone  # in place of "auto", so that all processes have the same
        base = dataclasses.replace(base, backbone=names.config.backbone)
    parameters = parse_search(search, base, registry)
    plan = Plan(
        values=values,
        base=base,
        parameters=parameters,
        objective=find_objective(base, parameters, registry),
        registry=registry,
        runs=runs,
        stem=_name_study(base, names),
    )
    for parameter in parameters:
        for value in parameter.choices or (parameter.low, parameter.high):
            if not parameter.key:
                resolve_names(plan.config({parameter.name: value}), registry=registry, runs=runs)
    return plan


def _first_backbone(search: Mapping[str, str | Sequence[Any]], fields: Mapping[str, str]) -> str:
    """Returns the first of the backbones that are searched, with which everything else is checked."""
    values = next(search[name] for name, field in fields.items() if field == "backbone")
    names = values.split(",") if isinstance(values, str) else list(values) if LIST.matches(values) else []
    return str(names[0]).strip() if names else AUTO


def _name_study(base: FinetuneConfig, names: ResolvedNames) -> str:
    """Returns ``resnet18-photos``."""
    source = names.source
    if source.images is not None:
        dataset = source.images.name
    else:
        dataset = source.offer.spec.name if source.offer else source.path.stem if source.path else ""
    return re.sub(r"[^\w.+-]+", "-", f"{base.backbone.rpartition('/')[2]}-{dataset}").strip("-.") or "study"
