"""Transforms a decoded photo before it is cached: to the network's input, or to a smaller photo for random crops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from zoo.data.images.resize import preprocess

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from zoo.preprocess import Preprocess

# A JPEG is decoded at a fraction of its size if it then still is this many times larger than the cached photo. Hardly
# a value then differs by more than two levels from one of the full-size photo; see docs/performance.md.
_OVERSAMPLING = 5


class Transform(Protocol):
    """Turns a decoded photo, uint8 ``(H, W, 3)``, into the cached one."""

    @property
    def min_side(self) -> int | None:
        """Argument of `zoo.data.images.decode.decode`."""

    @property
    def key(self) -> str:
        """Equal for transforms with equal results; `zoo.data.loading.pixel_file` finds cached photos by it."""

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Returns uint8 ``(h, w, 3)``."""


@dataclass(frozen=True, slots=True)
class EvalTransform:
    """Preprocesses a photo for evaluation: uint8 ``(h, w, 3)`` of the size `spec.size`."""

    spec: Preprocess

    @property
    def min_side(self) -> int | None:
        """None: figures must not depend on how a photo was decoded."""
        return None

    @property
    def key(self) -> str:
        """Unchanged since the first version, so that its cache files stay valid."""
        return f"ForEvaluation(spec={self.spec!r})"

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Returns the pixels that evaluation, prediction, ONNX and demo see."""
        return preprocess(image, self.spec)


@dataclass(frozen=True, slots=True)
class ShrinkForCrops:
    """Shrinks a photo whose shorter side is longer than `side` to that length."""

    side: int

    @property
    def min_side(self) -> int:
        """Several times `side`."""
        return _OVERSAMPLING * self.side

    @property
    def key(self) -> str:
        """Unchanged since the first version, so that its cache files stay valid."""
        return f"RoomForCrops(side={self.side})"

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Returns the photo itself if it is small enough."""
        height, width = image.shape[:2]
        if min(height, width) <= self.side:
            return image
        scale = self.side / min(height, width)
        return resize(image, (round(height * scale), round(width * scale)))


def shrink_for_crops(spec: Preprocess, *, crop_scale: float) -> ShrinkForCrops:
    """Returns the transform that keeps the smallest random crop about as sharp as the network's input.

    A square crop of `crop_scale` of the area then still has as many pixels as the input, up to 1.75 times its side.
    """
    return ShrinkForCrops(max(spec.resize, round(min(spec.size) * min(crop_scale**-0.5, 1.75)), max(spec.size)))


def resize(photo: NDArray[np.uint8], size: Sequence[int], *, mode: str = "bilinear") -> NDArray[np.uint8]:
    """Resizes a photo with an antialiased filter; within a few levels of Pillow, and several times as fast.

    Uses only the calling thread, and is thread-safe.

    Args:
        photo: uint8 ``(H, W, 3)``, with any strides.
        size: Height and width.
        mode: ``"bilinear"`` or ``"bicubic"``.

    Returns:
        uint8 ``(h, w, 3)``; a view of memory with another layout.
    """
    import torch  # not at the top: evaluation without torch imports this module too
    from torch.nn import functional as F

    # NumPy makes the copy: torch would start its own threads for it, in every calling thread.
    pixels = torch.from_numpy(np.ascontiguousarray(photo))[None].permute(0, 3, 1, 2)
    resized: torch.Tensor = F.interpolate(pixels, size=list(size), mode=mode, antialias=True)
    return resized[0].permute(1, 2, 0).numpy()
