"""The built-in augmentations. Importing it imports no torch.

Random crops and flips are no plugins: they decide what is read of a photo, and are done in the same step as its resize
(`zoo.data.loading.augment`).
"""

from __future__ import annotations

import zoo
from zoo_augmentations.options import (
    AffineOptions,
    BlurOptions,
    ColorJitterOptions,
    CutMixOptions,
    GrayscaleOptions,
    MixUpOptions,
    RandAugmentOptions,
    RandomErasingOptions,
)


@zoo.hookimpl
def zoo_augmentations() -> list[zoo.AugmentationSpec]:
    """Returns the augmentations."""
    return [*_of_single_photos(), *_of_pairs()]


def _of_single_photos() -> list[zoo.AugmentationSpec]:
    return [
        zoo.AugmentationSpec(
            name="affine",
            summary="Random rotation and shear about the centre.",
            build="zoo_augmentations.affine:Affine",
            options=AffineOptions,
            takes_float=True,
        ),
        zoo.AugmentationSpec(
            name="color-jitter",
            summary="Random brightness, contrast and saturation.",
            build="zoo_augmentations.color:ColorJitter",
            options=ColorJitterOptions,
            takes_float=True,
        ),
        zoo.AugmentationSpec(
            name="grayscale",
            summary="Removes the colours of some photos.",
            build="zoo_augmentations.color:Grayscale",
            options=GrayscaleOptions,
            takes_float=True,
        ),
        zoo.AugmentationSpec(
            name="blur",
            summary="Gaussian blur of random width.",
            build="zoo_augmentations.color:Blur",
            options=BlurOptions,
            takes_float=True,
        ),
        zoo.AugmentationSpec(
            name="randaugment",
            summary="RandAugment (Cubuk et al. 2019): some of 14 operations, all of one magnitude.",
            build="zoo_augmentations.policies:RandAugment",
            options=RandAugmentOptions,
        ),
        zoo.AugmentationSpec(
            name="trivialaugment",
            summary="TrivialAugment (Müller & Hutter 2021): one of 14 operations, of any magnitude; nothing to tune.",
            build="zoo_augmentations.policies:TrivialAugment",
        ),
        zoo.AugmentationSpec(
            name="random-erasing",
            summary="Random erasing (Zhong et al. 2020): paints over a rectangle.",
            build="zoo_augmentations.erasing:RandomErasing",
            options=RandomErasingOptions,
            takes_float=True,
        ),
    ]


def _of_pairs() -> list[zoo.AugmentationSpec]:
    """Returns the augmentations that mix photos, and their labels."""
    return [
        zoo.AugmentationSpec(
            name="mixup",
            summary="MixUp (Zhang et al. 2018): blends two photos and their labels.",
            build="zoo_augmentations.mixing:MixUp",
            options=MixUpOptions,
            mixes_labels=True,
            mixes_features=True,
        ),
        zoo.AugmentationSpec(
            name="cutmix",
            summary="CutMix (Yun et al. 2019): pastes a rectangle of another photo, and mixes the labels by its area.",
            build="zoo_augmentations.mixing:CutMix",
            options=CutMixOptions,
            mixes_labels=True,
        ),
    ]
