"""Measures each epoch with the chosen metrics, one of which may decide which epoch is the best."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from zoo.config import AUTO
from zoo.events import Note, ignore
from zoo.metrics.chosen import compute_metrics
from zoo.metrics.multi_label import mean_average_precision

if TYPE_CHECKING:
    from torch import Tensor

    from zoo.errors import PluginError
    from zoo.events import Observer
    from zoo.plugins.contracts import Head
    from zoo.plugins.registry import Choice
    from zoo.plugins.specs import MetricSpec, MetricValue
    from zoo.training.forward import Outputs

VAL_LOSS, VAL_ACCURACY, VAL_MAP = "val-loss", "val-accuracy", "val-map"
MEAN_AP = "mean_ap"  # the value that every epoch has with several labels per photo
RULES = (AUTO, VAL_LOSS, VAL_ACCURACY, VAL_MAP)  # what `FinetuneConfig.monitor` may be besides a metric


class Measurement(NamedTuple):
    """The figures of an epoch, on the validation photos.

    Attributes:
        loss: Mean loss.
        accuracy: As `zoo.training.forward.Outputs.accuracy`.
        quality: What decides between epochs whose losses do not differ: the accuracy; with several labels per photo,
            the mean average precision.
        losses: Negative log-likelihood of every photo, float32 ``(N,)``.
        metrics: The values of the metrics by name.
        score: The monitored value, with its sign changed if lower is better; NaN where it is not defined, None if the
            rule of `TrainState.improve` applies.
    """

    loss: float
    accuracy: float
    quality: float
    losses: Tensor
    metrics: dict[str, float]
    score: float | None


@dataclass(slots=True, kw_only=True)
class Monitor:
    """Measures epochs.

    Attributes:
        rule: One of `RULES`, which applies unless a metric is monitored.
        metrics: The metrics, the monitored one among them.
        monitored: The metric whose first value decides; None for the rule.
        classes: Class names.
        observer: Receives a warning about a metric that fails.
    """

    rule: str = AUTO
    metrics: tuple[Choice[MetricSpec], ...] = ()
    monitored: Choice[MetricSpec] | None = None
    classes: tuple[str, ...] = ()
    observer: Observer = ignore
    _failed: set[str] = field(default_factory=set)

    def measure(self, outputs: Outputs, head: Head, *, loss: float) -> Measurement:
        """Returns the figures of an epoch.

        Args:
            outputs: The outputs for the validation photos.
            head: The head that turns them into probabilities.
            loss: ``outputs.loss(head)``, which is finite.

        Raises:
            PluginError: The monitored metric failed.
        """
        values = self.compute(outputs, head, strict=True)
        metrics = {name: value.value for each in values.values() for name, value in each.items()}
        accuracy = quality = outputs.accuracy()
        if outputs.labels.ndim == 2:
            probabilities = outputs.probabilities(head).numpy()
            metrics[MEAN_AP] = quality = mean_average_precision(probabilities, outputs.labels.numpy())
        if self.monitored is None:
            score = {VAL_LOSS: -loss, VAL_ACCURACY: accuracy, VAL_MAP: quality}.get(self.rule)
        else:
            value = next(iter(values[self.monitored.offer.name].values())).value
            score = value if self.monitored.spec.higher_is_better else -value
        return Measurement(loss, accuracy, quality, outputs.losses(head), metrics, score)

    def compute(self, outputs: Outputs, head: Head, *, strict: bool = False) -> dict[str, dict[str, MetricValue]]:
        """Returns the values of each metric, by its qualified name.

        A metric that fails costs no training: it is left out with a warning.

        Args:
            outputs: The outputs for all photos of a split.
            head: The head that turns them into probabilities.
            strict: Whether the monitored metric may not be left out.

        Raises:
            PluginError: The monitored metric failed, and `strict` is true.
        """
        metrics = [metric for metric in self.metrics if metric.offer.name not in self._failed]
        if not metrics:
            return {}
        probabilities, labels = outputs.probabilities(head).numpy(), outputs.labels.numpy()
        return compute_metrics(
            metrics, probabilities, labels, self.classes, on_failure=partial(self._leave_out, strict=strict)
        )

    def _leave_out(self, metric: Choice[MetricSpec], error: PluginError, *, strict: bool) -> None:
        if strict and metric is self.monitored:
            raise error
        self._failed.add(metric.offer.name)
        self.observer(Note(text=f"{error.message} This metric is left out from now on.", warning=True))
