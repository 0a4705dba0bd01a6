"""Augmentations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from zoo.plugins.specs.base import Spec

if TYPE_CHECKING:
    from numpy.random import Generator as NumpyGenerator
    from torch import Generator, Tensor

    # What `AugmentationSpec.build` returns if `per_image` is set, and if `mixes_labels` is.
    ImageAugmentation = Callable[[Tensor, Generator], Tensor]
    MixingAugmentation = Callable[[Tensor, Tensor, NumpyGenerator], tuple[Tensor, Tensor]]


class BatchAugmentation(Protocol):
    """What `AugmentationSpec.build` returns by default: any object with these two methods.

    Numbers are drawn for all photos of a step before anything is cropped, and applied to any of them later. So the
    images are the same whatever the number of workers, processes and micro-batches, and after a resume.
    """

    def draw(self, count: int, generator: Generator, /) -> Tensor:
        """Draws the random numbers of `count` photos: a tensor ``(count, ...)`` on the CPU, of any type.

        A few numbers for each photo: with `FinetuneConfig.views` they are drawn for all photos of a split at once.

        Args:
            count: Number of photos.
            generator: The only source of randomness, on the CPU, seeded by run, epoch and step.
        """

    def apply(self, images: Tensor, numbers: Tensor, /) -> Tensor:
        """Augments each image by its own numbers, whatever else is in the batch; without randomness of its own.

        Args:
            images: uint8 ``(N, 3, H, W)``, in any memory format, on any device; left unchanged.
            numbers: The rows of these images from `draw`, on the CPU: move what you need to the device of the images.

        Returns:
            uint8, or float32 from 0 to 255; of the same shape, on the same device.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentationRequest:
    """The argument of `AugmentationSpec.build`.

    Attributes:
        image_size: (height, width) of the training images in pixels.
        fill: The colour of pixels that come from outside a photo: red, green, blue, 0 to 255, not rounded.
        classes: Number of classes.
        options: An instance of `AugmentationSpec.options`.
    """

    image_size: tuple[int, int]
    fill: tuple[float, float, float]
    classes: int
    options: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentationSpec(Spec):
    """An augmentation of training images, after cropping, flipping and resizing.

    Attributes:
        build: Returns a `BatchAugmentation`, or a function: if `per_image` is set, of one image ``(1, 3, H, W)`` and a
            generator on the CPU that is seeded by its photo; if `mixes_labels` is set, of float32 images
            ``(N, 3, H, W)`` after normalisation, soft targets ``(N, classes)`` float32, and a NumPy generator that is
            seeded by the step. The latter returns both; several processes mix their images of a step separately.
        per_image: Whether it is a function of one image, which is simpler and slower than a `BatchAugmentation`.
        mixes_labels: Whether it mixes images and their targets, as MixUp and CutMix do.
        takes_float: Whether its images may also be float32 from 0 to 255, where an augmentation before it returned
            that. Otherwise they are rounded first.
        mixes_features: Whether it can also mix cached features ``(N, ...)``, on which ``--freeze all`` trains.
    """

    build: Callable[[AugmentationRequest], Any] | str
    per_image: bool = False
    mixes_labels: bool = False
    takes_float: bool = False
    mixes_features: bool = False
