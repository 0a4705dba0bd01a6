"""The photos that an exported file is compared, calibrated and judged on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from zoo.data.images.decode import decode, preprocess
from zoo.data.loading.augment import normalise
from zoo.errors import ImageError
from zoo.events import Note

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from zoo.events import Observer
    from zoo.plugins.specs import Sample
    from zoo.preprocess import Preprocess

    Pixels = NDArray[np.uint8]


def evenly(samples: Sequence[Sample], count: int) -> list[Sample]:
    """Returns so many samples, at even distances; all where there are fewer."""
    count = min(count, len(samples))
    return [samples[i * len(samples) // count] for i in range(count)]


def read(samples: Sequence[Sample], observer: Observer) -> Iterator[tuple[str, Pixels]]:
    """Yields names and pixels; a photo that cannot be read is told, and left out."""
    for sample in samples:
        try:
            yield sample.name, decode(sample.source, name=sample.name)
        except ImageError as error:
            observer(Note(text=f"Left out: {error.message}", warning=True))


def normalised(photos: Sequence[Pixels], spec: Preprocess) -> torch.Tensor:
    """Returns photos as a run itself makes them its input, float32 ``(N, 3, h, w)``."""
    return network_input([preprocess(np.ascontiguousarray(pixels), spec) for pixels in photos], spec)


def network_input(images: Sequence[Pixels], spec: Preprocess) -> torch.Tensor:
    """Returns preprocessed images, uint8 ``(h, w, 3)`` each, as a network's input, float32 ``(N, 3, h, w)``."""
    return normalise(torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2), spec).contiguous()
