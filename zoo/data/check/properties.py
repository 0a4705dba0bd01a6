"""Properties of photos that may decide how well they are recognised: size, shape, brightness and sharpness."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from zoo.data.check.header import read_header
from zoo.data.images.decode import open_image, read_bytes
from zoo.errors import ImageError
from zoo.events import no_progress
from zoo.utils.machine import usable_cpus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from zoo.events import Progress
    from zoo.plugins.specs import Sample

_SIDE = 256  # pixels of the longer side at which a photo is measured, so that large and small ones are comparable
_CHUNK = 256  # photos between two reports of progress


class PhotoProperties(NamedTuple):
    """What is measured of N photos, each float64 ``(N,)``; NaN for a photo that cannot be read.

    Attributes:
        pixels: Number of pixels.
        aspect: Width divided by height, of the upright photo.
        brightness: Mean grey level, 0 to 1.
        sharpness: Variance of the Laplacian of the grey levels, at 256 pixels of the longer side (Pech-Pacheco et al.
            2000, https://doi.org/10.1109/ICPR.2000.903548).
    """

    pixels: NDArray[np.float64]
    aspect: NDArray[np.float64]
    brightness: NDArray[np.float64]
    sharpness: NDArray[np.float64]


def measure_photos(samples: Sequence[Sample], *, progress: Progress = no_progress) -> PhotoProperties:
    """Measures photos, with as many threads as there are processors. Large JPEGs are decoded at a part of their size.

    Args:
        samples: The photos.
        progress: Called as photos are done.
    """
    rows: list[tuple[float, ...]] = []
    with ThreadPoolExecutor(usable_cpus()) as pool:
        for start in range(0, len(samples), _CHUNK):
            rows += pool.map(_measure, samples[start : start + _CHUNK])
            progress("measure photos", len(rows), len(samples))
    return PhotoProperties(*np.array(rows, dtype=np.float64).reshape(-1, 4).T)


def _measure(sample: Sample) -> tuple[float, ...]:
    try:
        data = read_bytes(sample.source, name=sample.name)
        image = open_image(data, name=sample.name, min_side=_SIDE, approximate=True)
    except ImageError:
        return (np.nan,) * 4
    header = read_header(data)
    width, height = image.size if header is None else (header.width, header.height)
    scale = _SIDE / max(image.size)
    small = image.convert("L").resize(
        (max(1, round(image.width * scale)), max(1, round(image.height * scale))), Image.Resampling.BILINEAR
    )
    grey = np.asarray(small, dtype=np.float32)
    return width * height, width / height, float(grey.mean()) / 255, _sharpness(grey)


def _sharpness(grey: NDArray[np.float32]) -> float:
    """Returns the variance of the Laplacian of grey levels ``(H, W)``; 0 for a photo without an inside."""
    if min(grey.shape) < 3:
        return 0.0
    inside = grey[1:-1, 1:-1]
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * inside
    return float(laplacian.var())
