"""Reduces the precision of a network, and keeps it only if it is nearly as accurate and faster on this machine."""

from __future__ import annotations

import statistics
import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.data.images.resize import preprocess
from zoo.errors import DataError, ExportError
from zoo.events import Work
from zoo.inference.evaluate import predict_samples
from zoo.metrics.costs import decide_classes
from zoo.metrics.intervals import paired_loss_bound, paired_loss_p
from zoo.metrics.thresholds import decide
from zoo.models.prototypes import choose_threshold
from zoo.models.runtime import read_thread_times, waited_long
from zoo_export.runtime.predictor import load
from zoo_export.validation.samples import decode_samples, normalise_batch, take_evenly

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import onnx
    from numpy.typing import NDArray

    from zoo.events import Observer
    from zoo.plugins.specs import Sample
    from zoo.preprocess import Preprocess
    from zoo.runs.familiarity import FamiliarityRecord
    from zoo_export.model_card import ModelCard, PrecisionName
    from zoo_export.runtime.predictor import OnnxPredictor
    from zoo_export.validation.samples import ExportSamples

_CALIBRATION_PHOTOS = 128  # more hardly change the ranges
_THRESHOLD_PHOTOS = 500  # all of them are in memory
_BATCHES = (1, 32)
_ROUNDS = 7
_ATTEMPTS, _PAUSE = 3, 2.0  # measurements of the speed while other work runs, and seconds between them
_SIGNIFICANT = 0.05
_SCORED = "validation"  # in progress events


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionGain:
    """Predictions and speed of a network in reduced precision, compared with the same network in float32.

    With several labels per photo, a photo is classified correctly if all of its labels are decided correctly.

    Attributes:
        photos: Number of photos that both predicted.
        fp32_accuracy: Accuracy in float32, 0 to 1.
        accuracy: Accuracy in the reduced precision, 0 to 1.
        lost: Number of photos that only float32 classifies correctly.
        gained: Number of photos that only the reduced precision classifies correctly.
        same_top1: Number of photos with the same most probable class, or the same labels decided.
        mean_difference: The largest difference of a photo's probabilities, averaged over the photos.
        max_difference: The same for the photo with the largest one.
        provider: What the speed was measured on.
        milliseconds: Time per batch in the reduced precision, by batch size: ``{"1": 5.0, "32": 126.0}``.
        fp32_milliseconds: The same in float32.
        busy: Whether other work ran during the measurement of the speed, each time that it was repeated.
    """

    photos: int
    fp32_accuracy: float
    accuracy: float
    lost: int
    gained: int
    same_top1: int
    mean_difference: float
    max_difference: float
    provider: str
    milliseconds: dict[str, float]
    fp32_milliseconds: dict[str, float]
    busy: bool

    @property
    def points_lost(self) -> float:
        """Percentage points of accuracy; negative if the reduced precision happens to be more accurate."""
        return 100 * (self.lost - self.gained) / self.photos

    @property
    def points_possible(self) -> float:
        """The loss in percentage points that so many photos cannot exclude: its upper 95 % bound."""
        return 100 * paired_loss_bound(self.lost, self.gained, self.photos)

    @property
    def speedup(self) -> float:
        """Throughput at batch 32, relative to float32."""
        key = str(_BATCHES[-1])
        return self.fp32_milliseconds[key] / self.milliseconds[key]

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values, ready for JSON."""
        return {**asdict(self), "points_possible": self.points_possible, "speedup": self.speedup}


def reduce_precision(
    network: onnx.ModelProto,
    card: ModelCard,
    precision: PrecisionName,
    *,
    samples: ExportSamples,
    max_drop: float,
    device: str,
    finish: Callable[[onnx.ModelProto, ModelCard], bytes],
    observer: Observer,
) -> tuple[onnx.ModelProto, ModelCard]:
    """Converts a network to a reduced precision, and measures it; returns the new network and its card.

    Args:
        network: The network in float32, with the input ``tensor``.
        card: The card of its file.
        precision: ``"fp16"`` or ``"int8"``.
        samples: Some calibrate int8, others score both networks.
        max_drop: Percentage points of accuracy that the reduced precision may lose.
        device: The device to measure on.
        finish: Makes the content of a file from a network and a card.
        observer: Receives progress.

    Raises:
        DataError: No training photo is readable.
        ExportError: The conversion fails, loses too much accuracy, or is not faster.
    """
    from zoo_export.graph.quantization import to_fp16, to_int8

    details: dict[str, Any] = {}
    if precision == "int8":
        # Read before the quantiser starts, whose output is hidden.
        images = _read_images(take_evenly(samples.train, _CALIBRATION_PHOTOS), card.preprocess, observer)
        details = {"calibration_photos": len(images)}
        observer(Work(what="quantise", done=0, total=None))
        reduced = to_int8(network, (normalise_batch([image], card.preprocess).numpy() for image in images))
    else:
        reduced = to_fp16(network)
    reduced_card = replace(card, precision=precision)
    files = finish(network, card), finish(reduced, reduced_card)
    gain = measure_gain(*files, samples.scored, device=device, observer=observer)
    check_gain(gain, precision, max_drop=max_drop)
    quantisation = {**details, **gain.to_dict(), "max_drop": max_drop}
    known = _adapt_threshold(files[1], card, samples.scored, device=device, observer=observer)
    return reduced, replace(reduced_card, quantisation=quantisation, familiarity=known)


def _adapt_threshold(
    reduced: bytes, card: ModelCard, photos: Sequence[Sample], *, device: str, observer: Observer
) -> FamiliarityRecord | None:
    """Returns how the file recognises unfamiliar photos, with a threshold for its own rounded features."""
    if card.familiarity is None:
        return None
    predictor = load(reduced, device=device)
    few = take_evenly(photos, _THRESHOLD_PHOTOS)
    images = _read_images(few, card.preprocess, observer, what="read validation photos")
    scores = [row.familiarity for image in images for row in predictor.outputs([image]).rows()]
    threshold = choose_threshold(np.array(scores, dtype=np.float32), share=card.familiarity.share)
    return replace(card.familiarity, threshold=threshold, photos=len(scores))


def measure_gain(
    fp32: bytes, reduced: bytes, photos: Sequence[Sample], *, device: str, observer: Observer
) -> PrecisionGain:
    """Compares the predictions and the speed of two files.

    Args:
        fp32: The file in float32.
        reduced: The same network in reduced precision.
        photos: Labelled photos that the network was not trained on.
        device: As in `zoo_export.runtime.session.open_session`.
        observer: Receives progress.

    Raises:
        ExportError: One of the files does not run on the device.
    """
    predictors = [load(content, device=device) for content in (fp32, reduced)]
    (exact, labels), (rounded, _) = (
        predict_samples(each, photos, split=_SCORED, observer=observer) for each in predictors
    )
    before, after = (_decide(rows, predictors[0].card) for rows in (exact, rounded))
    right, still_right = _agree(before, labels), _agree(after, labels)
    differences = np.abs(exact - rounded).max(axis=1)
    milliseconds, busy = _measure_idle(predictors)
    return PrecisionGain(
        photos=len(labels),
        fp32_accuracy=float(right.mean()),
        accuracy=float(still_right.mean()),
        lost=int((right & ~still_right).sum()),
        gained=int((~right & still_right).sum()),
        same_top1=int(_agree(before, after).sum()),
        mean_difference=float(differences.mean()),
        max_difference=float(differences.max()),
        provider=predictors[1].provider,
        milliseconds=milliseconds[1],
        fp32_milliseconds=milliseconds[0],
        busy=busy,
    )


def _decide(rows: NDArray[np.float32], card: ModelCard) -> NDArray[Any]:
    """Returns the predicted class of each photo ``(N,)``, or which labels it is decided to have ``(N, labels)``."""
    return decide(rows, card.thresholds) if card.multi_label else decide_classes(rows, card.classes, card.decision)


def _agree(one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.bool_]:
    """Returns for each photo whether the class is the same, or all labels are, bool ``(N,)``."""
    same: NDArray[np.bool_] = (one == other).reshape(len(one), -1).all(axis=1)
    return same


def check_gain(gain: PrecisionGain, precision: str, *, max_drop: float) -> None:
    """Checks that a reduced precision is worth its loss of accuracy.

    Raises:
        ExportError: It loses more than `max_drop` percentage points of accuracy, it is less accurate beyond chance
            (McNemar's test), or it is not faster; the message says by how much.
    """
    faults = []
    advice = "Export it on the target machine, with the --device that it will run on"
    p = paired_loss_p(gain.lost, gain.gained)
    if gain.points_lost > max_drop + 1e-9:
        advice = "Allow a larger loss with --max-drop"
        faults.append(
            f"loses {gain.points_lost:.2f} percentage points of accuracy, more than {max_drop:g} "
            f"({100 * gain.fp32_accuracy:.1f} to {100 * gain.accuracy:.1f} % on {gain.photos} photos)"
        )
    elif p < _SIGNIFICANT and gain.points_possible > max_drop:
        advice = "Allow a larger loss with --max-drop"
        faults.append(
            f"is less accurate beyond chance: of {gain.photos} photos it loses {gain.lost} and gains {gain.gained} "
            f"(p = {p:.2g}), and a drop of up to {gain.points_possible:.1f} percentage points cannot be excluded"
        )
    if gain.speedup <= 1:
        busy = ", while other work ran" if gain.busy else ""
        faults.append(f"reaches {gain.speedup:.2f} times the throughput of fp32 on {gain.provider}{busy}")
    if faults:
        raise ExportError(
            f"The {precision} file {' and '.join(faults)}.", hint=f"Nothing was written. {advice}, or keep fp32."
        )


def _read_images(
    samples: Sequence[Sample], spec: Preprocess, observer: Observer, *, what: str = "read calibration photos"
) -> list[NDArray[np.uint8]]:
    """Returns the preprocessed photos; `what` names the work in progress events."""
    images = []
    for _, pixels in decode_samples(samples, observer):
        images.append(preprocess(pixels, spec))
        observer(Work(what=what, done=len(images), total=len(samples)))
    if not images:
        raise DataError(f"None of the photos is readable: {what}.")
    return images


def _measure_idle(predictors: Sequence[OnnxPredictor]) -> tuple[list[dict[str, float]], bool]:
    """Measures the speed of predictors, again if other work ran meanwhile.

    Returns:
        For each predictor the milliseconds by batch size, and whether other work ran during the last measurement too.
    """
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(_PAUSE)
        before = read_thread_times()
        times = [_measure_seconds(predictors, batch) for batch in _BATCHES]
        if not (busy := waited_long(before, read_thread_times())):
            break
    milliseconds = [
        {str(batch): 1000 * seconds[number] for batch, seconds in zip(_BATCHES, times, strict=True)}
        for number in range(len(predictors))
    ]
    return milliseconds, busy


def _measure_seconds(predictors: Sequence[OnnxPredictor], batch: int) -> list[float]:
    """Returns the median time of a batch for each predictor, in seconds, measured alternately."""
    images = _random_images(batch, predictors[0].preprocess.size)
    measured: list[list[float]] = [[] for _ in predictors]
    for number in range(_ROUNDS + 1):
        for predictor, seconds in zip(predictors, measured, strict=True):
            start = time.perf_counter()
            predictor.probabilities(images)
            if number:  # the first run plans the memory and chooses kernels
                seconds.append(time.perf_counter() - start)
    return [statistics.median(seconds) for seconds in measured]


def _random_images(batch: int, size: tuple[int, int]) -> list[NDArray[np.uint8]]:
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (*size, 3)).astype(np.uint8) for _ in range(batch)]
