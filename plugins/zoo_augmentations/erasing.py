"""Random erasing of whole batches. Imports torch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from zoo.data.loading.pipeline import to_device

if TYPE_CHECKING:
    from zoo.plugins.specs import AugmentationRequest
    from zoo_augmentations.options import RandomErasingOptions

_ASPECTS = (0.3, 1 / 0.3)  # r1 and r2 of the paper
_TRIES = 10


class RandomErasing:
    """Paints over a rectangle of some images (Zhong et al. 2020, https://arxiv.org/abs/1708.04896).

    It is of one colour: the mean colour (RE-M in the paper) or a random one, where RE-R has noise.

    Args:
        request: Has the mean colour and a `RandomErasingOptions`.
    """

    def __init__(self, request: AugmentationRequest) -> None:
        self.options: RandomErasingOptions = request.options
        self.fill = torch.tensor(request.fill)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Draws float32 ``(count, 26)``: whether to erase, place, colour, and areas and aspects of ten rectangles.

        The place is a share of the free room; a rectangle has an area relative to the image, or 0, and the logarithm of
        its height over its width.
        """
        options = self.options
        erased = (torch.rand(count, 1, generator=generator) < options.probability).float()
        place, colour = (torch.rand(count, number, generator=generator) for number in (2, 3))
        areas = torch.empty(count, _TRIES).uniform_(options.smallest, options.largest, generator=generator)
        low, high = map(math.log, _ASPECTS)
        aspects = torch.empty(count, _TRIES).uniform_(low, high, generator=generator)
        colour = 255 * colour if options.value == "random" else self.fill.expand(count, 3)
        return torch.cat([erased, place, colour, areas, aspects], dim=1)

    def apply(self, images: Tensor, numbers: Tensor) -> Tensor:
        """Returns images of the type that they have; those in which no rectangle fits stay as they are."""
        height, width = images.shape[2:]
        erased, place, colour, areas, aspects = numbers.split([1, 2, 3, _TRIES, _TRIES], dim=1)
        heights = (areas * aspects.exp() * height * width).sqrt().round()
        widths = (areas / aspects.exp() * height * width).sqrt().round()
        fits = (heights < height) & (widths < width)
        first = fits.int().argmax(dim=1, keepdim=True)
        visible = fits.any(dim=1, keepdim=True) & erased.bool()
        size = torch.cat([heights.gather(1, first), widths.gather(1, first)], dim=1) * visible
        start = (place * (torch.tensor([height, width]) - size + 1)).floor()
        # A single copy to the device for all of them.
        top, left, bottom, right, *colours = to_device(torch.cat([start, start + size, colour], dim=1).T, images.device)
        rows = torch.arange(height, device=images.device)
        columns = torch.arange(width, device=images.device)
        inside_rows = (rows >= top[:, None]) & (rows < bottom[:, None])
        inside_columns = (columns >= left[:, None]) & (columns < right[:, None])
        inside = inside_rows[:, None, :, None] & inside_columns[:, None, None, :]
        painted = torch.stack(colours, dim=1)[:, :, None, None]
        return torch.where(inside, painted if images.is_floating_point() else painted.round().to(torch.uint8), images)
