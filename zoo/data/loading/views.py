"""What the network sees of a photo in training: several draws of the augmentation, as pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from zoo.data.images.decode import decode
from zoo.data.loading.augment import cut, vary
from zoo.data.loading.augment_params import Augmentation, draw
from zoo.data.loading.loader import generator_for
from zoo.data.loading.prepare import with_room_for_crops

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from zoo.plugins.specs import Sample
    from zoo.preprocess import Preprocess


def augmented_views(
    preprocess: Preprocess, augmentation: Augmentation, *, count: int = 5, seed: int = 0
) -> Callable[[int, Sample], list[NDArray[np.uint8]]]:
    """Returns a function from a photo to `count` augmented views of it, uint8 ``(h, w, 3)``; see `zoo.report.sheets`.

    They are made by the very code that training runs; the normalisation alone is left out.
    """
    prepare = with_room_for_crops(preprocess, crop_scale=augmentation.crop_scale)

    def views(index: int, sample: Sample) -> list[NDArray[np.uint8]]:
        photo = prepare(decode(sample.source, name=sample.name, min_side=prepare.enough))
        sizes = torch.tensor([photo.shape[:2]] * count)
        draws = draw(sizes, preprocess, augmentation, generator_for(seed, index))
        images = torch.from_numpy(cut([photo] * count, draws, preprocess)).permute(0, 3, 1, 2)
        varied = vary(images, draws, preprocess, augmentation).round().clamp(0, 255).to(torch.uint8)
        return list(varied.permute(0, 2, 3, 1).numpy())

    return views
