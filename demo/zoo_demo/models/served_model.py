"""A model with a queue in front: classifies photos for many callers at once. Imports no torch itself."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from zoo.errors import ImageError, PredictionError
from zoo.preprocess import photos_per_batch
from zoo.utils.machine import usable_cpus
from zoo_demo.models.batcher import Batcher

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    from numpy.typing import NDArray

    from zoo.data.images.photo import Photo
    from zoo.errors import ZooError
    from zoo.inference.predictor import PhotoPredictor, Prediction, Row

    Outcome = Prediction | ZooError
    PhotoSource = Photo | Callable[[], Photo]

# All models share the threads that decode: more threads than processors would only take turns.
_decoders = ThreadPoolExecutor(usable_cpus(), thread_name_prefix="decode")
_DECODES_PER_CALL = usable_cpus() + 1  # that run or wait, so that a call with many photos hardly delays the others
_DIMMED = 0.3  # brightness that remains where the heat map is 0
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedOutcomes:
    """The outcome for each photo of a request, and the time it took.

    Attributes:
        outcomes: For each photo its prediction, or the reason why there is none: `ImageError` if it cannot be read,
            `PredictionError` if the network returns NaN or infinity for it.
        read_ms: Milliseconds to decode, resize and crop.
        model_ms: Milliseconds to wait for a batch and to compute it.
    """

    outcomes: list[Outcome]
    read_ms: float
    model_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The prediction for one photo, with its heat map.

    Attributes:
        prediction: The prediction.
        overlay: uint8 ``(h, w, 3)``: the network's input under the heat map.
        read_ms: Milliseconds to decode, resize and crop.
        model_ms: Milliseconds to compute prediction and heat map.
    """

    prediction: Prediction
    overlay: NDArray[np.uint8]
    read_ms: float
    model_ms: float


class ServedModel:
    """A predictor behind a queue.

    Attributes:
        name: Unique in the `ModelPool`; users of the page and the API choose a model by it.
        predictor: The model itself.
        batcher: The queue.
    """

    def __init__(self, name: str, predictor: PhotoPredictor) -> None:
        self.name = name
        self.predictor = predictor
        self.batcher = Batcher(predictor.rows, max_batch=photos_per_batch(predictor.preprocess.size))

    async def predict(
        self, photos: Sequence[tuple[str, PhotoSource]], *, coverage: float | None = None
    ) -> TimedOutcomes:
        """Classifies photos; each comes with the name that error messages call it.

        Args:
            photos: Names and photos. A photo may be a function that returns it: it is called in the thread that
                decodes, so that few photos are in memory at a time. It may raise `ImageError`.
            coverage: As for `zoo.PhotoPredictor.predict`.

        Raises:
            BusyError: Too many images are waiting.
            ZooError: The model failed.
        """
        started = time.perf_counter()
        loop = asyncio.get_running_loop()
        places = asyncio.Semaphore(_DECODES_PER_CALL)

        async def read(name: str, photo: PhotoSource) -> NDArray[np.uint8] | ImageError:
            async with places:
                return await loop.run_in_executor(_decoders, self._read, name, photo)

        images = await asyncio.gather(*(read(name, photo) for name, photo in photos))
        decoded = time.perf_counter()
        futures = self.batcher.submit([each for each in images if not isinstance(each, ImageError)])
        rows = iter(await asyncio.gather(*map(_wait_for_row, futures)))
        done = time.perf_counter()
        outcomes: list[Outcome] = [
            each if isinstance(each, ImageError) else self.predictor.outcome(name, next(rows), coverage=coverage)
            for (name, _), each in zip(photos, images, strict=True)
        ]
        return TimedOutcomes(outcomes=outcomes, read_ms=1000 * (decoded - started), model_ms=1000 * (done - decoded))

    async def explain(self, name: str, photo: Photo) -> Explanation:
        """Classifies one photo and returns its heat map too. Not batched.

        Raises:
            ImageError: The photo cannot be read.
            ZooError: The model failed.
        """
        return await asyncio.get_running_loop().run_in_executor(_decoders, self._explain, name, photo)

    def _explain(self, name: str, photo: Photo) -> Explanation:
        started = time.perf_counter()
        image = self.predictor.read(photo, name=name)
        decoded = time.perf_counter()
        outputs = self.predictor.outputs([image], heatmaps=True)
        done = time.perf_counter()
        return Explanation(
            prediction=self.predictor.prediction(name, next(outputs.rows())),
            overlay=image if outputs.heatmaps is None else overlay_heatmap(image, outputs.heatmaps[0]),
            read_ms=1000 * (decoded - started),
            model_ms=1000 * (done - decoded),
        )

    def _read(self, name: str, photo: PhotoSource) -> NDArray[np.uint8] | ImageError:
        try:
            return self.predictor.read(photo() if callable(photo) else photo, name=name)
        except ImageError as error:
            return ImageError(error.message, hint=error.hint)  # without the traceback, which holds the photo


async def _wait_for_row(future: Future[Row]) -> Row | PredictionError:
    try:
        return await asyncio.wrap_future(future)
    except PredictionError as error:
        return error


def overlay_heatmap(image: NDArray[np.uint8], heatmap: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Returns an image with its colours where the heat map is high, dark and grey where it is low.

    Brightness and colour carry the same information, so the overlay is legible on any photo and to colour-blind users.

    Args:
        image: uint8 RGB ``(h, w, 3)``, the network's input.
        heatmap: float32 ``(rows, columns)`` from 0 to 1; covers the whole image.

    Returns:
        uint8 RGB ``(h, w, 3)``.
    """
    height, width = image.shape[:2]
    enlarged = Image.fromarray(heatmap.astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC)
    heat = np.asarray(enlarged).clip(0, 1)[..., None]
    grey = (image @ _LUMA)[..., None]
    mixed: NDArray[np.uint8] = (heat * image + (1 - heat) * _DIMMED * grey).round().astype(np.uint8)
    return mixed
