"""What the network sees of a photo in training: augmented views, for a sheet to look at. Imports torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from zoo.data.augment import Augmentation, augment
from zoo.data.image import decode
from zoo.data.loader import generator_for
from zoo.data.store import with_room_for_crops

if TYPE_CHECKING:
    from zoo.config import FinetuneConfig
    from zoo.sheet import Views
    from zoo.specs import Preprocess, Sample


def augmented_views(config: FinetuneConfig, preprocess: Preprocess, *, count: int = 5) -> Views:
    """Returns what makes `count` augmented views of a photo, uint8 ``(h, w, 3)`` of the network's input size.

    Args:
        config: Its augmentation and its seed.
        preprocess: The network's.
        count: Views a photo.
    """
    augmentation = Augmentation.from_config(config)
    prepare = with_room_for_crops(preprocess, crop_scale=config.crop_scale)

    def views(index: int, sample: Sample) -> list[np.ndarray]:
        photo = prepare(decode(sample.source, name=sample.name))
        photos = torch.from_numpy(np.array(photo)).permute(2, 0, 1).expand(count, -1, -1, -1)
        sizes = torch.tensor([photo.shape[:2]]).expand(count, -1)
        images = augment(photos, sizes, preprocess, augmentation, generator_for(config.seed, index))
        return list(images.round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy())

    return views
