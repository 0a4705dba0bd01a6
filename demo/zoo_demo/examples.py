"""Example photos for the page: validation photos of the run that a model came from, right ones and wrong ones."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zoo.data.sources.fingerprint import short_digest
from zoo.data.sources.load import load_splits
from zoo.data.sources.resolve import resolve_data
from zoo.errors import ImageError, ZooError
from zoo.events import ignore
from zoo.runs.open import config_of, open_run
from zoo.runs.run import Run

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from zoo.inference.open import ModelFile
    from zoo.inference.predictor import PhotoPredictor
    from zoo.plugins.registry import Registry
    from zoo.plugins.specs import Sample

_LOOKED_AT = 96
_WRONG, _SHOWN = 4, 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A labelled photo that the model has not learnt from.

    Attributes:
        source: A file, or the bytes of one.
        name: Of the photo.
        truth: Its class.
        right: Whether the model says so too.
    """

    source: Path | bytes
    name: str
    truth: str
    right: bool


def find_examples(model: Run | ModelFile, predictor: PhotoPredictor, registry: Registry) -> list[Example]:
    """Returns a few validation photos, wrong ones first; none where the run or its photos are not at hand.

    Args:
        model: A run, or a file; its run is looked for in its folder.
        predictor: Of the model.
        registry: Of plugins, for the run's dataset.
    """
    try:
        run = model if isinstance(model, Run) else open_run(model.path.parent)
        config = config_of(run)
        source = resolve_data(config.data, registry=registry, options=config.data_options, exclude=config.exclude)
        images = load_splits(source, config, ignore)
    except ZooError:  # a file on its own, or photos that have moved: the page is as good without examples
        return []
    known = dict(zip(map(str, run.split.get("val", ())), run.digests.get("val", ()), strict=False))
    samples = _spread([sample for sample in images.val if sample.name in known], len(images.classes))[:_LOOKED_AT]
    examples = list(_judged(_unchanged(samples, known), images.classes, predictor))
    wrong = [example for example in examples if not example.right][:_WRONG]
    right = [example for example in examples if example.right]
    return [*wrong, *right[: _SHOWN - len(wrong)]]


def _unchanged(samples: Iterable[Sample], known: Mapping[str, str]) -> Iterator[Sample]:
    """Yields the very photos that the run was made with.

    Where its photos lie, a run from elsewhere may say as it likes: whoever looks at the page is not to be shown others.
    """
    for sample in samples:
        with contextlib.suppress(ImageError):
            if short_digest(sample) == known[sample.name]:
                yield sample


def _spread(samples: list[Sample], classes: int) -> list[Sample]:
    """Returns samples so ordered that every class comes early."""
    ranks = [0] * classes
    keyed = []
    for sample in samples:
        keyed.append((ranks[sample.label], sample.label, sample))
        ranks[sample.label] += 1
    return [sample for _, _, sample in sorted(keyed, key=lambda key: key[:2])]


def _judged(samples: Iterable[Sample], classes: tuple[str, ...], predictor: PhotoPredictor) -> Iterable[Example]:
    for sample in samples:
        truth = classes[sample.label]
        try:
            says = predictor.predict(sample.source).label
        except ImageError:
            continue
        yield Example(source=sample.source, name=sample.name, truth=truth, right=says == truth)
