"""Two multi-label classifiers on the same photos: the differences of mAP and macro F1, with intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.metrics.intervals import CONFIDENCE
from zoo.metrics.label_predictions import LabelPredictions, resample_photos
from zoo.metrics.paired import Gain, describe_gain
from zoo.metrics.thresholds import decide

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Rows = NDArray[np.float32]

_LEVEL = 1 - CONFIDENCE
_COMPARED = {"mean_ap": "mAP", "macro_f1": "macro F1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedLabelDifference:
    """The second of two multi-label classifiers minus the first, on the same photos.

    The intervals are those of a bootstrap over the photos, the same for both classifiers (Efron and Tibshirani 1993).

    Attributes:
        first: Name of the first.
        second: Name of the second.
        count: Number of photos.
        mean_ap: Difference of the mean average precisions, -1 to 1.
        interval: Its 95 % interval.
        macro_f1: Difference of the macro F1, each at its own thresholds.
        macro_f1_interval: Its 95 % interval.
    """

    first: str
    second: str
    count: int
    mean_ap: float
    interval: tuple[float, float]
    macro_f1: float
    macro_f1_interval: tuple[float, float]

    @property
    def gains(self) -> Mapping[str, Gain]:
        """The differences by the name of the figure, as readers know it."""
        gains = Gain(self.mean_ap, self.interval), Gain(self.macro_f1, self.macro_f1_interval)
        return dict(zip(_COMPARED.values(), gains, strict=True))

    @property
    def better(self) -> str:
        """The name of the one with the higher mAP, or empty text if the interval contains 0."""
        if not Gain(self.mean_ap, self.interval).is_clear:
            return ""
        return self.second if self.mean_ap > 0 else self.first

    def describe(self) -> str:
        """Returns a sentence for each figure: ``"B is better than A by 1.2 points of mAP (0.3 to 2.1). ..."``."""
        return " ".join(
            describe_gain(self.first, self.second, gain, shown=gain.is_clear, count=self.count, figure=figure)
            for figure, gain in self.gains.items()
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON: the fields, and the sentences as ``text``."""
        fields = ("first", "second", "count", "mean_ap", "macro_f1")
        plain = {name: getattr(self, name) for name in fields}
        intervals = {"interval": list(self.interval), "macro_f1_interval": list(self.macro_f1_interval)}
        return {**plain, **intervals, "text": self.describe()}


def compare_label_predictions(
    first: str,
    second: str,
    probabilities: tuple[Rows, Rows],
    thresholds: tuple[Sequence[float], Sequence[float]],
    targets: NDArray[Any],
) -> PairedLabelDifference:
    """Compares the predictions of two multi-label classifiers.

    Args:
        first: Name of the first.
        second: Name of the second.
        probabilities: Those of each, float32 ``(N, labels)``, at least one photo.
        thresholds: One per label, of each.
        targets: ``(N, labels)``, 1 where a photo has a label and 0 elsewhere; at least one label of one photo.
    """
    own = targets.astype(bool)
    one, two = (
        LabelPredictions(rows, own, decide(rows, cuts)) for rows, cuts in zip(probabilities, thresholds, strict=True)
    )

    def differences(weights: NDArray[Any]) -> NDArray[np.float64]:
        """Returns the differences of the figures for weights of the photos ``(B, N)``: ``(figures, B)``."""
        before, after = (each.measure(weights).figures for each in (one, two))
        return np.stack([after[name] - before[name] for name in _COMPARED])

    mean_ap, macro_f1 = differences(np.ones((1, len(own))))[:, 0].tolist()
    drawn = np.concatenate([differences(weights) for weights in resample_photos(*own.shape)], axis=1)
    # NaN of a resample in which no photo has a label.
    (interval, f1_interval) = np.nanquantile(drawn, [_LEVEL / 2, 1 - _LEVEL / 2], axis=1).T.tolist()
    return PairedLabelDifference(
        first=first,
        second=second,
        count=len(own),
        mean_ap=mean_ap,
        interval=tuple(interval),
        macro_f1=macro_f1,
        macro_f1_interval=tuple(f1_interval),
    )
