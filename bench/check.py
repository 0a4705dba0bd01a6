"""Measures how long the dataset check takes, before a training and for 100,000 photos.

Three measurements: the fast scan without decoding that runs before every training; the full scan of ``zoo data check``,
which reads, hashes, roughly decodes every photo; and the comparison of all hashes with each other, on
100,000 synthetic hashes. The total for 100,000 photos is computed from these rates, not measured.
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


def time_comparison(rows: int, others: int) -> float:
    """Returns the seconds to compare `rows` hashes with `others` each."""
    from zoo.data.check.perceptual_hash import HashTable, PerceptualHash, find_matches

    random = np.random.default_rng(0)
    hashes = random.integers(0, 1 << 63, (others, 2), np.uint64).tolist()
    made = [PerceptualHash(one, other, bytes(216)) for one, other in hashes]
    first, whole = HashTable(made[:rows]), HashTable(made)
    return time_call(lambda: find_matches(first, whole))


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

    rows, (few, others) = [], (200, 2_000) if arguments.quick else (5_000, _WHOLE)
    for name, images in load_datasets(arguments).items():
        measures = {
            "fast": partial(time_call, partial(scan_images, images, decode=False)),
            "full": partial(time_call, partial(scan_images, images, decode=True)),
            "compare": partial(time_comparison, few, others),
        }
        results = alternate(measures, arguments.repeats, warm_up=not arguments.quick)
        number = len(images.train) + len(images.val) + len(images.test)
        fast, full, compare = (median(results[key]) for key in measures)
        pairs = few * others / compare
        rows.append(
            {
                "photos": name,
                "fast: s per 2,000": 2_000 * fast / number,
                "full: photos/s": number / full,
                "compare: M pairs/s": pairs / 1e6,
                "100,000: minutes": (_WHOLE * full / number + _WHOLE * _WHOLE / 2 / pairs) / 60,
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
