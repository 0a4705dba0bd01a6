"""The labels of photos as arrays, as losses and metrics take them. Does not import torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zoo.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from zoo.plugins.specs import Sample


def make_targets(
    samples: Sequence[Sample], *, classes: int, multi_label: bool
) -> NDArray[np.int64] | NDArray[np.uint8]:
    """Returns the labels of N photos as an array.

    Args:
        samples: The photos.
        classes: Number of classes.
        multi_label: Whether to make multi-hot targets, as of a multi-label dataset.

    Returns:
        int64 ``(N,)``: the index of each label; or multi-hot uint8 ``(N, classes)``: 1 for each label of a photo.

    Raises:
        DataError: A photo is of a multi-label dataset, and `multi_label` is False.
    """
    if not multi_label:
        return np.array([single_label(sample) for sample in samples], dtype=np.int64)
    targets = np.zeros((len(samples), classes), dtype=np.uint8)
    for row, sample in zip(targets, samples, strict=True):
        row[[*sample.labels]] = 1
    return targets


def single_label(sample: Sample) -> int:
    """Returns the label of a photo of a single-label dataset.

    Raises:
        DataError: The photo is of a multi-label dataset.
    """
    if isinstance(sample.label, tuple):
        raise DataError(f"{sample.name} is multi-label data.", hint="Use data with one label for each photo here.")
    return sample.label
