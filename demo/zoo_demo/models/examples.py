"""Example photos for the page: validation photos of the run that a model came from."""

from __future__ import annotations

import contextlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zoo.data.sources.fingerprint import hash_sample
from zoo.errors import ImageError, PredictionError, ZooError
from zoo.events import ignore
from zoo.inference.evaluate import load_run_splits
from zoo.runs.open import open_run
from zoo.runs.run import RunFolder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from zoo.inference.open import ModelFile
    from zoo.inference.predictor import PhotoPredictor
    from zoo.plugins.registry import Registry
    from zoo.plugins.specs import Sample

_MAX_CANDIDATES = 96  # photos to classify in search of misclassified ones
_MAX_WRONG, _MAX_EXAMPLES = 4, 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A labelled photo that the model was not trained on.

    Attributes:
        source: A file, or the bytes of one.
        name: The photo's name in its dataset.
        truth: Its class.
        correct: Whether the model predicts that class.
    """

    source: Path | bytes
    name: str
    truth: str
    correct: bool


def find_examples(model: RunFolder | ModelFile, predictor: PhotoPredictor, registry: Registry) -> list[Example]:
    """Returns a few validation photos, misclassified ones first; none if the run or its photos are not available.

    Nor are there any for a run on a hub, whose dataset may be a large download.

    Args:
        model: A run, or an exported file in the folder of its run.
        predictor: The same model, loaded.
        registry: The plugins; one of them provides the run's dataset.
    """
    try:
        run = model if isinstance(model, RunFolder) else open_run(model.path.parent)
        if run.origin:
            return []
        photos = run.photos()
        samples = load_run_splits(run, ("val",), registry=registry, observer=ignore)["val"]
    except ZooError:  # a file without its run, or photos that have moved: the page works without examples
        return []
    recorded = dict(zip(photos.names.get("val", ()), photos.hashes.get("val", ()), strict=False))
    candidates = _interleave(each for each in samples if each.name in recorded)[:_MAX_CANDIDATES]
    examples = list(_classify(_unchanged(candidates, recorded), run.classes, predictor))
    wrong = [example for example in examples if not example.correct][:_MAX_WRONG]
    correct = [example for example in examples if example.correct]
    return [*wrong, *correct[: _MAX_EXAMPLES - len(wrong)]]


def _unchanged(samples: Iterable[Sample], recorded: Mapping[str, str]) -> Iterator[Sample]:
    """Yields the samples whose content is that on which the run was validated.

    The record of a run from elsewhere may name any photo of this machine. Visitors of the page must not see those.
    """
    for sample in samples:
        with contextlib.suppress(ImageError):
            if hash_sample(sample) == recorded[sample.name]:
                yield sample


def _interleave(samples: Iterable[Sample]) -> list[Sample]:
    """Returns the samples in an order in which the classes take turns."""
    counts: Counter[tuple[int, ...]] = Counter()
    keyed = []
    for sample in samples:
        keyed.append((counts[sample.labels], sample.labels, sample))
        counts[sample.labels] += 1
    return [sample for _, _, sample in sorted(keyed, key=lambda key: key[:2])]


def _classify(samples: Iterable[Sample], classes: Sequence[str], predictor: PhotoPredictor) -> Iterator[Example]:
    for sample in samples:
        truth = sample.label_text(classes)
        with contextlib.suppress(ImageError, PredictionError):
            prediction = predictor.predict(sample.source)
            found = {prediction.label} if prediction.labels is None else {*prediction.labels}
            correct = found == {classes[label] for label in sample.labels}
            yield Example(source=sample.source, name=sample.name, truth=truth, correct=correct)
