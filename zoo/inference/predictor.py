"""Predictions for photos, and the base class of everything that predicts. Imports no torch."""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar, overload

import numpy as np

from zoo.data.images.photo import decode_photo, is_photo, photo_name
from zoo.data.images.resize import preprocess
from zoo.errors import ConfigError, ImageError, PredictionError, ZooError
from zoo.metrics.calibration import format_coverage
from zoo.metrics.conformal import find_sets
from zoo.metrics.costs import decide_classes
from zoo.metrics.thresholds import decide
from zoo.preprocess import photos_per_batch
from zoo.utils.machine import usable_cpus
from zoo.utils.markup import bar, block, heading, line, table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from zoo.data.images.photo import Photo
    from zoo.metrics.calibration import Calibration, PredictionSets
    from zoo.metrics.costs import CostDecision
    from zoo.preprocess import Preprocess

    Photos = list[Any] | tuple[Any, ...]  # each a `Photo`
    Explained = tuple["Prediction", NDArray[np.float32] | None]

T = TypeVar("T")
R = TypeVar("R")
EngineName = Literal["torch", "onnxruntime", "auto"]
_SHOWN_CLASSES, _SHOWN_PREDICTIONS = 10, 50  # in a notebook
_BATCHES_AHEAD = 1  # that are read while the network runs
NO_DECISION = "None of the labels"  # reaches its threshold
NONE_OF_THESE = "none of these"  # the classes: the photo is unlike those of training
_NOT_FINITE = "Its network overflows or divides by zero on this photo; report it to the author of its plugin."


class Outputs(NamedTuple):
    """What a classifier returns for N images.

    Attributes:
        probabilities: ``(N, classes)`` float32.
        familiarity: ``(N,)`` float32, from -1 to 1; None if the classifier does not recognise unfamiliar photos.
        heatmaps: ``(N, rows, columns)`` float32, from 0 to 1; None unless they were asked for and are supported.
    """

    probabilities: NDArray[np.float32]
    familiarity: NDArray[np.float32] | None = None
    heatmaps: NDArray[np.float32] | None = None

    def rows(self) -> Iterator[Row]:
        """Yields the outputs for each image."""
        for index, probabilities in enumerate(self.probabilities):
            yield Row(probabilities, None if self.familiarity is None else float(self.familiarity[index]))


class Row(NamedTuple):
    """What a classifier returns for an image.

    Attributes:
        probabilities: ``(classes,)`` float32.
        familiarity: From -1 to 1; None if the classifier does not recognise unfamiliar photos.
    """

    probabilities: NDArray[np.float32]
    familiarity: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The prediction for a photo.

    Attributes:
        name: Name of the photo.
        label: The predicted class: the most probable, or that of the decision by costs.
        probability: The probability of that class, 0 to 1.
        probabilities: The probabilities of all classes, the predicted class first, then the most probable.
        labels: With several labels per photo, those whose probability reaches their threshold, the most probable first,
            perhaps none; None with one class per photo.
        prediction_set: If a coverage was asked for, the classes among which the right one is with that probability, the
            most probable first; never empty. Otherwise None.
        coverage: That probability, 0 to 1; None without a prediction set.
        familiarity: How similar the photo is to those of training, -1 to 1; None if the classifier does not recognise
            unfamiliar photos.
        known: Whether that reaches the threshold of the classifier; None as for `familiarity`. A photo that does not
            most likely shows none of the classes, whatever their probabilities.
    """

    name: str
    label: str
    probability: float
    probabilities: dict[str, float]
    labels: tuple[str, ...] | None = None
    prediction_set: tuple[str, ...] | None = None
    coverage: float | None = None
    familiarity: float | None = None
    known: bool | None = None

    @property
    def answer(self) -> str:
        """The answer for readers: the class, or all labels: ``"fish, shark"``, ``"None of the labels"``.

        For unfamiliar photos it is ``"none of these (most like shark)"``.
        """
        if self.known is False:
            return f"{NONE_OF_THESE} (most like {self.label})"
        return self.label if self.labels is None else ", ".join(self.labels) or NO_DECISION

    @property
    def set_answer(self) -> str:
        """The prediction set for readers: ``"hotdog or sandwich (95 %)"``; empty without one."""
        if self.prediction_set is None or self.coverage is None:
            return ""
        return f"{' or '.join(self.prediction_set)} ({format_coverage(self.coverage)})"

    def _repr_html_(self) -> str:
        rows = [(label, bar(share), f"{100 * share:.1f} %") for label, share in self.probabilities.items()]
        more = len(rows) - _SHOWN_CLASSES
        return block(
            heading(self.answer, f"{100 * self.probability:.1f} %, {self.name}" if self.labels is None else self.name),
            *([line(self.set_answer)] if self.set_answer else []),
            table(("class", "", "probability"), rows[:_SHOWN_CLASSES], right=(2,)),
            *([line(f"and {more} more classes")] if more > 0 else []),
        )


class Predictions(list[Prediction]):
    """The predictions for a list of photos: a list, which a notebook shows as a table."""

    def _repr_html_(self) -> str:
        rows = [
            (each.name, each.answer, bar(each.probability), f"{100 * each.probability:.1f} %")
            for each in self[:_SHOWN_PREDICTIONS]
        ]
        more = len(self) - len(rows)
        shown = table(("photo", "class", "", "probability"), rows, right=(3,))
        return block(shown, *([line(f"and {more:,} more photos")] if more else []))


class PhotoPredictor(ABC):
    """A classifier with its classes and its preprocessing, independent of the library that runs it.

    All photos are decoded by `zoo.data.images.decode`, as in training and evaluation. So the prediction for a photo
    does not depend on how it is passed, or on the other photos of a batch.

    Attributes:
        name: Name of the classifier, for messages.
        classes: Class names, in the order of the outputs.
        preprocess: How pixels become the input of the network.
        runtime: The library, the device and the precision: ``"torch, cpu, fp32"``.
        notes: Sentences that users should read before they trust the classifier.
        multi_label: Whether a photo has any number of labels, each with a probability of its own.
        thresholds: The probability from which a photo is decided to have a label, for each class; empty unless
            `multi_label`.
        decision: How to decide between two classes whose mistakes do not cost the same; None for the most probable.
        calibration: How `probabilities` are calibrated, and what prediction sets are made from; None if nothing is
            known of it.
        familiarity_threshold: The familiarity from which a photo counts as one of the classes; None if the classifier
            does not recognise unfamiliar photos.
    """

    name: str
    classes: tuple[str, ...]
    preprocess: Preprocess
    runtime: str = ""
    notes: tuple[str, ...] = ()
    multi_label: bool = False
    thresholds: tuple[float, ...] = ()
    decision: CostDecision | None = None
    calibration: Calibration | None = None
    familiarity_threshold: float | None = None

    @abstractmethod
    def probabilities(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Returns probabilities ``(N, classes)`` float32 of preprocessed images.

        Args:
            images: N images, each uint8 ``(h, w, 3)`` of `preprocess.size`.

        Raises:
            PredictionError: An output is NaN or infinite.
        """

    def explained(self, images: Sequence[NDArray[np.uint8]]) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Returns `probabilities`, and heat maps of the evidence in each image; None if they are not supported.

        Heat maps are float32 ``(N, rows, columns)`` from 0 to 1, in the resolution of the network's last features
        (7 x 7, for example).
        """
        return self.probabilities(images), None

    def outputs(self, images: Sequence[NDArray[np.uint8]], *, heatmaps: bool = False) -> Outputs:
        """Returns everything that the classifier computes of preprocessed images, in one pass.

        Classifiers that recognise unfamiliar photos override it; the default returns no familiarity.

        Args:
            images: As for `probabilities`.
            heatmaps: Whether to return heat maps, if they are supported.

        Raises:
            PredictionError: An output is NaN or infinite.
        """
        if not heatmaps:
            return Outputs(self.probabilities(images))
        probabilities, maps = self.explained(images)
        return Outputs(probabilities, heatmaps=maps)

    @overload
    def explain(self, photo: Photos) -> list[Explained]: ...
    @overload
    def explain(self, photo: Photo) -> Explained: ...
    def explain(self, photo: Photo | Photos) -> Explained | list[Explained]:
        """Returns the prediction for a photo, and its heat map ``(rows, columns)``, which covers the output of `read`.

        Args:
            photo: As for `predict`. For a list, the result is a list.

        Raises:
            ImageError: A photo cannot be read, or is of another type.
            PredictionError: The network returns NaN or infinity for it.
        """
        if not isinstance(photo, list | tuple):
            return self.explain([photo])[0]
        return [
            (self.prediction(name, row), None if found.heatmaps is None else found.heatmaps[index])
            for names, images in self._read_batches(photo)
            for found in [self.outputs(images, heatmaps=True)]
            for index, (name, row) in enumerate(zip(names, found.rows(), strict=True))
        ]

    @overload
    def predict(self, photo: Photos, *, coverage: float | None = None) -> list[Prediction]: ...
    @overload
    def predict(self, photo: Photo, *, coverage: float | None = None) -> Prediction: ...
    def predict(self, photo: Photo | Photos, *, coverage: float | None = None) -> Prediction | list[Prediction]:
        """Returns the prediction for a photo, or those for a list of photos.

        Args:
            photo: A path (``~`` is expanded), the bytes of an image file, a file opened in binary mode, a Pillow image,
                or pixels, uint8: RGB ``(H, W, 3)``, gray ``(H, W)`` or with alpha ``(H, W, 4)``. The EXIF orientation
                of files and of Pillow images is applied. Or a list or tuple of these.
            coverage: If given, each prediction also has a `prediction_set`, which contains the right class with this
                probability.

        Raises:
            ConfigError: The model has no prediction sets of the coverage (`check_coverage`).
            ImageError: A photo cannot be read, or is of another type. `predict_files` continues with the next photo.
            PredictionError: The network returns NaN or infinity for a photo.
        """
        self.check_coverage(coverage)
        if not isinstance(photo, list | tuple):
            return self.predict([photo], coverage=coverage)[0]
        outcomes = (
            self.outcome(name, row, coverage=coverage)
            for names, images in self._read_batches(photo)
            for name, row in zip(names, self.rows(images), strict=True)
        )
        predictions = Predictions()
        for outcome in outcomes:
            if isinstance(outcome, PredictionError):
                raise outcome
            predictions.append(outcome)
        return predictions

    def predict_files(
        self, paths: Iterable[Photo], *, coverage: float | None = None
    ) -> Iterator[Prediction | ZooError]:
        """Yields the prediction for each file, in order, or the error that says why there is none.

        It is an `ImageError` if the file cannot be read, and a `PredictionError` if the network returns NaN or infinity
        for it.

        Args:
            paths: The paths, or other photos as for `predict`.
            coverage: As for `predict`.

        Raises:
            ConfigError: As for `predict`.
            ImageError: `paths` is a single photo, or nothing that can be iterated over.
        """
        self.check_coverage(coverage)
        if is_photo(paths) or not isinstance(paths, Iterable):
            given = repr(paths) if isinstance(paths, str | os.PathLike) else type(paths).__name__
            raise ImageError(
                f"predict_files() takes a list of paths, not {given}.", hint="Use predict() for one photo."
            )
        for batch in read_ahead(self._try_read, paths, batch=photos_per_batch(self.preprocess.size)):
            images = [image for _, image in batch if not isinstance(image, ImageError)]
            rows = iter(self.rows(images) if images else ())
            for path, image in batch:
                yield (
                    image
                    if isinstance(image, ImageError)
                    else self.outcome(photo_name(path), next(rows), coverage=coverage)
                )

    def rows(self, images: Sequence[NDArray[np.uint8]]) -> list[Row | PredictionError]:
        """Returns the row of `outputs` for each image, or an error if its probabilities are not finite.

        An image for which the network returns NaN does not affect the others of its batch.

        Args:
            images: As for `probabilities`.
        """
        try:
            found = self.outputs(images).rows()
            return [row if is_finite(row.probabilities) else self._not_finite() for row in found]
        except PredictionError as error:
            return [error] if len(images) == 1 else [row for image in images for row in self.rows([image])]

    def check_coverage(self, coverage: float | None) -> None:
        """Checks that there are prediction sets of a coverage.

        Args:
            coverage: The probability that a set has the right class; None if no sets are wanted.

        Raises:
            ConfigError: It is not between 0 and 1, the model has no prediction sets, or too few photos for them.
        """
        if coverage is not None:
            self._find_sets().quantile(coverage)

    def _find_sets(self) -> PredictionSets:
        if self.multi_label:
            raise ConfigError(
                f"{self.name} has no prediction sets: it decides on each of any number of labels.",
                hint="Leave out the coverage; the probability and the threshold of each label are its own.",
            )
        if self.calibration is None or self.calibration.sets is None:
            raise ConfigError(
                f"{self.name} has no prediction sets: an earlier version trained it, or another program made it.",
                hint="Train it again to ask for a coverage.",
            )
        return self.calibration.sets

    def prediction(self, name: str, row: Row, *, coverage: float | None = None) -> Prediction:
        """Returns the prediction for a row of `outputs`.

        Args:
            name: The name of the photo.
            row: The row.
            coverage: As for `predict`.

        Raises:
            ConfigError: As for `predict`.
            PredictionError: A probability is NaN or infinite.
        """
        probabilities, familiarity = row
        if not is_finite(probabilities):
            raise name_photo(self._not_finite(), name)
        order = np.argsort(-probabilities, kind="stable")
        if self.decision is not None and decide_classes(probabilities[None], self.classes, self.decision) != order[0]:
            order = order[::-1]  # of two classes
        labels, values = [self.classes[index] for index in order.tolist()], probabilities[order].tolist()
        decided: tuple[str, ...] | None = None
        if self.multi_label:
            found = decide(probabilities, self.thresholds)
            decided = tuple(self.classes[index] for index in order.tolist() if found[index])
        found_set: tuple[str, ...] | None = None
        if coverage is not None:
            sets = self._find_sets()
            members = find_sets(probabilities[None], sets.score, sets.quantile(coverage))[0]
            members[order[0]] = True  # of a decision by costs
            found_set = tuple(self.classes[index] for index in order.tolist() if members[index])
        threshold = self.familiarity_threshold
        return Prediction(
            name=name,
            label=labels[0],
            probability=values[0],
            probabilities=dict(zip(labels, values, strict=True)),
            labels=decided,
            prediction_set=found_set,
            coverage=coverage,
            familiarity=familiarity,
            known=None if familiarity is None or threshold is None else familiarity >= threshold,
        )

    def outcome(
        self, name: str, row: Row | PredictionError, *, coverage: float | None = None
    ) -> Prediction | PredictionError:
        """Returns the prediction for a photo, or the error that names it; `row` is one of `rows`."""
        if isinstance(row, PredictionError):
            return name_photo(row, name)
        return self.prediction(name, row, coverage=coverage)

    def read(self, photo: Photo, *, name: str) -> NDArray[np.uint8]:
        """Returns a photo as the network sees it, uint8 ``(h, w, 3)``; arguments as for `predict`.

        Raises:
            ImageError: The photo cannot be read, or is of another type; the message starts with `name`.
        """
        return preprocess(decode_photo(photo, name=name), self.preprocess)

    def _not_finite(self) -> PredictionError:
        return PredictionError(f"{self.name} returns NaN or infinity.", hint=_NOT_FINITE)

    def _read_batches(self, photos: Photos) -> Iterator[tuple[list[str], list[NDArray[np.uint8]]]]:
        """Yields the names of photos with what the network sees of them, in batches."""
        if len(photos) == 1:  # without threads
            name = photo_name(photos[0])
            yield [name], [self.read(photos[0], name=name)]
            return
        named = ((photo_name(photo, f"photo {number}"), photo) for number, photo in enumerate(photos, start=1))
        count = photos_per_batch(self.preprocess.size)
        for batch in read_ahead(lambda pair: self.read(pair[1], name=pair[0]), named, batch=count):
            yield [name for (name, _), _ in batch], [image for _, image in batch]

    def _try_read(self, path: Photo) -> NDArray[np.uint8] | ImageError:
        try:
            return self.read(path, name=photo_name(path))
        except ImageError as error:
            return error


def read_ahead(read: Callable[[T], R], items: Iterable[T], *, batch: int) -> Iterator[list[tuple[T, R]]]:
    """Yields items with what was read of them, in order and in batches; threads read the next batch meanwhile.

    Args:
        read: Reads an item, in any thread.
        items: Consumed a few batches ahead.
        batch: The number of items in a batch.
    """
    items, pending = iter(items), deque[list[tuple[T, Future[R]]]]()
    pool = ThreadPoolExecutor(usable_cpus())
    try:
        while taken := list(islice(items, batch)):
            pending.append([(item, pool.submit(read, item)) for item in taken])
            if len(pending) > _BATCHES_AHEAD:
                yield [(item, future.result()) for item, future in pending.popleft()]
        for last in pending:
            yield [(item, future.result()) for item, future in last]
    finally:
        pool.shutdown(cancel_futures=True)  # if the caller stops: what it does not want is not read


def name_photo(error: PredictionError, name: str) -> PredictionError:
    """Returns an error of a row of probabilities as the error of a photo."""
    return PredictionError(f"{name}: {error.message}", hint=error.hint)


def is_finite(values: NDArray[np.float32]) -> bool:
    """Returns whether an array contains neither NaN nor infinity."""
    # Python's sum: with cold caches, after a network, numpy's takes four times as long for a few values.
    return math.isfinite(sum(values.ravel().tolist()))


def make_normaliser(spec: Preprocess) -> Callable[[Sequence[NDArray[np.uint8]]], NDArray[np.float32]]:
    """Returns a function that normalises images, uint8 ``(h, w, 3)`` each, to float32 ``(N, 3, h, w)``.

    A channel has 256 values; each is computed once, as `zoo.data.loading.augment.normalise` computes it.
    """
    # mode="clip" lets numpy write in place; no uint8 value is ever clipped.
    mean, std = (np.array(values, dtype=np.float32)[:, None] * np.float32(255) for values in (spec.mean, spec.std))
    levels = (np.arange(256, dtype=np.float32) - mean) / std

    def normalise(images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        batch = np.empty((len(images), 3, *spec.size), dtype=np.float32)
        for planes, image in zip(batch, images, strict=True):
            for channel in range(3):
                np.take(levels[channel], image[..., channel], out=planes[channel], mode="clip")
        return batch

    return normalise
