"""The value that a study optimises: one of the validation photos, never of the test photos."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from zoo.config import AUTO
from zoo.errors import ConfigError
from zoo.plugins.kinds import METRIC
from zoo.training.monitor import MEAN_AP, RULES, VAL_ACCURACY, VAL_LOSS, VAL_MAP

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zoo.config import FinetuneConfig
    from zoo.events import EpochResult
    from zoo.plugins.registry import Registry
    from zoo.training.tuning.parameters import Parameter

# Tells settings apart that misclassify the same number of photos, and means the same for every loss.
DEFAULT_METRIC = "log-loss"
_CHANGE_LOSS = ("loss", "loss_options", "label_smoothing")


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """What is optimised.

    Attributes:
        name: ``"val-loss"``, ``"val-accuracy"``, ``"val-map"`` or the name of a metric.
        higher_is_better: Whether a higher value is better.
    """

    name: str
    higher_is_better: bool

    def measure(self, result: EpochResult) -> float:
        """Returns the value of an epoch; NaN where it is not defined."""
        if self.name == VAL_LOSS:
            return result.val_loss
        if self.name == VAL_ACCURACY:
            return result.val_accuracy
        if self.name == VAL_MAP:
            return result.metrics.get(MEAN_AP, float("nan"))
        return next(iter(result.metrics.values()), float("nan"))  # `prepare` puts it first

    def prepare(self, config: FinetuneConfig) -> FinetuneConfig:
        """Returns the configuration of a trial, in which the metric to optimise is the first one."""
        if self.name in RULES:
            return config
        options = dict[str, Any](config.metric_options)
        if len(config.metric) == 1 and config.metric[0] != self.name:  # with several, options need the name of theirs
            options = {key if "." in key else f"{config.metric[0]}.{key}": value for key, value in options.items()}
        others = [name for name in config.metric if name != self.name]
        return replace(config, metric=(self.name, *others), metric_options=options)


def find_objective(config: FinetuneConfig, parameters: Sequence[Parameter], registry: Registry) -> Objective:
    """Returns what ``--monitor`` means for a study; ``auto`` is the metric `DEFAULT_METRIC`.

    Raises:
        ConfigError: The validation loss is to be compared although its definition is searched.
        UnknownNameError: No plugin offers the metric.
    """
    if config.monitor == VAL_LOSS:
        if changing := next((each.name for each in parameters if each.field in _CHANGE_LOSS), ""):
            raise ConfigError(
                f"tune: '{changing}' changes what the validation loss is, so that trials could not be compared by it.",
                hint=f"Pass --monitor {DEFAULT_METRIC}, which is the same for every loss, or --monitor {VAL_ACCURACY}.",
            )
        return Objective(name=VAL_LOSS, higher_is_better=False)
    if config.monitor in (VAL_ACCURACY, VAL_MAP):
        return Objective(name=config.monitor, higher_is_better=True)
    name = DEFAULT_METRIC if config.monitor == AUTO else config.monitor
    return Objective(name=name, higher_is_better=registry.find(METRIC, name).spec.higher_is_better)
