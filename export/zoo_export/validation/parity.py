"""Proves that an exported file gives the results of its run: the same photos through both, from their bytes."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from zoo.errors import DataError, ExportError
from zoo.events import Work
from zoo.metrics.thresholds import decide
from zoo.models.finite import find_source
from zoo_export.model_card import DECISIONS, FAMILIARITY
from zoo_export.runtime.session import open_session, run_session
from zoo_export.validation.decisions import check_decisions
from zoo_export.validation.samples import decode_samples, preprocess_batch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from zoo.events import Observer
    from zoo.models.classifier import Classifier
    from zoo.models.familiarity import Familiarity
    from zoo.plugins.specs import Sample
    from zoo_export.model_card import ModelCard

    Pixels = NDArray[np.uint8]

_NAME = "The exported file"
BATCHES = (1, 2, 7)
_BATCHED_PHOTOS = 14  # how many photos are also compared in batches of two and seven
# A share of the standard deviation of the logits. The pixels are equal to the last bit, and float32 alone differs by
# less than a ten-thousandth of the standard deviation (docs/export-families.md).
TOLERANCE = 0.002
PROBABILITY_TOLERANCE = 1e-4  # for probabilities computed from identical logits: only rounding differs
FAMILIARITY_TOLERANCE = 1e-3  # of a cosine; those of familiar photos and of strangers differ by a hundred times as much
_MIN_SPREAD = 1e-3  # below it, logits hardly vary between photos and only rounding is left to compare


class RunFamiliarity(NamedTuple):
    """How a run recognises unfamiliar photos.

    Attributes:
        compute: Maps features to familiarity, on the CPU.
        threshold: The familiarity from which a photo counts as one of the classes.
    """

    compute: Familiarity
    threshold: float


class FileOutputs(NamedTuple):
    """What an exported file returns for N photos.

    Attributes:
        probabilities: ``(N, classes)`` float32.
        logits: ``(N, classes)`` float32.
        familiarity: ``(N,)`` float32; None if the file has no such output.
    """

    probabilities: NDArray[np.float32]
    logits: NDArray[np.float32]
    familiarity: NDArray[np.float32] | None = None


class Backend(NamedTuple):
    """One way to run an exported file.

    Attributes:
        provider: What it computes with.
        compute: Maps an input of the file to its outputs.
    """

    provider: str
    compute: Callable[[NDArray[Any]], FileOutputs]


class Comparison(NamedTuple):
    """One photo through the run and through the file.

    Attributes:
        name: The name of the photo.
        expected: The logits of the run, ``(classes,)`` float32, all finite.
        actual: The logits of the file.
        expected_probabilities: What the head of the run computes from the logits of the file.
        actual_probabilities: The probabilities of the file.
        expected_familiarity: That of the run; 0 if it does not recognise unfamiliar photos.
        actual_familiarity: That of the file.
    """

    name: str
    expected: NDArray[np.float32]
    actual: NDArray[np.float32]
    expected_probabilities: NDArray[np.float32]
    actual_probabilities: NDArray[np.float32]
    expected_familiarity: float = 0.0
    actual_familiarity: float = 0.0

    @property
    def difference(self) -> float:
        """The largest difference of a logit; infinite if the file returns NaN or infinity."""
        return _largest(self.expected - self.actual)

    @property
    def probability_difference(self) -> float:
        """The largest difference of a probability; infinite if the file returns NaN or infinity."""
        return _largest(self.expected_probabilities - self.actual_probabilities)

    @property
    def familiarity_difference(self) -> float:
        """The difference of the familiarity; infinite if the file returns NaN or infinity."""
        difference = abs(self.expected_familiarity - self.actual_familiarity)
        return difference if math.isfinite(difference) else float("inf")

    @property
    def is_finite(self) -> bool:
        """Whether the file returns neither NaN nor infinity."""
        return math.isfinite(self.difference + self.probability_difference + self.familiarity_difference)

    @property
    def margin(self) -> float:
        """How far the run's largest logit is above the second largest."""
        ranked = np.sort(self.expected)
        return float(ranked[-1] - ranked[-2]) if len(ranked) > 1 else float("inf")

    @property
    def same_top1(self) -> bool:
        """Whether both predict the same class."""
        return bool(self.expected.argmax() == self.actual.argmax())


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderParity:
    """How one provider of ONNX Runtime compares with the run.

    Attributes:
        provider: For example ``"CPUExecutionProvider"``.
        compared: Number of comparisons; a photo counts once for each batch that it is in.
        same_top1: Number of comparisons with the same most probable class.
        same_decisions: With several labels per photo, the number of comparisons with the same labels decided; otherwise
            None.
        same_known: The number of comparisons in which both recognise the photo, or neither does; None for files that do
            not recognise unfamiliar photos.
        max_difference: The largest difference of any logit.
        mean_difference: The largest difference of each comparison, averaged.
        worst: Name of the photo with the largest difference.
    """

    provider: str
    compared: int
    same_top1: int
    max_difference: float
    mean_difference: float
    worst: str
    same_decisions: int | None = None
    same_known: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """The report of a successful comparison.

    Attributes:
        photos: Number of photos; each is also compared alone.
        batches: The batch sizes.
        spread: Standard deviation of the logits of the run.
        tolerance: The largest difference of a logit that passes: a share of the spread; None in reduced precision,
            where `zoo_export.validation.precision_gate` decides.
        providers: One report for each provider.
        verified: True.
    """

    photos: int
    batches: tuple[int, ...]
    spread: float
    tolerance: float | None
    providers: tuple[ProviderParity, ...]
    verified: bool = field(default=True)

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values, ready for JSON."""
        values = asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def onnx_backends(model: bytes, card: ModelCard, devices: Sequence[str]) -> list[Backend]:
    """Opens an ONNX file on each of several devices.

    Raises:
        ExportError: The file cannot be opened on one of them.
    """
    names = ["probabilities", "logits", *([DECISIONS] if card.has_decisions else [])]
    names += [] if card.familiarity is None else [FAMILIARITY]

    def open_on(device: str) -> Backend:
        session = open_session(model, name=_NAME, device=device)

        def compute(feed: NDArray[Any]) -> FileOutputs:
            outputs = run_session(session, names, {card.input_name: feed}, name=_NAME)
            found = dict(zip(names, outputs, strict=True))
            if DECISIONS in found:
                check_decisions(found[DECISIONS], found["probabilities"], card, where=session.provider)
            return FileOutputs(found["probabilities"], found["logits"], found.get(FAMILIARITY))

        return Backend(session.provider, compute)

    return [open_on(device) for device in devices]


def compare(
    backends: Sequence[Backend],
    card: ModelCard,
    classifier: Classifier,
    photos: Sequence[Sample],
    observer: Observer,
    *,
    familiarity: RunFamiliarity | None = None,
) -> Parity:
    """Compares the logits of an exported file with those of the run's classifier, in float32 on the CPU.

    The probabilities of the file are compared with those that the head of the run computes from the file's logits, and
    its familiarity with that of the run.
    Every photo is compared alone, the first few also in batches of 2 and 7. Photos of different sizes cannot share a
    batch of raw pixels: there each is cropped at the centre to the size that all of the batch have.

    Args:
        backends: The file, in each way to run it.
        card: The card of the file; its own report is ignored.
        classifier: The classifier of the run, in eval mode on the CPU.
        photos: Read from their bytes; unreadable ones are left out.
        observer: Receives progress, and notes on unreadable photos.
        familiarity: That of the run; None if it does not recognise unfamiliar photos.

    Raises:
        DataError: No photo is readable.
        ExportError: They differ by more than the tolerance, and the message names the worst photo; or the run itself
            returns NaN or infinity.
    """
    outcomes: list[list[Comparison]] = [[] for _ in backends]
    familiarity = None if card.familiarity is None else familiarity
    compared = 0
    for_batches: list[tuple[str, Pixels]] = []
    for name, pixels in decode_samples(photos, observer):
        compared += 1
        if len(for_batches) < _BATCHED_PHOTOS:
            for_batches.append((name, pixels))
        _compare_batch([(name, pixels)], card, classifier, familiarity, backends, outcomes)
        observer(Work(what="compare photos", done=compared, total=len(photos)))
    if not compared:
        raise DataError("None of the photos to compare is readable.", hint="Pass others with --data.")
    for batch in _batches(for_batches):
        _compare_batch(batch, card, classifier, familiarity, backends, outcomes)
    spread = max(float(np.std([each.expected for each in outcomes[0]])), _MIN_SPREAD)
    tolerance = TOLERANCE * spread if card.precision == "fp32" else None
    reports = [
        _with_decisions(_summarise(backend.provider, outcome, tolerance), outcome, card, classifier)
        for backend, outcome in zip(backends, outcomes, strict=True)
    ]
    if familiarity is not None:
        limit = familiarity.threshold
        reports = [_with_known(*each, card, limit) for each in zip(reports, outcomes, strict=True)]
    return Parity(photos=compared, batches=BATCHES, spread=spread, tolerance=tolerance, providers=tuple(reports))


def with_report(card: ModelCard, report: Parity, data: str | None) -> ModelCard:
    """Returns a card with the report of a comparison on `data`; None means the validation photos of the run."""
    return replace(card, parity={**report.to_dict(), "data": Path(data).name if data else "validation"})


def _batches(photos: Sequence[tuple[str, Pixels]]) -> Iterator[list[tuple[str, Pixels]]]:
    for size in BATCHES[1:]:
        for start in range(0, max(len(photos) - size, 0) + 1, size):
            # If there are too few photos, some are repeated: what matters is the batch.
            batch = [photos[i % len(photos)] for i in range(start, start + size)]
            height, width = (min(pixels.shape[axis] for _, pixels in batch) for axis in (0, 1))
            yield [(name, _crop_centre(pixels, height, width)) for name, pixels in batch]


def _crop_centre(pixels: Pixels, height: int, width: int) -> Pixels:
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    return pixels[top : top + height, left : left + width]


def _compare_batch(
    batch: Sequence[tuple[str, Pixels]],
    card: ModelCard,
    classifier: Classifier,
    familiarity: RunFamiliarity | None,
    backends: Sequence[Backend],
    outcomes: Sequence[list[Comparison]],
) -> None:
    """Appends a comparison for each photo of a batch to the outcomes of each backend."""
    tensor = preprocess_batch([pixels for _, pixels in batch], card.preprocess)
    expected, expected_familiarity = _compute_expected(classifier, familiarity, tensor)
    if not np.isfinite(expected).all():
        raise ExportError(
            f"The run itself returns logits that are not finite for {batch[0][0]}: {expected[0]}"
            f"{find_source(classifier, tensor)}.",
            hint="Train it again with a lower --lr, or report it to the author of the plugin.",
        )
    feed = np.stack([pixels for _, pixels in batch]) if card.input == "pixels" else tensor.numpy()
    for backend, outcome in zip(backends, outcomes, strict=True):
        found = backend.compute(feed)
        if not found.probabilities.shape == found.logits.shape == expected.shape:
            raise ExportError(
                f"The exported file returns probabilities {found.probabilities.shape} and logits {found.logits.shape} "
                f"for {len(batch)} photos, not {expected.shape}."
            )
        actual_familiarity = expected_familiarity if found.familiarity is None else found.familiarity
        expected_probabilities = compute_probabilities(classifier, found.logits)
        rows = zip(
            *(batch, expected, found.logits, expected_probabilities, found.probabilities),
            *(expected_familiarity.tolist(), actual_familiarity.tolist()),
            strict=True,
        )
        outcome.extend(Comparison(name, *row) for (name, _), *row in rows)


@torch.inference_mode()
def _compute_expected(
    classifier: Classifier, familiarity: RunFamiliarity | None, tensor: torch.Tensor
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Returns the logits of a normalised batch ``(N, classes)`` float32, and the familiarity ``(N,)`` float32."""
    logits = compute_logits(classifier, tensor)
    if familiarity is None:
        return logits, np.zeros(len(tensor), dtype=np.float32)
    return logits, familiarity.compute(classifier.backbone.extract(tensor)).numpy()


@torch.inference_mode()
def compute_logits(classifier: Classifier, tensor: torch.Tensor) -> NDArray[np.float32]:
    """Returns the logits of a normalised batch, ``(N, classes)`` float32."""
    logits: NDArray[np.float32] = classifier(tensor).float().numpy()
    return logits


@torch.inference_mode()
def compute_probabilities(classifier: Classifier, logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns what the classifier's head computes from logits, ``(N, classes)`` float32."""
    probabilities: NDArray[np.float32] = classifier.head.probabilities(torch.from_numpy(logits)).float().numpy()
    return probabilities


def _largest(differences: NDArray[np.float32]) -> float:
    worst = float(np.abs(differences).max())
    return worst if np.isfinite(worst) else float("inf")


def _summarise(provider: str, outcome: Sequence[Comparison], tolerance: float | None) -> ProviderParity:
    """Returns the report of a provider; raises `ExportError` if it differs too much."""
    worst = max(outcome, key=lambda each: each.difference)
    if broken := [each for each in outcome if not each.is_finite]:
        remedy = "Export it in fp32." if tolerance is None else "Try another --opset."
        raise ExportError(
            f"The exported file returns NaN or infinity for {broken[0].name} on {provider}.",
            hint=f"Nothing was written. {remedy}",
        )
    if tolerance is not None:
        _check_differences(provider, outcome, tolerance)
    return ProviderParity(
        provider=provider,
        compared=len(outcome),
        same_top1=sum(each.same_top1 for each in outcome),
        max_difference=worst.difference,
        mean_difference=float(np.mean([each.difference for each in outcome])),
        worst=worst.name,
    )


def _with_decisions(
    report: ProviderParity, outcome: Sequence[Comparison], card: ModelCard, classifier: Classifier
) -> ProviderParity:
    """Returns a report with the number of comparisons in which run and file decide alike on all labels.

    They do unless a probability is as close to its threshold as the logits may differ.
    """
    if not card.multi_label:
        return report
    expected = compute_probabilities(classifier, np.stack([each.expected for each in outcome]))
    actual = np.stack([each.actual_probabilities for each in outcome])
    same = (decide(expected, card.thresholds) == decide(actual, card.thresholds)).all(axis=1)
    return replace(report, same_decisions=int(same.sum()))


def _with_known(
    report: ProviderParity, outcome: Sequence[Comparison], card: ModelCard, threshold: float
) -> ProviderParity:
    """Returns a report with the number of comparisons in which run and file agree whether a photo is familiar.

    Args:
        report: The report of a provider.
        outcome: Its comparisons.
        card: The card of the file.
        threshold: That of the run; a file of reduced precision has its own.
    """
    assert card.familiarity is not None
    limit = card.familiarity.threshold
    same = sum((each.expected_familiarity >= threshold) == (each.actual_familiarity >= limit) for each in outcome)
    return replace(report, same_known=same)


def _check_differences(provider: str, outcome: Sequence[Comparison], tolerance: float) -> None:
    worst = max(outcome, key=lambda each: each.difference)
    if worst.difference > tolerance:
        raise ExportError(
            f"The exported file and the run disagree about {worst.name}: a logit differs by {worst.difference:.3g}, "
            f"more than {tolerance:.3g}, on {provider}.",
            hint="Nothing was written. Try another --opset; --no-verify skips the comparison, and the file records it.",
        )
    odd = max(outcome, key=lambda each: each.probability_difference)
    if odd.probability_difference > PROBABILITY_TOLERANCE:
        raise ExportError(
            f"The probabilities of the exported file do not follow from its logits for {odd.name}: one is off by "
            f"{odd.probability_difference:.3g} on {provider}.",
            hint="Nothing was written. The head's probabilities() must not depend on the values of its input.",
        )
    strange = max(outcome, key=lambda each: each.familiarity_difference)
    if strange.familiarity_difference > FAMILIARITY_TOLERANCE:
        raise ExportError(
            f"The exported file and the run disagree about how familiar {strange.name} is: by "
            f"{strange.familiarity_difference:.3g}, more than {FAMILIARITY_TOLERANCE:g}, on {provider}.",
            hint="Nothing was written. Try another --opset; --no-verify skips the comparison, and the file records it.",
        )
    # A margin larger than the tolerance of both logits leaves no room for another class.
    other = [each for each in outcome if not each.same_top1 and each.margin > 2 * tolerance]
    assert not other, other
