"""A model for the demo's tests that needs neither a file nor torch: it measures how red a photo is, and where."""

from __future__ import annotations

import io
import threading
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from zoo.inference.predictor import PhotoPredictor
from zoo.preprocess import Preprocess

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class Redness(PhotoPredictor):
    """Measures how red a photo is; for a black one it returns NaN.

    Clear `hold` to make it wait; `batches` records the sizes of its batches.
    """

    name = "redness"
    classes = ("red", "other")
    preprocess = Preprocess(size=(8, 8), resize=8)
    runtime = "a test, cpu, fp32"

    def __init__(self) -> None:
        self.hold = threading.Event()
        self.hold.set()
        self.batches: list[int] = []

    def probabilities(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        self.hold.wait(10)
        self.batches.append(len(images))
        red = np.array([image[..., 0].mean() / 255 if image.any() else np.nan for image in images], dtype=np.float32)
        return np.stack([red, 1 - red], axis=1)

    def explained(self, images: Sequence[NDArray[np.uint8]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return self.probabilities(images), np.stack([image[..., 0] / np.float32(255) for image in images])


def make_png(colour: str = "red", size: tuple[int, int] = (20, 10)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()
