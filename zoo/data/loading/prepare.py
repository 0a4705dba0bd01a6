"""What is made of a decoded photo before it is kept: the network's input, or a photo with room for random crops.

Both are values: equal ones prepare alike, and their `repr` says how (`zoo.data.loading.pixel_file` finds kept photos by it).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from zoo.data.images.decode import preprocess

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from zoo.preprocess import Preprocess

# A JPEG is decoded at a fraction of its size where that is still so many times larger than what is kept of it. Then
# hardly a value is more than two levels from what the whole photo would have given; see docs/performance.md.
_ENOUGH = 5


class Prepare(Protocol):
    """Makes of a decoded photo, uint8 ``(H, W, 3)``, what is kept of it."""

    @property
    def enough(self) -> int | None:
        """What `zoo.data.images.decode.decode` is told of the size that is wanted."""

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Returns uint8 ``(h, w, 3)``."""


@dataclass(frozen=True, slots=True)
class ForEvaluation:
    """Makes a photo exactly the network's input: uint8 ``(h, w, 3)`` of `spec.size`."""

    spec: Preprocess

    @property
    def enough(self) -> int | None:
        """None: what is scored must not depend on how a photo was decoded."""
        return None

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Returns what evaluation, prediction, ONNX and demo see."""
        return preprocess(image, self.spec)


@dataclass(frozen=True, slots=True)
class RoomForCrops:
    """Shrinks a photo whose shorter side is longer than `side` until it is that long."""

    side: int

    @property
    def enough(self) -> int:
        """Several times the side."""
        return _ENOUGH * self.side

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Returns the photo itself where it is small enough."""
        height, width = image.shape[:2]
        if min(height, width) <= self.side:
            return image
        from zoo.data.images.resize import resize  # torch: what scores alone does without it

        scale = self.side / min(height, width)
        return resize(image, (round(height * scale), round(width * scale)))


def for_evaluation(spec: Preprocess) -> ForEvaluation:
    """Returns what makes a photo exactly the network's input."""
    return ForEvaluation(spec)


def with_room_for_crops(spec: Preprocess, *, crop_scale: float) -> RoomForCrops:
    """Returns what shrinks a large photo, but leaves its smallest random crop about as sharp as the network's input.

    A square crop of `crop_scale` of the area then still has the input's number of pixels, up to 1.75 times the side.
    """
    return RoomForCrops(max(spec.resize, round(min(spec.size) * min(crop_scale**-0.5, 1.75)), max(spec.size)))
