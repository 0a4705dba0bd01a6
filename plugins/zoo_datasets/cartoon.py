"""The dataset `hotdog-cartoon`: drawn by this package, for first steps without network and for tests.

Seed and name of an image decide all of it. Of two versions of Pillow one may set single pixels at the edge of a shape
otherwise: between 11.0 and 12.3 that was so in 10 of 168 images, and the others were the same to the bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from zoo.errors import DataError
from zoo.plugins.options import option
from zoo.plugins.specs import ImageSet, Sample

if TYPE_CHECKING:
    from zoo.plugins.specs import DatasetRequest

CLASSES = ("hotdog", "not-hotdog")


@dataclass(frozen=True, slots=True, kw_only=True)
class CartoonOptions:
    """The options of `hotdog-cartoon`."""

    images: int = option(
        400,
        help="training images per class; a fifth as many to validate, two fifths to test",
        minimum=5,
        maximum=10_000_000,
    )
    size: int = option(96, help="width and height in pixels", minimum=16, maximum=1024)
    seed: int = option(0, help="other seeds give other drawings", minimum=0)


def load(request: DatasetRequest) -> ImageSet:
    """Draws the images; nothing is downloaded or written.

    Raises:
        DataError: They would take most of the memory: how many there are may stand in a record from elsewhere.
    """
    options: CartoonOptions = request.options
    counts = {"train": options.images, "val": options.images // 5, "test": options.images * 2 // 5}
    total, done = len(CLASSES) * sum(counts.values()), 0
    _check_room(total * 3 * options.size**2)
    parts: dict[str, tuple[Sample, ...]] = {}
    for part, count in counts.items():
        samples = []
        for label, name in enumerate(CLASSES):
            for index in range(count):
                samples.append(_sample(f"{part}/{name}/{index:05}.ppm", label, options))
                done += 1
                request.progress("draw cartoons", done, total)
        parts[part] = tuple(samples)
    return ImageSet(
        name="hotdog-cartoon",
        classes=CLASSES,
        train=parts["train"],
        val=parts["val"],
        test=parts["test"],
        note=f"These are drawings made by the program (seed {options.seed}), not photos: "
        "results on them say nothing about photos.",
    )


def _check_room(needed: int) -> None:
    from zoo.utils.machine import available_memory

    memory = available_memory()
    if memory is not None and needed > memory // 2:
        raise DataError(
            f"The drawings would take {needed / 2**30:.1f} GiB, more than half of the memory that is to be had.",
            hint="Ask for fewer, or for smaller ones: --data-option images=400 --data-option size=96.",
        )


def _sample(name: str, label: int, options: CartoonOptions) -> Sample:
    # Here, not above: listing the datasets is to import neither NumPy nor Pillow.
    from zoo_datasets.scene import draw

    # Seeded by its name: an image stays the same whatever number of others there is.
    pixels = draw(hot_dog=label == 0, size=options.size, random=Random(f"{options.seed}/{name}"))
    # PPM, whose bytes are the same everywhere; those of a PNG depend on the version of zlib, and the fingerprint of
    # the data would with them.
    header = f"P6 {options.size} {options.size} 255\n".encode()
    return Sample(header + pixels.tobytes(), label, name)
