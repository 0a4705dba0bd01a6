"""Measures how long the dataset check takes, before a training and for 100,000 photos.

Three measurements: the fast scan without decoding that runs before every training; the full scan of ``zoo data check``,
which reads, hashes, roughly decodes every photo; and the comparison of all hashes with each other, on
20,000 synthetic hashes. The total for 100,000 photos is computed from these rates, not measured.
"""

from __future__ import annotations

import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

import _photos
import _project
from _bench import alternate, make_parser, median, report

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from zoo.plugins.specs import ImageSet

NAME = "check"
_WHOLE = 100_000


def time_call(work: Callable[[], object]) -> float:
    """Returns the seconds that a call takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def time_comparison(count: int) -> float:
    """Returns the seconds to compare `count` random hashes with each other."""
    from zoo.data.check.hash_index import find_matches
    from zoo.data.check.perceptual_hash import MIN_SIDE, PARTS, PerceptualHash

    random = np.random.default_rng(0)
    hashes = [
        PerceptualHash(
            brightness=random.integers(-127, 128, (PARTS, 64), np.int8),
            colour=random.integers(-127, 128, (PARTS, 18), np.int8),
            thumbnails=random.integers(0, 256, (1, MIN_SIDE, MIN_SIDE), np.uint8),
            shapes=np.full((1, 2), MIN_SIDE, np.uint8),
        )
        for _ in range(count)
    ]
    return time_call(lambda: find_matches(hashes))


def load_datasets(arguments: argparse.Namespace) -> dict[str, ImageSet]:
    """Returns the datasets to check by name: the given folder, or generated JPEGs in memory."""
    from zoo.data.sources.folder import read_folder
    from zoo.plugins.specs import ImageSet, Sample

    if arguments.data:
        return {arguments.data.name: read_folder(arguments.data)}
    datasets = {}
    for size, count in ((_photos.PHOTO, arguments.photos), (_photos.PHONE, max(1, arguments.photos // 50))):
        samples = tuple(Sample(_photos.draw_jpeg(size, number), number % 2, f"{number}.jpg") for number in range(count))
        datasets["x".join(map(str, size))] = ImageSet(name="generated", classes=_photos.CLASSES, train=samples)
    return datasets


def measure(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Returns the rows of the table."""
    from zoo.data.check.scan import scan_images

    rows, compared = [], 200 if arguments.quick else 20_000
    for name, images in load_datasets(arguments).items():
        measures = {
            "fast": partial(time_call, partial(scan_images, images, decode=False)),
            "full": partial(time_call, partial(scan_images, images, decode=True)),
            "compare": partial(time_comparison, compared),
        }
        results = alternate(measures, arguments.repeats, warm_up=not arguments.quick)
        number = len(images.train) + len(images.val) + len(images.test)
        fast, full, compare = (median(results[key]) for key in measures)
        rows.append(
            {
                "photos": name,
                "fast: s per 2,000": 2_000 * fast / number,
                "full: photos/s": number / full,
                "compare: photos/s": compared / compare,
                "100,000: minutes": _WHOLE * (full / number + compare / compared) / 60,
            }
        )
    return rows


def main(args: list[str] | None = None) -> None:
    """Runs the benchmark."""
    arguments = make_parser(NAME, __doc__, repeats=3, photos=3_000).parse_args(args)
    if arguments.quick:
        arguments.repeats, arguments.photos = 1, min(40, arguments.photos)
    _project.use_checkout()
    report(NAME, arguments, measure(arguments), notes=["The last column is computed from the others, not measured."])


if __name__ == "__main__":
    main(sys.argv[1:])
