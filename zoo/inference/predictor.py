"""What a classifier says to photos, and the base of all that say it. Imports no torch: exported files need none."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zoo.data.images.decode import decode, preprocess
from zoo.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from zoo.preprocess import Preprocess

    Photo = str | Path | bytes | NDArray[np.uint8]

_BATCH = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What a classifier says to one photo.

    Attributes:
        name: Of the photo.
        label: The most probable class.
        probability: Of that class, 0 to 1.
        probabilities: Of every class, the most probable first.
    """

    name: str
    label: str
    probability: float
    probabilities: dict[str, float]


class PhotoPredictor(ABC):
    """A classifier with its classes and its preprocessing, whatever computes it.

    Every photo takes one way: `zoo.data.images.decode`, as in training and evaluation. So the same photo is told the same on
    every path, alone or in a batch.

    Attributes:
        name: What messages call it.
        classes: Names in the order of the outputs.
        preprocess: How pixels become its input.
        runtime: What computes, where and in which precision: ``"torch, cpu, fp32"``.
        notes: Sentences that its user should read before trusting it.
    """

    name: str
    classes: tuple[str, ...]
    preprocess: Preprocess
    runtime: str = ""
    notes: tuple[str, ...] = ()

    @abstractmethod
    def probabilities(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Returns ``(N, classes)`` float32 for preprocessed images, uint8 ``(h, w, 3)`` of `preprocess.size` each."""

    def explained(self, images: Sequence[NDArray[np.uint8]]) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Returns `probabilities`, and where in each image the evidence lies; None where that cannot be told.

        A heat map is float32 ``(N, rows, columns)`` from 0 to 1, as fine as the network's last features (7 x 7, say).
        """
        return self.probabilities(images), None

    def explain(self, photo: Photo) -> tuple[Prediction, NDArray[np.float32] | None]:
        """Returns the prediction for one photo, and its heat map ``(rows, columns)`` over what `read` gives of it.

        Raises:
            ImageError: The photo cannot be read.
        """
        name = name_of(photo)
        probabilities, heatmaps = self.explained([self.read(photo, name=name)])
        return self.prediction(name, probabilities[0]), None if heatmaps is None else heatmaps[0]

    def predict(self, photo: Photo) -> Prediction:
        """Returns the prediction for one photo: a file, the bytes of one, or uint8 RGB ``(H, W, 3)``.

        Raises:
            ImageError: The photo cannot be read.
        """
        name = name_of(photo)
        return self.prediction(name, self.probabilities([self.read(photo, name=name)])[0])

    def predict_files(self, paths: Iterable[Path]) -> Iterator[Prediction | ImageError]:
        """Yields, in order, the prediction for each file, or the error that says why it could not be read."""
        files = iter(paths)
        while chunk := list(islice(files, _BATCH)):
            outcomes = [self._attempt(path) for path in chunk]
            images = [outcome for outcome in outcomes if not isinstance(outcome, ImageError)]
            rows = iter(self.probabilities(images) if images else ())
            for path, outcome in zip(chunk, outcomes, strict=True):
                yield outcome if isinstance(outcome, ImageError) else self.prediction(str(path), next(rows))

    def prediction(self, name: str, probabilities: NDArray[np.float32]) -> Prediction:
        """Returns what a row of `probabilities`, ``(classes,)``, says to the photo of this name."""
        ranked = sorted(zip(self.classes, probabilities.tolist(), strict=True), key=lambda pair: -pair[1])
        label, probability = ranked[0]
        return Prediction(name=name, label=label, probability=probability, probabilities=dict(ranked))

    def read(self, photo: Photo, *, name: str) -> NDArray[np.uint8]:
        """Returns a photo as the network sees it, uint8 ``(h, w, 3)``; raises `ImageError` if it cannot be read."""
        if isinstance(photo, np.ndarray):
            if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3 or not photo.size:
                raise ImageError(
                    f"The array is {photo.dtype} {photo.shape}, not uint8 (H, W, 3).", hint="Give RGB pixels, 0 to 255."
                )
            return preprocess(photo, self.preprocess)
        return preprocess(decode(Path(photo) if isinstance(photo, str) else photo, name=name), self.preprocess)

    def _attempt(self, path: Path) -> NDArray[np.uint8] | ImageError:
        try:
            return self.read(path, name=str(path))
        except ImageError as error:
            return error


def name_of(photo: Photo) -> str:
    """Returns what messages call a photo: its path, or ``"photo"``."""
    return str(photo) if isinstance(photo, str | Path) else "photo"
