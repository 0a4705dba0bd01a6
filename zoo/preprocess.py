"""zoo.preprocess."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from zoo.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Mapping

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocess:
    """How pixels become a network's input; written once, by the weights, and used everywhere.

    A uint8 RGB image is resized (antialiased, while still uint8), cropped at the centre to `size`, divided by 255,
    and normalised: ``(x - mean) / std``.

    Attributes:
        size: The network's input, (height, width) in pixels.
        resize: The length in pixels that `resize_mode` speaks of; for ``"squash"`` it is ignored.
        resize_mode: ``"shorter"``: the shorter side becomes `resize`, aspect kept, then a centre crop;
            ``"longer"``: the longer side becomes `resize`, aspect kept, the rest padded with the mean colour;
            ``"squash"``: height and width become `size`, aspect lost.
        interpolation: ``"bilinear"`` or ``"bicubic"``, both antialiased.
        mean: Per channel, in units of x / 255.
        std: Per channel, in units of x / 255.
    """

    size: tuple[int, int]
    resize: int
    resize_mode: Literal["shorter", "longer", "squash"] = "shorter"
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def at_size(self, size: tuple[int, int]) -> Preprocess:
        """Returns the same preprocessing for another input size; the resize length grows in proportion."""
        if size == self.size:
            return self
        return replace(self, size=size, resize=round(self.resize * min(size) / min(self.size)))

    def with_crop(self, share: float) -> Preprocess:
        """Returns the same preprocessing whose centre crop keeps this share of the photo's shorter side.

        Training on random crops makes things look larger than a centre crop does; seeing more of a photo at test time
        makes up for it (Touvron et al. 2019, https://arxiv.org/abs/1906.06423). ``"squash"`` crops nothing.
        """
        return self if self.resize_mode == "squash" else replace(self, resize=round(min(self.size) / share))


MAX_SIDE = 4_096  # pixels of a network's input: a record of three numbers must not fill the memory
_MAX_ENLARGED = 4  # times that side, what a photo is resized to before the crop


def preprocess_to_dict(preprocess: Preprocess) -> dict[str, Any]:
    """Returns the fields as plain values, fit for JSON."""
    return asdict(preprocess)


def preprocess_from_dict(values: Mapping[str, Any], *, where: str) -> Preprocess:
    """Returns the `Preprocess` of plain values.

    Raises:
        RunError: A field is missing, unknown or of the wrong form; the message names `where`.
    """
    try:
        fields = dict(values)
        height, width = map(int, fields.pop("size"))
        preprocess = Preprocess(
            size=(height, width),
            resize=int(fields.pop("resize")),
            resize_mode=_one_of(("shorter", "longer", "squash"), fields.pop("resize_mode")),
            interpolation=_one_of(("bilinear", "bicubic"), fields.pop("interpolation")),
            mean=_three(fields.pop("mean")),
            std=_three(fields.pop("std")),
        )
        if max(height, width, preprocess.resize // _MAX_ENLARGED) > MAX_SIDE:
            raise ValueError(f"a side has more than {MAX_SIDE} pixels")
        if min(height, width) < 1 or (preprocess.resize < 1 and preprocess.resize_mode != "squash"):
            raise ValueError("a size is not positive")
        if min(preprocess.std) <= 0:
            raise ValueError("a standard deviation is not positive")
        if fields:
            raise ValueError(f"there is no field {', '.join(map(repr, fields))}")
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise RunError(f"{where}: 'preprocess' is not readable: {error!r}.") from error
    return preprocess


def _one_of(known: tuple[str, ...], value: Any) -> Any:
    if value not in known:
        raise ValueError(f"{value!r} is none of {', '.join(known)}")
    return value


def _three(values: Any) -> tuple[float, float, float]:
    red, green, blue = map(float, values)
    if not math.isfinite(red + green + blue):
        raise ValueError("a mean or a standard deviation is not finite")
    return red, green, blue
