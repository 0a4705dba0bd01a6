"""The options of the built-in augmentations. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zoo.plugins.options import option


@dataclass(frozen=True, slots=True, kw_only=True)
class AffineOptions:
    """The options of ``affine``."""

    rotation: float = option(10.0, minimum=0, maximum=180, help="maximum rotation in degrees, in either direction")
    shear: float = option(0.0, minimum=0, maximum=60, help="maximum shear in degrees, in either direction")


@dataclass(frozen=True, slots=True, kw_only=True)
class ColorJitterOptions:
    """The options of ``color-jitter``."""

    strength: float = option(
        0.3, minimum=0, maximum=1, help="maximum relative change of brightness, contrast and saturation"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class GrayscaleOptions:
    """The options of ``grayscale``."""

    probability: float = option(0.2, minimum=0, maximum=1, help="share of the photos without colours")


@dataclass(frozen=True, slots=True, kw_only=True)
class BlurOptions:
    """The options of ``blur``."""

    probability: float = option(0.5, minimum=0, maximum=1, help="share of the photos that are blurred")
    sigma: float = option(
        2.0, minimum=0.1, maximum=10, help="largest standard deviation of the Gaussian in pixels; the smallest is 0.1"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RandAugmentOptions:
    """The options of ``randaugment``."""

    magnitude: int = option(9, minimum=0, maximum=30, help="magnitude of the operations")
    operations: int = option(2, minimum=1, maximum=14, help="operations per photo")


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomErasingOptions:
    """The options of ``random-erasing``."""

    probability: float = option(0.5, minimum=0, maximum=1, help="share of the photos that lose a rectangle")
    smallest: float = option(0.02, minimum=0.001, maximum=0.9, help="smallest share of the area that is erased")
    largest: float = option(0.33, minimum=0.001, maximum=0.9, help="largest share of the area that is erased")
    value: Literal["mean", "random"] = option(
        "mean", help="colour of the rectangle: the mean colour of the weights' data, or a random one for each photo"
    )

    def __post_init__(self) -> None:
        if self.smallest > self.largest:
            raise ValueError(f"option 'smallest' is {self.smallest:g}, more than 'largest', {self.largest:g}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class MixUpOptions:
    """The options of ``mixup``."""

    alpha: float = option(0.2, minimum=1e-6, maximum=10, help="parameter of the Beta distribution of the weights")
    probability: float = option(1.0, minimum=0, maximum=1, help="share of the steps whose photos are mixed")


@dataclass(frozen=True, slots=True, kw_only=True)
class CutMixOptions:
    """The options of ``cutmix``."""

    alpha: float = option(1.0, minimum=1e-6, maximum=10, help="parameter of the Beta distribution of the areas")
    probability: float = option(1.0, minimum=0, maximum=1, help="share of the steps whose photos are mixed")
