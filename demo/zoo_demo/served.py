"""A model on offer: what predicts, and the queue before it. Imports no torch by itself."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zoo.errors import ImageError
from zoo.utils.machine import usable_cpus
from zoo_demo.batcher import Batcher
from zoo_demo.overlay import lay_over

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from zoo.inference.predictor import Photo, PhotoPredictor, Prediction

# Decoding is shared by all models: more threads than processors would only take turns.
_readers = ThreadPoolExecutor(usable_cpus(), thread_name_prefix="decode")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a model says to the photos of one request.

    Attributes:
        outcomes: For each photo a prediction, or why it could not be read.
        read_ms: Milliseconds of decoding, resizing and cropping.
        model_ms: Milliseconds of waiting for a batch and of the network.
    """

    outcomes: list[Prediction | ImageError]
    read_ms: float
    model_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """What a model says to one photo, and where it looked.

    Attributes:
        prediction: What it says.
        seen: uint8 ``(h, w, 3)``: what the network was given, lit where it looked.
        read_ms: Milliseconds of decoding, resizing and cropping.
        model_ms: Milliseconds of the network.
    """

    prediction: Prediction
    seen: NDArray[np.uint8]
    read_ms: float
    model_ms: float


class Served:
    """A predictor behind a queue.

    Attributes:
        name: Unique among the models on offer; what page and API call it.
        predictor: What computes.
        batcher: The queue before it.
    """

    def __init__(self, name: str, predictor: PhotoPredictor) -> None:
        self.name = name
        self.predictor = predictor
        self.batcher = Batcher(predictor.probabilities)

    async def predict(self, photos: Sequence[tuple[str, Photo]]) -> Answer:
        """Returns what the model says to photos, each with the name that it is to be called.

        Raises:
            BusyError: Too many images wait already.
            ZooError: The model fails.
        """
        started = time.perf_counter()
        loop = asyncio.get_running_loop()
        read = await asyncio.gather(
            *(loop.run_in_executor(_readers, self._read, name, photo) for name, photo in photos)
        )
        decoded = time.perf_counter()
        futures = self.batcher.submit([each for each in read if not isinstance(each, ImageError)])
        rows = iter(await asyncio.gather(*map(asyncio.wrap_future, futures)))
        done = time.perf_counter()
        outcomes = [
            each if isinstance(each, ImageError) else self.predictor.prediction(name, next(rows))
            for (name, _), each in zip(photos, read, strict=True)
        ]
        return Answer(outcomes=outcomes, read_ms=1000 * (decoded - started), model_ms=1000 * (done - decoded))

    async def explain(self, name: str, photo: Photo) -> Explained:
        """Returns what the model says to one photo, and where in it it looked. Not batched: for people, one by one.

        Raises:
            ImageError: The photo cannot be read.
            ZooError: The model fails.
        """
        return await asyncio.get_running_loop().run_in_executor(_readers, self._explain, name, photo)

    def _explain(self, name: str, photo: Photo) -> Explained:
        started = time.perf_counter()
        image = self.predictor.read(photo, name=name)
        decoded = time.perf_counter()
        probabilities, heatmaps = self.predictor.explained([image])
        done = time.perf_counter()
        return Explained(
            prediction=self.predictor.prediction(name, probabilities[0]),
            seen=image if heatmaps is None else lay_over(image, heatmaps[0]),
            read_ms=1000 * (decoded - started),
            model_ms=1000 * (done - decoded),
        )

    def _read(self, name: str, photo: Photo) -> NDArray[np.uint8] | ImageError:
        try:
            return self.predictor.read(photo, name=name)
        except ImageError as error:
            return error
