"""Evaluates slices of photos: by size, shape, brightness, sharpness and group."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo.data.check.properties import measure_photos
from zoo.events import Work
from zoo.metrics.slices import find_slices

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from zoo.events import Observer
    from zoo.metrics.slices import Slice
    from zoo.plugins.specs import Sample


def evaluate_slices(
    predicted: NDArray[np.integer], samples: Sequence[Sample], *, observer: Observer
) -> tuple[Slice, ...]:
    """Returns the slices of evaluated photos, those that are worse than chance explains first.

    Args:
        predicted: The predicted classes ``(N,)``, integers.
        samples: The N photos, with one class each.
        observer: Receives progress.
    """
    import numpy as np

    labels = np.array([sample.labels[0] for sample in samples])
    measured = measure_photos(
        samples, progress=lambda what, done, total: observer(Work(what=what, done=done, total=total))
    )
    groups = [sample.group for sample in samples]
    return find_slices(predicted == labels, labels, measured._asdict(), groups if any(groups) else ())
