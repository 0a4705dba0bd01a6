"""The dataset `hotdog-cartoon`: generated drawings, for first steps without a network and for tests.

An image depends only on the seed and its name. Versions of Pillow may differ in single pixels at the edges of shapes:
between 11.0 and 12.3, 10 of 168 images differed, and the others were identical.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from zoo.errors import DataError
from zoo.plugins.options import option
from zoo.plugins.specs import ImageSet, Sample

if TYPE_CHECKING:
    from pathlib import Path

    from zoo.plugins.specs import DatasetRequest

CLASSES = ("hotdog", "not-hotdog")


@dataclass(frozen=True, slots=True, kw_only=True)
class CartoonOptions:
    """The options of `hotdog-cartoon`."""

    images: int = option(
        400,
        help="training images per class; validation has a fifth of that number, the test split two fifths",
        minimum=5,
        maximum=10_000_000,
    )
    size: int = option(96, help="width and height in pixels", minimum=16, maximum=1024)
    seed: int = option(0, help="seed of the drawings", minimum=0)


def is_local(cache: Path) -> bool:
    """Returns True: the images are drawn, not downloaded."""
    return True


def load(request: DatasetRequest) -> ImageSet:
    """Draws the images; downloads and writes nothing.

    Raises:
        DataError: The images would take most of the memory. The record of a run from elsewhere may ask for any number.
    """
    options: CartoonOptions = request.options
    counts = {"train": options.images, "val": options.images // 5, "test": options.images * 2 // 5}
    total, done = len(CLASSES) * sum(counts.values()), 0
    _check_memory(total * 3 * options.size**2)
    splits: dict[str, tuple[Sample, ...]] = {}
    for split, count in counts.items():
        samples = []
        for label, name in enumerate(CLASSES):
            for index in range(count):
                samples.append(_sample(f"{split}/{name}/{index:05}.ppm", label, options))
                done += 1
                request.progress("draw cartoons", done, total)
        splits[split] = tuple(samples)
    return ImageSet(
        name="hotdog-cartoon",
        classes=CLASSES,
        train=splits["train"],
        val=splits["val"],
        test=splits["test"],
        note=f"These are generated drawings (seed {options.seed}), not photos: "
        "results on them say nothing about photos.",
    )


def _check_memory(needed: int) -> None:
    from zoo.utils.machine import available_memory

    memory = available_memory()
    if memory is not None and needed > memory // 2:
        raise DataError(
            f"The drawings would take {needed / 2**30:.1f} GiB, more than half of the available memory.",
            hint="Reduce their number or size, for example: --data-option images=400 --data-option size=96.",
        )


def _sample(name: str, label: int, options: CartoonOptions) -> Sample:
    # Not at the top: listing the datasets must import neither NumPy nor Pillow.
    from zoo_datasets.scene import draw

    # Seeded by its name, so that an image does not depend on the number of images.
    pixels = draw(hot_dog=label == 0, size=options.size, random=Random(f"{options.seed}/{name}"))
    # PPM, whose bytes are the same everywhere. The bytes of a PNG depend on the version of zlib, and with them the
    # fingerprint of the data.
    header = f"P6 {options.size} {options.size} 255\n".encode()
    return Sample(header + pixels.tobytes(), label, name)
