"""Photos made up for the tests: smooth random scenes, as unlike each other as real photos are."""

import functools
import io

import numpy as np
from PIL import Image


@functools.lru_cache(maxsize=1024)
def scene(seed: int, size: tuple[int, int] = (160, 120)) -> Image.Image:
    """Returns an RGB picture of coarse random colours with some finer ones on top."""
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


def encoded(picture: Image.Image, kind: str = "JPEG", **how: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **how)
    return buffer.getvalue()


def seed_of(part: str, label: str, number: int) -> int:
    """Returns the seed of a photo that `fine` made."""
    return 10_000 * (1 + ("train", "test", "val").index(part)) + 1_000 * ("cat", "dog").index(label) + number
