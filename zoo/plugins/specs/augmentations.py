"""Augmentations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo.plugins.specs.base import Spec

if TYPE_CHECKING:
    from torch import Generator, Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentationRequest:
    """The argument of `AugmentationSpec.build`.

    Attributes:
        image_size: (height, width) of the images in pixels.
        fill: The colour of pixels that come from outside a photo: red, green, blue, 0 to 255.
        classes: Number of classes.
        options: An instance of `AugmentationSpec.options`.
    """

    image_size: tuple[int, int]
    fill: tuple[int, int, int]
    classes: int
    options: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentationSpec(Spec):
    """An augmentation of training images, after cropping, flipping and resizing, before normalisation.

    Its only source of randomness is the generator that it is called with, which the engine seeds by run, epoch and
    photo or step: so the images are the same whatever the number of workers, and after a resume.

    Attributes:
        build: Returns a function of images and a generator on the CPU. Images are uint8 ``(N, 3, H, W)`` on any device,
            and so is the result; N is 1 if `per_image`. If `mixes_labels`, images are float32 after normalisation, the
            function takes soft targets ``(N, classes)`` float32 as its second argument, and returns both.
        per_image: Whether it is called for each image on its own, with a generator seeded by the photo.
        mixes_labels: Whether it changes the targets, as MixUp and CutMix do.
    """

    build: Callable[[AugmentationRequest], Callable[[Tensor, Generator], Tensor]] | str
    per_image: bool = False
    mixes_labels: bool = False
