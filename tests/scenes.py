"""Synthetic photos for the tests: smooth random scenes that differ as much as real photos do."""

import functools
import io

import numpy as np
from PIL import Image


@functools.lru_cache(maxsize=1024)
def make_scene(seed: int, size: tuple[int, int] = (160, 120)) -> Image.Image:
    """Returns an RGB image of coarse random colours with finer ones on top."""
    random = np.random.default_rng(seed)
    width, height = size
    layers = [
        np.asarray(
            Image.fromarray(random.integers(0, 256, (cells, cells, 3), np.uint8)).resize(
                (width, height), Image.Resampling.BICUBIC
            ),
            np.float32,
        )
        for cells in (6, 14, 40)
    ]
    return Image.fromarray((layers[0] * 0.6 + layers[1] * 0.3 + layers[2] * 0.1).astype(np.uint8))


def encode(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def photo_seed(split: str, label: str, number: int) -> int:
    """Returns the seed of a photo that `fine` made."""
    return 10_000 * (1 + ("train", "test", "val").index(split)) + 1_000 * ("cat", "dog").index(label) + number
