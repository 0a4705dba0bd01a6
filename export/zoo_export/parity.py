"""Proves that an exported file says what its run says: the same photos through both, from their bytes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from zoo.errors import DataError, ExportError
from zoo.events import Work
from zoo_export.photos import normalised, read
from zoo_export.session import open_session, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from zoo.events import Observer
    from zoo.models.classifier import Classifier
    from zoo.plugins.specs import Sample
    from zoo_export.card import ModelCard

    Pixels = NDArray[np.uint8]

_NAME = "the exported file"
BATCHES = (1, 2, 7)
_IN_BATCHES = 14  # photos that are also compared two and seven at a time
# Share of the spread of the logits. The pixels are the same to the last bit, and float32 alone differs by less than a
# ten-thousandth of the spread (docs/export-families.md).
TOLERANCE = 0.002
PROBABILITY_TOLERANCE = 1e-4  # of probabilities that are made of the very same logits: rounding alone
_LEAST_SPREAD = 1e-3  # a network whose logits are all but the same for every photo has only rounding to compare


class Subject(NamedTuple):
    """One way to run an exported file.

    Attributes:
        provider: What it runs on.
        compute: Maps what the file takes to probabilities and logits, ``(N, classes)`` float32 each.
    """

    provider: str
    compute: Callable[[NDArray[Any]], tuple[NDArray[np.float32], NDArray[np.float32]]]


class Compared(NamedTuple):
    """One photo through the run and through the file.

    Attributes:
        name: Of the photo.
        expected: The run's logits, ``(classes,)`` float32, all finite.
        got: The file's.
        wanted: What the run's head makes of the file's logits: probabilities.
        told: The file's probabilities.
    """

    name: str
    expected: NDArray[np.float32]
    got: NDArray[np.float32]
    wanted: NDArray[np.float32]
    told: NDArray[np.float32]

    @property
    def difference(self) -> float:
        """The largest of any logit; infinite where the file gives no number."""
        return _largest(self.expected - self.got)

    @property
    def probability_difference(self) -> float:
        """How far a probability is from what the file's own logits say; infinite where it is no number."""
        return _largest(self.wanted - self.told)

    @property
    def margin(self) -> float:
        """How far the run's most probable class is before the next."""
        ranked = np.sort(self.expected)
        return float(ranked[-1] - ranked[-2]) if len(ranked) > 1 else float("inf")

    @property
    def same_top1(self) -> bool:
        """Whether both find the same class most probable."""
        return bool(self.expected.argmax() == self.got.argmax())


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderParity:
    """How one provider of ONNX Runtime compares with the run.

    Attributes:
        provider: ``"CPUExecutionProvider"``, say.
        compared: Comparisons made; a photo may take part in several, alone and in batches.
        same_top1: How many of them have the same most probable class.
        max_difference: The largest of any logit.
        mean_difference: The mean over comparisons of the largest of each.
        worst: Name of the photo with the largest.
    """

    provider: str
    compared: int
    same_top1: int
    max_difference: float
    mean_difference: float
    worst: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """The report of a comparison that was passed.

    Attributes:
        photos: How many, each compared alone.
        batches: Sizes of batch.
        spread: Standard deviation of the run's logits.
        tolerance: The largest difference of a logit that passes: a share of the spread.
        providers: One report each.
        verified: True.
    """

    photos: int
    batches: tuple[int, ...]
    spread: float
    tolerance: float
    providers: tuple[ProviderParity, ...]
    verified: bool = field(default=True)

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values, fit for JSON."""
        values = asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def onnx_subjects(model: bytes, card: ModelCard, devices: Sequence[str]) -> list[Subject]:
    """Returns an ONNX file on each of some devices.

    Raises:
        ExportError: It does not run there.
    """

    def on(device: str) -> Subject:
        session = open_session(model, name=_NAME, device=device)

        def compute(feed: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
            probabilities, logits = run(session, ["probabilities", "logits"], {card.input_name: feed}, name=_NAME)
            return probabilities, logits

        return Subject(session.provider, compute)

    return [on(device) for device in devices]


def compare(
    subjects: Sequence[Subject], card: ModelCard, classifier: Classifier, photos: Sequence[Sample], observer: Observer
) -> Parity:
    """Compares the logits of an exported file with those of the run's classifier, in float32 on the CPU.

    Its probabilities are compared with what the run's head makes of its logits. Every photo is compared alone; the
    first few also in batches of 2 and 7. Photos of different sizes cannot share a batch of raw pixels, so there their
    centres are compared, cut to what all of the batch have.

    Args:
        subjects: The file, in each way that it is run.
        card: Of the file; its own report is not looked at.
        classifier: Of the run, in eval mode on the CPU.
        photos: Read from their bytes; those that cannot be read are left out.
        observer: Told of progress, and of unreadable photos.

    Raises:
        ExportError: They differ by more than the tolerance, and the message names the worst photo; or the run itself
            gives no numbers.
    """
    outcomes: list[list[Compared]] = [[] for _ in subjects]
    alone = 0
    kept: list[tuple[str, Pixels]] = []
    for name, pixels in read(photos, observer):
        alone += 1
        if len(kept) < _IN_BATCHES:
            kept.append((name, pixels))
        _compare_batch([(name, pixels)], card, classifier, subjects, outcomes)
        observer(Work(what="compare photos", done=alone, total=len(photos)))
    if not alone:
        raise DataError("None of the photos to compare can be read.", hint="Name others with --data.")
    for batch in _batches(kept):
        _compare_batch(batch, card, classifier, subjects, outcomes)
    spread = max(float(np.std([each.expected for each in outcomes[0]])), _LEAST_SPREAD)
    tolerance = TOLERANCE * spread
    reports = [_judged(s.provider, o, tolerance) for s, o in zip(subjects, outcomes, strict=True)]
    return Parity(photos=alone, batches=BATCHES, spread=spread, tolerance=tolerance, providers=tuple(reports))


def with_report(card: ModelCard, report: Parity, data: str | None) -> ModelCard:
    """Returns a card that tells of a comparison on some data; None is the run's own validation photos."""
    return replace(card, parity={**report.to_dict(), "data": Path(data).name if data else "validation"})


def _batches(photos: Sequence[tuple[str, Pixels]]) -> Iterator[list[tuple[str, Pixels]]]:
    for size in BATCHES[1:]:
        for start in range(0, max(len(photos) - size, 0) + 1, size):
            # Of too few photos some come twice: it is the batch that is looked at.
            batch = [photos[i % len(photos)] for i in range(start, start + size)]
            height, width = (min(pixels.shape[axis] for _, pixels in batch) for axis in (0, 1))
            yield [(name, _centre(pixels, height, width)) for name, pixels in batch]


def _centre(pixels: Pixels, height: int, width: int) -> Pixels:
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    return pixels[top : top + height, left : left + width]


def _compare_batch(
    batch: Sequence[tuple[str, Pixels]],
    card: ModelCard,
    classifier: Classifier,
    subjects: Sequence[Subject],
    outcomes: Sequence[list[Compared]],
) -> None:
    tensor = normalised([pixels for _, pixels in batch], card.preprocess)
    expected = logits_of(classifier, tensor)
    if not np.isfinite(expected).all():
        raise ExportError(
            f"The run itself gives no numbers for {batch[0][0]}: {expected[0]}.",
            hint="Its weights are spoilt: train again.",
        )
    feed = np.stack([pixels for _, pixels in batch]) if card.input == "pixels" else tensor.numpy()
    for subject, outcome in zip(subjects, outcomes, strict=True):
        told, got = subject.compute(feed)
        if not told.shape == got.shape == expected.shape:
            raise ExportError(
                f"The exported file gives probabilities {told.shape} and logits {got.shape}, not {expected.shape}, for "
                f"{len(batch)} photos."
            )
        wanted = probabilities_of(classifier, got)
        rows = zip(batch, expected, got, wanted, told, strict=True)
        outcome.extend(Compared(name, *row) for (name, _), *row in rows)


@torch.inference_mode()
def logits_of(classifier: Classifier, tensor: torch.Tensor) -> NDArray[np.float32]:
    """Returns ``(N, classes)`` float32."""
    logits: NDArray[np.float32] = classifier(tensor).float().numpy()
    return logits


@torch.inference_mode()
def probabilities_of(classifier: Classifier, logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns what the classifier's head makes of logits, ``(N, classes)`` float32."""
    probabilities: NDArray[np.float32] = classifier.head.probabilities(torch.from_numpy(logits)).float().numpy()
    return probabilities


def _largest(differences: NDArray[np.float32]) -> float:
    worst = float(np.abs(differences).max())
    return worst if np.isfinite(worst) else float("inf")


def _judged(provider: str, outcome: Sequence[Compared], tolerance: float) -> ProviderParity:
    worst = max(outcome, key=lambda each: each.difference)
    if worst.difference > tolerance:
        raise ExportError(
            f"The exported file and the run disagree about {worst.name}: a logit differs by {worst.difference:.3g}, "
            f"more than {tolerance:.3g}, on {provider}.",
            hint="Nothing was written. Try another --opset; --no-verify writes it all the same, and the file tells so.",
        )
    odd = max(outcome, key=lambda each: each.probability_difference)
    if odd.probability_difference > PROBABILITY_TOLERANCE:
        raise ExportError(
            f"The probabilities of the exported file are not those of its logits for {odd.name}: one is "
            f"{odd.probability_difference:.3g} off on {provider}.",
            hint="Nothing was written. The head's probabilities() must not depend on values of its input.",
        )
    # Where the margin is more than what both logits may move by, it cannot be otherwise.
    other = [each for each in outcome if not each.same_top1 and each.margin > 2 * tolerance]
    assert not other, other
    return ProviderParity(
        provider=provider,
        compared=len(outcome),
        same_top1=sum(each.same_top1 for each in outcome),
        max_difference=worst.difference,
        mean_difference=float(np.mean([each.difference for each in outcome])),
        worst=worst.name,
    )
