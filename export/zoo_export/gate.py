"""Decides whether a file of lower precision is worth keeping: as accurate as float32, and faster on this machine."""

from __future__ import annotations

import statistics
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from zoo.errors import ExportError
from zoo.inference.evaluate import score
from zoo_export.predictor import load

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from zoo.events import Observer
    from zoo.plugins.specs import Sample
    from zoo_export.predictor import OnnxPredictor

_BATCHES = (1, 32)
_ROUNDS = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """What lower precision costs and brings, compared with the same network in float32.

    Attributes:
        photos: Of the validation part, which both were scored on.
        fp32_accuracy: 0 to 1.
        accuracy: Of the lower precision.
        provider: What the speed was measured on.
        milliseconds: Of a batch: ``{"1": 5.0, "32": 126.0}``.
        fp32_milliseconds: Of float32.
    """

    photos: int
    fp32_accuracy: float
    accuracy: float
    provider: str
    milliseconds: dict[str, float]
    fp32_milliseconds: dict[str, float]

    @property
    def points_lost(self) -> float:
        """Points of accuracy; negative where the lower precision happens to be better."""
        return 100 * (self.fp32_accuracy - self.accuracy)

    @property
    def speedup(self) -> float:
        """Throughput at batch 32 as a multiple of float32's."""
        key = str(_BATCHES[-1])
        return self.fp32_milliseconds[key] / self.milliseconds[key]

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values, fit for JSON."""
        return {**asdict(self), "speedup": self.speedup}


def measure_gain(fp32: bytes, lower: bytes, photos: Sequence[Sample], *, device: str, observer: Observer) -> Gain:
    """Scores and times two files.

    Args:
        fp32: The file in float32.
        lower: The same network in lower precision.
        photos: Of the validation part.
        device: As `zoo_export.session.open_session` knows it.
        observer: Told of progress.

    Raises:
        ExportError: One of them does not run on the device.
    """
    predictors = [load(content, device=device) for content in (fp32, lower)]
    before, after = (score(each, photos, part="validation", observer=observer) for each in predictors)
    times = [_times(predictors, batch) for batch in _BATCHES]
    fp32_ms, ms = ({str(b): 1000 * pair[i] for b, pair in zip(_BATCHES, times, strict=True)} for i in range(2))
    return Gain(
        photos=before.count,
        fp32_accuracy=before.accuracy,
        accuracy=after.accuracy,
        provider=predictors[1].provider,
        milliseconds=ms,
        fp32_milliseconds=fp32_ms,
    )


def check(gain: Gain, precision: str, *, max_drop: float) -> None:
    """Lets a file pass, or not.

    Raises:
        ExportError: It loses more than `max_drop` points of accuracy, or is not faster; the message says by how much.
    """
    faults = []
    if gain.points_lost > max_drop + 1e-9:
        faults.append(
            f"loses {gain.points_lost:.2f} points of validation accuracy, more than {max_drop:g} "
            f"({100 * gain.fp32_accuracy:.1f} to {100 * gain.accuracy:.1f} % on {gain.photos} photos)"
        )
    if gain.speedup <= 1:
        faults.append(f"computes {gain.speedup:.2f} times as many photos a second as fp32 on {gain.provider}")
    if faults:
        advice = "Export it on the machine, and with the --device, that it is for"
        if gain.points_lost > max_drop + 1e-9:
            advice = "--max-drop allows more"
        raise ExportError(
            f"The file in {precision} {' and '.join(faults)}.", hint=f"Nothing was written. {advice}; or keep to fp32."
        )


def _times(predictors: Sequence[OnnxPredictor], batch: int) -> list[float]:
    """Returns the median seconds that each takes for a batch, measured in turns."""
    images = _noise(batch, predictors[0].preprocess.size)
    taken: list[list[float]] = [[] for _ in predictors]
    for number in range(_ROUNDS + 1):
        for predictor, seconds in zip(predictors, taken, strict=True):
            began = time.perf_counter()
            predictor.probabilities(images)
            if number:  # the first plans memory, and chooses kernels
                seconds.append(time.perf_counter() - began)
    return [statistics.median(seconds) for seconds in taken]


def _noise(batch: int, size: tuple[int, int]) -> list[NDArray[np.uint8]]:
    import numpy as np

    random = np.random.default_rng(0)
    return [random.integers(0, 256, (*size, 3)).astype(np.uint8) for _ in range(batch)]
