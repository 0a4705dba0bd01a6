"""The 14 operations of RandAugment and TrivialAugment, on whole batches, as torchvision defines them. Imports torch.

Images of one operation are processed together, each with its own magnitude; the operations that move pixels share one
resampling. Policies choose on the CPU, so that the device is never waited for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as vision

from zoo.data.loading.pipeline import to_device

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_GREY = (0.2989, 0.587, 0.114)  # of torchvision
_MOST_ON_CPU = 2  # images at a time there: what several operations read and write should stay in its cache
_EDGE, _CENTRE = 1 / 13, 5 / 13  # of the kernel with which Pillow smoothes


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """An operation.

    Attributes:
        name: The name in the papers.
        is_signed: Whether its magnitude may be negative.
        matrix: Maps magnitudes ``(n,)`` float64, height and width to inverse affine matrices ``(n, 2, 3)``.
        recolour: Maps uint8 images ``(n, 3, H, W)`` and magnitudes ``(n, 1, 1, 1)`` float64 on the CPU to uint8 images.
    """

    name: str
    is_signed: bool = False
    matrix: Callable[[Tensor, int, int], Tensor] | None = None
    recolour: Callable[[Tensor, Tensor], Tensor] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """The magnitudes of a policy, which rise in 31 steps.

    Attributes:
        shear: Largest shear, as a ratio.
        shift: Largest translation, in pixels.
        relative: Whether `shift` is a share of the image's side instead.
        rotation: Largest rotation in degrees.
        change: Largest relative change of brightness, colour, contrast and sharpness.
        lost_bits: Most bits that posterizing removes.
    """

    STEPS: ClassVar[int] = 31

    shear: float
    shift: float
    relative: bool
    rotation: float
    change: float
    lost_bits: int

    def magnitudes(self, size: Sequence[int]) -> Tensor:
        """Returns the magnitude of each operation at each step, for images of (height, width): float64 ``(14, 31)``."""
        height, width = size if self.relative else (1, 1)
        steps = torch.arange(self.STEPS)
        bits = (8 - steps / ((self.STEPS - 1) / self.lost_bits)).round().int()
        ends = (
            *(0.0, self.shear, self.shear, self.shift * width, self.shift * height, self.rotation),
            *(self.change, self.change, self.change, self.change),
        )
        rising = [torch.linspace(0.0, end, self.STEPS) for end in ends]
        falling = [bits, torch.linspace(1.0, 0.0, self.STEPS)]
        return torch.stack(
            [each.double() for each in (*rising, *falling, torch.zeros(self.STEPS), torch.zeros(self.STEPS))]
        )


def apply_operations(images: Tensor, numbers: Tensor, magnitudes: Tensor, *, fill: Sequence[int]) -> Tensor:
    """Applies an operation to each image.

    Args:
        images: uint8 ``(N, 3, H, W)``, on any device.
        numbers: int64 ``(N,)`` on the CPU: indices into `OPERATIONS`.
        magnitudes: float64 ``(N,)`` on the CPU.
        fill: The colour of pixels from outside an image.

    Returns:
        uint8 ``(N, 3, H, W)``.
    """
    result, height, width = images.clone(), *images.shape[2:]
    most = _MOST_ON_CPU if images.device.type == "cpu" else len(images)
    moved, matrices = [], []
    for number, operation in enumerate(OPERATIONS):
        members = (numbers == number).nonzero()[:, 0]
        if not len(members):
            continue
        if operation.matrix is not None:
            moved.append(members)
            matrices.append(operation.matrix(magnitudes[members], height, width))
        elif operation.recolour is not None:
            for some in members.split(most):
                where = to_device(some, images.device)
                result[where] = operation.recolour(images[where], magnitudes[some].view(-1, 1, 1, 1))
    if moved:
        places = _places(height, width, images.device)
        for some, own in zip(torch.cat(moved).split(most), torch.cat(matrices).split(most), strict=True):
            where = to_device(some, images.device)
            result[where] = _resample(images[where], own, places, fill)
    return result


def _places(height: int, width: int, device: torch.device) -> Tensor:
    """Returns x, y and 1 for each pixel, float32 ``(1, H W, 3)``, in pixels from the centre."""
    places = torch.ones(height, width, 3, device=device)
    places[..., 0] = torch.linspace((1 - width) / 2, (width - 1) / 2, width, device=device)
    places[..., 1] = torch.linspace((1 - height) / 2, (height - 1) / 2, height, device=device)[:, None]
    return places.view(1, -1, 3)


def _resample(images: Tensor, matrices: Tensor, places: Tensor, fill: Sequence[int]) -> Tensor:
    """Returns the nearest pixels of images at affinely transformed places."""
    count, _, height, width = images.shape
    scaled = matrices.float().transpose(1, 2) / torch.tensor([0.5 * width, 0.5 * height])
    grid = (places.expand(count, -1, -1) @ to_device(scaled, images.device)).view(count, height, width, 2)
    # A channel of ones tells what is inside.
    pixels = torch.cat([images.float(), images.new_ones(count, 1, height, width, dtype=torch.float32)], dim=1)
    pixels, inside = F.grid_sample(pixels, grid, mode="nearest", align_corners=False).split([3, 1], dim=1)
    outside = to_device(torch.tensor(fill, dtype=torch.float32), images.device).view(1, 3, 1, 1)
    return torch.where(inside < 0.5, outside, pixels).round_().to(torch.uint8)


def _shear_x(ratio: Tensor, height: int, width: int) -> Tensor:
    return _matrices(len(ratio), {(0, 1): ratio, (0, 2): ratio * height / 2})


def _shear_y(ratio: Tensor, height: int, width: int) -> Tensor:
    return _matrices(len(ratio), {(1, 0): ratio, (1, 2): ratio * width / 2})


def _translate_x(pixels: Tensor, height: int, width: int) -> Tensor:
    return _matrices(len(pixels), {(0, 2): -pixels.trunc()})


def _translate_y(pixels: Tensor, height: int, width: int) -> Tensor:
    return _matrices(len(pixels), {(1, 2): -pixels.trunc()})


def _rotate(degrees: Tensor, height: int, width: int) -> Tensor:
    angle = torch.deg2rad(degrees)
    cos, sin = angle.cos(), angle.sin()
    return _matrices(len(degrees), {(0, 0): cos, (0, 1): -sin, (1, 0): sin, (1, 1): cos})


def _matrices(count: int, values: dict[tuple[int, int], Tensor]) -> Tensor:
    """Returns identity matrices ``(count, 2, 3)`` float64 with some values replaced."""
    matrices = torch.eye(2, 3, dtype=torch.float64).repeat(count, 1, 1)
    for (row, column), value in values.items():
        matrices[:, row, column] = value
    return matrices


def _brightness(images: Tensor, change: Tensor) -> Tensor:
    return (images * to_device((1 + change).float(), images.device)).clamp_(0, 255).to(torch.uint8)


def _color(images: Tensor, change: Tensor) -> Tensor:
    return _blend(images, _grey(images), change)


def _contrast(images: Tensor, change: Tensor) -> Tensor:
    return _blend(images, _grey(images).mean(dim=(1, 2, 3), keepdim=True), change)


def _sharpness(images: Tensor, change: Tensor) -> Tensor:
    if min(images.shape[2:]) <= 2:  # all edge, which stays as it is
        return images
    kernel = torch.full((3, 3), _EDGE)
    kernel[1, 1] = _CENTRE
    pixels = images.float()
    smooth = F.conv2d(pixels, to_device(kernel.expand(3, 1, 3, 3), images.device), groups=3).round_()
    inner = pixels[:, :, 1:-1, 1:-1]
    inner.addcmul_(smooth - inner, to_device((1 - (1 + change)).float(), images.device))
    return pixels.clamp_(0, 255).to(torch.uint8)


def _posterize(images: Tensor, bits: Tensor) -> Tensor:
    dropped = 8 - bits.long()
    return images & to_device(255 >> dropped << dropped, images.device).to(torch.uint8)


def _solarize(images: Tensor, threshold: Tensor) -> Tensor:
    return torch.where(images >= to_device((255 * threshold).float(), images.device), 255 - images, images)


def _blend(images: Tensor, others: Tensor, change: Tensor) -> Tensor:
    factor = 1 + change
    first, second = (to_device(each.float(), images.device) for each in (factor, 1 - factor))
    return torch.addcmul(images * first, others, second).clamp_(0, 255).to(torch.uint8)


def _grey(images: Tensor) -> Tensor:
    red, green, blue = images.unbind(dim=1)
    first, second, third = _GREY
    return red.mul(first).add_(green, alpha=second).add_(blue, alpha=third).unsqueeze(1).floor_()


OPERATIONS = (
    Operation(name="Identity"),
    Operation(name="ShearX", is_signed=True, matrix=_shear_x),
    Operation(name="ShearY", is_signed=True, matrix=_shear_y),
    Operation(name="TranslateX", is_signed=True, matrix=_translate_x),
    Operation(name="TranslateY", is_signed=True, matrix=_translate_y),
    Operation(name="Rotate", is_signed=True, matrix=_rotate),
    Operation(name="Brightness", is_signed=True, recolour=_brightness),
    Operation(name="Color", is_signed=True, recolour=_color),
    Operation(name="Contrast", is_signed=True, recolour=_contrast),
    Operation(name="Sharpness", is_signed=True, recolour=_sharpness),
    Operation(name="Posterize", recolour=_posterize),
    Operation(name="Solarize", recolour=_solarize),
    Operation(name="AutoContrast", recolour=lambda images, _: vision.autocontrast(images)),
    Operation(name="Equalize", recolour=lambda images, _: vision.equalize(images)),
)
