"""`Preprocess`: how pixels become the input of a network, and its plain form in run records and exported files."""

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
    """How pixels become the input of a network. Defined once, with the weights, and used everywhere.

    A uint8 RGB image is resized (antialiased, still uint8), centre-cropped to `size`, divided by 255 and normalised:
    ``(x - mean) / std``.

    Attributes:
        size: Input size of the network, (height, width) in pixels.
        resize: Length in pixels of the side named by `resize_mode`; ignored for ``"squash"``.
        resize_mode: ``"shorter"``: resize the shorter side to `resize`, keep the aspect ratio, crop the centre;
            ``"longer"``: resize the longer side to `resize`, keep the aspect ratio, pad with the mean colour;
            ``"squash"``: resize to `size`, ignoring the aspect ratio.
        interpolation: ``"bilinear"`` or ``"bicubic"``, both antialiased.
        mean: Per channel, of values from 0 to 1.
        std: Per channel, of values from 0 to 1.
    """

    size: tuple[int, int]
    resize: int
    resize_mode: Literal["shorter", "longer", "squash"] = "shorter"
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def at_size(self, size: tuple[int, int]) -> Preprocess:
        """Returns the same preprocessing for another input size; `resize` scales in proportion."""
        if size == self.size:
            return self
        return replace(self, size=size, resize=round(self.resize * min(size) / min(self.size)))

    def for_training(self, fraction: float) -> Preprocess:
        """Returns the same preprocessing at this fraction of the size, rounded up to a multiple of 32 pixels.

        Smaller random crops in training show objects as large as evaluation does (Touvron et al. 2019,
        https://arxiv.org/abs/1906.06423), and are faster. 32 pixels is the stride of most networks.
        """
        height, width = (min(side, math.ceil(fraction * side / _STRIDE) * _STRIDE) for side in self.size)
        return self.at_size((height, width))

    def with_crop(self, share: float) -> Preprocess:
        """Returns the same preprocessing with a centre crop that keeps this share of the photo's shorter side.

        Random crops in training make objects look larger than centre crops do; keeping more of a photo at test time
        compensates for that, as `for_training` does. ``"squash"`` does not crop.
        """
        return self if self.resize_mode == "squash" else replace(self, resize=round(min(self.size) / share))


# Records may come from strangers: three numbers in one must not be able to exhaust the memory.
MAX_SIDE = 2_048  # of the network's input, in pixels
_STRIDE = 32  # pixels
_MAX_RESIZE = 4  # longest `resize`, as a multiple of MAX_SIDE
_BATCH_PIXELS = 32 * 384 * 384


def photos_per_batch(size: tuple[int, int], *, most: int = 32) -> int:
    """Returns how many photos a network should compute at a time: fewer large ones, because its memory is limited.

    Args:
        size: Input size of the network, (height, width) in pixels.
        most: The number of small photos.
    """
    return max(1, min(most, _BATCH_PIXELS // (size[0] * size[1])))


def preprocess_to_dict(preprocess: Preprocess) -> dict[str, Any]:
    """Returns the fields as plain values, fit for JSON."""
    return asdict(preprocess)


def preprocess_from_dict(values: Mapping[str, Any], *, where: str) -> Preprocess:
    """Returns the `Preprocess` with the given plain values.

    Raises:
        RunError: A field is missing, unknown or invalid; the message begins with `where`.
    """
    try:
        fields = dict(values)
        height, width = map(int, fields.pop("size"))
        preprocess = Preprocess(
            size=(height, width),
            resize=int(fields.pop("resize")),
            resize_mode=_check_choice(("shorter", "longer", "squash"), fields.pop("resize_mode")),
            interpolation=_check_choice(("bilinear", "bicubic"), fields.pop("interpolation")),
            mean=_parse_triple(fields.pop("mean")),
            std=_parse_triple(fields.pop("std")),
        )
        if max(height, width, preprocess.resize // _MAX_RESIZE) > MAX_SIDE:
            raise ValueError(f"a side has more than {MAX_SIDE} pixels")
        if min(height, width) < 1 or (preprocess.resize < 1 and preprocess.resize_mode != "squash"):
            raise ValueError("a size is not positive")
        if min(preprocess.std) <= 0:
            raise ValueError("a standard deviation is not positive")
        if fields:
            raise ValueError(f"unknown fields: {', '.join(map(repr, fields))}")
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise RunError(f"{where}: 'preprocess' is invalid: {error!r}.") from error
    return preprocess


def _check_choice(known: tuple[str, ...], value: Any) -> Any:
    if value not in known:
        raise ValueError(f"{value!r} is not one of {', '.join(known)}")
    return value


def _parse_triple(values: Any) -> tuple[float, float, float]:
    red, green, blue = map(float, values)
    if not math.isfinite(red + green + blue):
        raise ValueError("a mean or a standard deviation is not finite")
    return red, green, blue


def describe_preprocess(preprocess: Preprocess) -> str:
    """Returns the steps of the preprocessing in one line."""
    height, width = preprocess.size
    resize = {
        "shorter": f"shorter side to {preprocess.resize}, centre crop",
        "longer": f"longer side to {preprocess.resize}, padded",
        "squash": f"squashed to {height} x {width}",
    }[preprocess.resize_mode]
    mean, std = (", ".join(f"{value:g}" for value in triple) for triple in (preprocess.mean, preprocess.std))
    return f"{resize}, {preprocess.interpolation}; mean {mean}; std {std}"
