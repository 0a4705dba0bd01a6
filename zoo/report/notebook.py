"""What a notebook shows of an `ImageSet`: the number of photos of each class, and a few of the photos."""

from __future__ import annotations

import base64
import io
from collections import Counter
from typing import TYPE_CHECKING

from zoo.data.images.decode import open_image
from zoo.errors import ImageError
from zoo.plugins.specs import SPLITS
from zoo.utils.markup import block, heading, image, line, table

if TYPE_CHECKING:
    from pathlib import Path

    from zoo.plugins.specs import ImageSet

_CLASSES, _PHOTOS = 20, 16
_SIDE = 144  # pixels of the shorter side: sharp on screens with two pixels per point, 5 kB each


def show_image_set(images: ImageSet) -> str:
    """Returns an `ImageSet` as HTML."""
    counts = {split: Counter(sample.label for sample in getattr(images, split)) for split in SPLITS}
    splits = [split for split in SPLITS if counts[split]]
    rows = [(name, *(counts[split][label] for split in splits)) for label, name in enumerate(images.classes[:_CLASSES])]
    more = len(images.classes) - len(rows)
    total = sum(len(getattr(images, split)) for split in SPLITS)
    notes = filter(None, (images.note, images.left_out))
    return block(
        heading(images.name, f"{total:,} photos, {len(images.classes):,} classes"),
        *(line(text) for text in notes),
        *(line(text, warning=True) for text in images.warnings),
        table(("class", *splits), rows, right=range(1, len(splits) + 1)),
        *([line(f"and {more:,} more classes")] if more else []),
        *_thumbnails(images),
    )


def _thumbnails(images: ImageSet) -> list[str]:
    """Returns photos of as many classes as possible: one of each in turn."""
    samples = next((getattr(images, split) for split in SPLITS if getattr(images, split)), ())
    seen: Counter[int] = Counter()
    order = []
    for sample in samples:
        order.append((seen[sample.label], sample.label, sample))
        seen[sample.label] += 1
    chosen = [sample for _, _, sample in sorted(order, key=lambda entry: entry[:2])[:_PHOTOS]]
    return [
        image(f"data:image/jpeg;base64,{content}", title=f"{images.classes[sample.label]}: {sample.name}")
        for sample in chosen
        if (content := _encode(sample.source))
    ]


def _encode(source: Path | bytes) -> str:
    """Returns a small JPEG in base64, or an empty string if the photo cannot be read."""
    try:
        photo = open_image(source, min_side=_SIDE, approximate=True)
    except ImageError:
        return ""
    photo.thumbnail((2 * _SIDE, _SIDE))
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", quality=75)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
