"""Measures models under kinds of change, block by block of photos, until all are done or the time is up."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from zoo.data.images.photo import decode_photo
from zoo.data.images.resize import preprocess
from zoo.data.targets import single_label
from zoo.errors import ImageError, PredictionError
from zoo.events import Note, Work
from zoo.inference.predictor import name_photo, read_ahead
from zoo.inference.stress.changes import Change
from zoo.inference.stress.photos import random_of, shrink_to_network
from zoo.inference.stress.store import Answers
from zoo.metrics.costs import decide_classes
from zoo.preprocess import photos_per_batch

if TYPE_CHECKING:
    from zoo.data.images.decode import Pixels
    from zoo.events import Observer
    from zoo.inference.predictor import PhotoPredictor
    from zoo.inference.stress.adversarial import Attacker, Method
    from zoo.inference.stress.store import StressFolder
    from zoo.plugins.specs import Sample

BLOCK = 32  # photos: each is decoded once, and then measured under every kind
_ATTACKED = BLOCK // 4  # an attack takes the time of some forty predictions
CLEAN = Change(name="clean", summary="The photo as it is.", levels=(0,), function=lambda pixels, level, random: pixels)

Photos = Sequence["Pixels | None"]  # at the size of `shrink_to_network`; None for one that cannot be read


class Kind(Protocol):
    """A kind of change that models are measured under."""

    @property
    def name(self) -> str:
        """The name."""

    @property
    def summary(self) -> str:
        """What it does."""

    @property
    def levels(self) -> tuple[float, ...]:
        """The setting of each strength."""

    @property
    def adversarial(self) -> bool:
        """Whether it is computed to mislead the model."""

    def measure(self, samples: Sequence[Sample], photos: Photos) -> Answers:
        """Returns the answers for a block of photos."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeKind:
    """A change of the pixels, whatever the model.

    Attributes:
        change: The change.
        predictor: The model.
        seed: Decides the random numbers, with the names of the change and of the photo.
    """

    change: Change
    predictor: PhotoPredictor
    seed: int
    adversarial: bool = False

    @property
    def name(self) -> str:
        """The name of the change."""
        return self.change.name

    @property
    def summary(self) -> str:
        """What the change does."""
        return self.change.summary

    @property
    def levels(self) -> tuple[float, ...]:
        """The setting of each strength."""
        return self.change.levels

    def measure(self, samples: Sequence[Sample], photos: Photos) -> Answers:
        """Returns the answers for a block of photos, changed in several threads while the network runs."""
        spec, strengths = self.predictor.preprocess, len(self.levels)

        def make(place: tuple[int, int]) -> Pixels:
            index, strength = place
            photo = photos[index]
            assert photo is not None
            random = random_of(self.seed, self.name, samples[index].name)
            return preprocess(self.change.apply(photo, strength + 1, random), spec)

        answers = Answers.empty(len(samples), strengths)
        places = [(index, each) for index, photo in enumerate(photos) if photo is not None for each in range(strengths)]
        for batch in read_ahead(make, places, batch=photos_per_batch(spec.size)):
            _answer(self.predictor, answers, samples, [place for place, _ in batch], [image for _, image in batch])
        return answers


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackKind:
    """An attack on the network of a run.

    Photos that are wrong as they are count as wrong. So do those that a smaller change misleads the network on, for it
    is also one of the larger changes that an attack may make.

    Attributes:
        name: The method.
        summary: What it does.
        levels: The largest change of a level, for each strength.
        attacker: Attacks the run.
        predictor: The run in torch, which answers for the attacked photos.
        seed: As in `ChangeKind`.
    """

    name: Method
    summary: str
    levels: tuple[int, ...]
    attacker: Attacker
    predictor: PhotoPredictor
    seed: int
    adversarial: bool = True

    def measure(self, samples: Sequence[Sample], photos: Photos) -> Answers:
        """Returns the answers for the first quarter of a block of photos."""
        answers = Answers.empty(len(samples), len(self.levels))
        spec, labels = self.predictor.preprocess, [single_label(sample) for sample in samples]
        left = [index for index, photo in enumerate(photos[:_ATTACKED]) if photo is not None]
        images = {index: preprocess(photo, spec) for index in left if (photo := photos[index]) is not None}
        clean = Answers.empty(len(samples), 1)
        _answer(self.predictor, clean, samples, [(index, 0) for index in left], [*images.values()])
        answers.predicted[left] = clean.predicted[left]
        answers.confidence[left] = clean.confidence[left]
        for strength, epsilon in enumerate(self.levels):
            left = [index for index in left if answers.predicted[index, strength] == labels[index]]
            if not left:
                break
            attacked = self.attacker.attack(
                self.name,
                [images[index] for index in left],
                [labels[index] for index in left],
                epsilon,
                [random_of(self.seed, self.name, samples[index].name) for index in left],
            )
            found = Answers.empty(len(samples), 1)
            _answer(self.predictor, found, samples, [(index, 0) for index in left], attacked)
            answers.predicted[left, strength:] = found.predicted[left]
            answers.confidence[left, strength:] = found.confidence[left]
        return answers


@dataclass(slots=True, kw_only=True)
class Subject:
    """A model in a stress test.

    Attributes:
        name: Its name.
        predictor: The model.
        kinds: What it is measured under, first `CLEAN`.
        samples: The photos, the same for all models, with the labels of this one.
        folder: Where the answers are kept.
        answers: The answers so far, by kind.
    """

    name: str
    predictor: PhotoPredictor
    kinds: tuple[Kind, ...]
    samples: Sequence[Sample]
    folder: StressFolder
    answers: dict[str, Answers] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for kind in self.kinds:
            self.answers[kind.name] = self.folder.read(kind.name, strengths=len(kind.levels))

    def shown(self, kind: str) -> Answers:
        """Returns the answers for a kind, without those of an earlier test for more photos than this one has."""
        return self.answers[kind].first(len(self.samples))

    def left(self, stop: int) -> list[Kind]:
        """Returns the kinds that are not measured on the first `stop` photos yet."""
        return [kind for kind in self.kinds if len(self.answers[kind.name]) < stop]

    def measure(self, kind: Kind, start: int, photos: Photos) -> None:
        """Measures a kind on the block that begins at a photo, and writes the answers."""
        found = kind.measure(self.samples[start : start + len(photos)], photos)
        self.answers[kind.name] = self.answers[kind.name].first(start).extend(found)
        self.folder.write(kind.name, self.answers[kind.name])


def measure_all(subjects: Sequence[Subject], *, seconds: float | None, observer: Observer) -> bool:
    """Measures models on the same photos, and returns whether all of it was done in the time.

    Args:
        subjects: The models. Blocks of photos that are done are not measured again.
        seconds: The time; None for no limit. A kind that was begun on a block is finished.
        observer: Receives progress, and a warning for each photo that cannot be read.
    """
    deadline = None if seconds is None else time.monotonic() + seconds
    samples = subjects[0].samples
    total = len(samples) * sum(len(subject.kinds) for subject in subjects)
    done = sum(min(len(samples), len(each)) for subject in subjects for each in subject.answers.values())
    for start in range(0, len(samples), BLOCK):
        block = samples[start : start + BLOCK]
        stop = start + len(block)
        if not any(subject.left(stop) for subject in subjects):
            continue
        photos = _read_block(block, subjects, observer)
        for subject in subjects:
            for kind in subject.left(stop):
                if deadline is not None and time.monotonic() > deadline:
                    return False
                subject.measure(kind, start, photos[subject.name])
                done += len(block)
                observer(Work(what="measure photos under changes", done=done, total=total))
    return True


def _read_block(samples: Sequence[Sample], subjects: Sequence[Subject], observer: Observer) -> dict[str, Photos]:
    """Returns the photos of a block at the size of each model; each photo is decoded once."""
    specs = {subject.name: subject.predictor.preprocess for subject in subjects}

    def read(sample: Sample) -> dict[str, Pixels] | ImageError:
        try:
            pixels = decode_photo(sample.source, name=sample.name)
        except ImageError as error:
            return error
        return {name: shrink_to_network(pixels, spec) for name, spec in specs.items()}

    rows = [found for batch in read_ahead(read, samples, batch=len(samples)) for _, found in batch]
    for error in rows:
        if isinstance(error, ImageError):
            observer(Note(text=f"Left out: {error.message}", warning=True))
    return {name: [None if isinstance(row, ImageError) else row[name] for row in rows] for name in specs}


def _answer(
    predictor: PhotoPredictor,
    answers: Answers,
    samples: Sequence[Sample],
    places: Sequence[tuple[int, int]],
    images: Sequence[Pixels],
) -> None:
    """Enters the answers for images at their places: a photo and a strength, both from 0."""
    rows = predictor.rows(images) if images else ()
    for (index, strength), row in zip(places, rows, strict=True):
        if isinstance(row, PredictionError):
            raise name_photo(row, samples[index].name)
        predicted = int(decide_classes(row.probabilities[None], predictor.classes, predictor.decision)[0])
        answers.predicted[index, strength] = predicted
        answers.confidence[index, strength] = float(row.probabilities[predicted])
