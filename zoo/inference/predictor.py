"""Predictions for photos, and the base class of everything that predicts. Imports no torch."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeVar

import numpy as np
from PIL import Image

from zoo.data.images.decode import MAX_BYTES, convert_image, decode, preprocess
from zoo.errors import ImageError
from zoo.utils.machine import usable_cpus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from zoo.preprocess import Preprocess

    Photo = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | Image.Image | NDArray[np.uint8]

T = TypeVar("T")
R = TypeVar("R")
EngineName = Literal["torch", "onnxruntime", "auto"]
_BATCH = 32
_BATCHES_AHEAD = 1  # that are read while the network runs
_ACCEPTED = (
    "Pass a path, the bytes of an image file, a file opened in binary mode, a Pillow image, or an array of RGB pixels, "
    "uint8 (H, W, 3)."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The prediction for a photo.

    Attributes:
        name: Name of the photo.
        label: The most probable class.
        probability: The probability of that class, 0 to 1.
        probabilities: The probabilities of all classes, the most probable first.
    """

    name: str
    label: str
    probability: float
    probabilities: dict[str, float]


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
    """

    name: str
    classes: tuple[str, ...]
    preprocess: Preprocess
    runtime: str = ""
    notes: tuple[str, ...] = ()

    @abstractmethod
    def probabilities(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Returns probabilities ``(N, classes)`` float32 of preprocessed images.

        Args:
            images: N images, each uint8 ``(h, w, 3)`` of `preprocess.size`.
        """

    def explained(self, images: Sequence[NDArray[np.uint8]]) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Returns `probabilities`, and heat maps of the evidence in each image; None if they are not supported.

        Heat maps are float32 ``(N, rows, columns)`` from 0 to 1, in the resolution of the network's last features
        (7 x 7, for example).
        """
        return self.probabilities(images), None

    def explain(self, photo: Photo) -> tuple[Prediction, NDArray[np.float32] | None]:
        """Returns the prediction for a photo, and its heat map ``(rows, columns)``, which covers the output of `read`.

        Args:
            photo: As for `predict`.

        Raises:
            ImageError: The photo cannot be read.
        """
        name = photo_name(photo)
        probabilities, heatmaps = self.explained([self.read(photo, name=name)])
        return self.prediction(name, probabilities[0]), None if heatmaps is None else heatmaps[0]

    def predict(self, photo: Photo) -> Prediction:
        """Returns the prediction for a photo.

        Args:
            photo: A path (``~`` is expanded), the bytes of an image file, a file opened in binary mode, a Pillow image,
                or RGB pixels, uint8 ``(H, W, 3)``. The EXIF orientation of files and of Pillow images is applied.

        Raises:
            ImageError: The photo cannot be read, or is of another type.
        """
        name = photo_name(photo)
        return self.prediction(name, self.probabilities([self.read(photo, name=name)])[0])

    def predict_files(self, paths: Iterable[str | os.PathLike[str]]) -> Iterator[Prediction | ImageError]:
        """Yields the prediction for each file, in order, or the error that says why the file cannot be read.

        Raises:
            ImageError: `paths` is a single path.
        """
        if isinstance(paths, str | bytes | os.PathLike):
            raise ImageError(
                f"predict_files() takes a list of paths, not {paths!r}.", hint="Use predict() for one photo."
            )
        for batch in read_ahead(self._try_read, paths):
            images = [image for _, image in batch if not isinstance(image, ImageError)]
            rows = iter(self.probabilities(images) if images else ())
            for path, image in batch:
                yield image if isinstance(image, ImageError) else self.prediction(photo_name(path), next(rows))

    def prediction(self, name: str, probabilities: NDArray[np.float32]) -> Prediction:
        """Returns the prediction for a row ``(classes,)`` of `probabilities`; `name` is the name of the photo."""
        ranked = sorted(zip(self.classes, probabilities.tolist(), strict=True), key=lambda pair: -pair[1])
        label, probability = ranked[0]
        return Prediction(name=name, label=label, probability=probability, probabilities=dict(ranked))

    def read(self, photo: Photo, *, name: str) -> NDArray[np.uint8]:
        """Returns a photo as the network sees it, uint8 ``(h, w, 3)``; arguments as for `predict`.

        Raises:
            ImageError: The photo cannot be read, or is of another type; the message starts with `name`.
        """
        return preprocess(_decode_photo(photo, name=name), self.preprocess)

    def _try_read(self, path: str | os.PathLike[str]) -> NDArray[np.uint8] | ImageError:
        try:
            return self.read(path, name=photo_name(path))
        except ImageError as error:
            return error


def read_ahead(read: Callable[[T], R], items: Iterable[T]) -> Iterator[list[tuple[T, R]]]:
    """Yields items with what was read of them, in order and in batches; threads read the next batch meanwhile.

    Args:
        read: Reads an item, in any thread.
        items: Consumed a few batches ahead.
    """
    items, pending = iter(items), deque[list[tuple[T, Future[R]]]]()
    with ThreadPoolExecutor(usable_cpus()) as pool:
        while batch := list(islice(items, _BATCH)):
            pending.append([(item, pool.submit(read, item)) for item in batch])
            if len(pending) > _BATCHES_AHEAD:
                yield [(item, future.result()) for item, future in pending.popleft()]
        for last in pending:
            yield [(item, future.result()) for item, future in last]


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


def photo_name(photo: Photo) -> str:
    """Returns the name of a photo in messages: its path, or ``"photo"``."""
    if isinstance(photo, str | os.PathLike):
        return os.fsdecode(photo)
    path = getattr(photo, "filename", "") if isinstance(photo, Image.Image) else getattr(photo, "name", "")
    return path if isinstance(path, str) and path else "photo"


def _decode_photo(photo: Any, *, name: str) -> NDArray[np.uint8]:
    match photo:
        case np.ndarray():
            if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3 or not photo.size:
                raise ImageError(
                    f"{name}: the array is {photo.dtype} {photo.shape}, not uint8 (H, W, 3).",
                    hint="Pass RGB pixels from 0 to 255.",
                )
            return photo
        case Image.Image():
            return convert_image(photo, name=name)
        case str() | os.PathLike():
            # Not Path.expanduser, which raises if there is no such user.
            return decode(Path(os.path.expanduser(os.fsdecode(photo))), name=name)  # noqa: PTH111
        case bytes() | bytearray() | memoryview():
            return decode(bytes(photo), name=name)
        case _ if callable(getattr(photo, "read", None)):
            return decode(_read_file(photo, name=name), name=name)
    raise ImageError(f"{name}: a photo cannot be of type {type(photo).__name__}.", hint=_ACCEPTED)


def _read_file(file: Any, *, name: str) -> bytes:
    try:
        if callable(getattr(file, "seek", None)) and file.seekable():
            file.seek(0)  # as Pillow does: a buffer that was just written is at its end
        content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: it is closed, or not UTF-8
        reason = getattr(error, "strerror", None) or str(error)
        raise ImageError(f"{name}: cannot be read ({reason}).", hint=_ACCEPTED) from error
    if not isinstance(content, bytes):
        raise ImageError(
            f"{name}: the file returns {type(content).__name__}, not bytes.", hint="Open it with mode 'rb'."
        )
    return content
