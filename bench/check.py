"""How long the dataset doctor takes: before a training, and for 100,000 photos.

Measured are a fast examination without decoding, as before every training; a look at every photo, as ``zoo data check``
takes it (read, hash, decode roughly, sign); and the comparison of every signature with every other, on as many made-up
signatures as 100,000 photos would have. The time of the whole is put together from these, not measured.
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
from decode import jpeg

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from zoo.plugins.specs import ImageSet

NAME = "check"
_WHOLE = 100_000
_PHONE = (4000, 3000)  # 12 megapixels


def seconds(work: Callable[[], object]) -> float:
    """Returns how long something takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def comparison(rows: int, others: int) -> float:
    """Returns seconds to compare each of `rows` signatures with `others`."""
    from zoo.data.check.near import Signatures, close_pairs
    from zoo.data.check.signature import Signature

    random = np.random.default_rng(0)
    hashes = random.integers(0, 1 << 63, (others, 2), np.uint64).tolist()
    made = [Signature(one, other, bytes(216)) for one, other in hashes]
    first, whole = Signatures(made[:rows]), Signatures(made)
    return seconds(lambda: close_pairs(first, whole))


def datasets(arguments: argparse.Namespace) -> dict[str, ImageSet]:
    """Returns photos to examine, by what they are: JPEGs, generated ones in memory or a folder's."""
    from zoo.data.sources.folder import read_folder
    from zoo.plugins.specs import ImageSet, Sample

    if arguments.data:
        return {arguments.data.name: read_folder(arguments.data)}
    made = {}
    for size, count in ((_photos.PHOTO, arguments.photos), (_PHONE, max(1, arguments.photos // 50))):
        samples = tuple(Sample(jpeg(size, number), number % 2, f"{number}.jpg") for number in range(count))
        made["x".join(map(str, size))] = ImageSet(name="generated", classes=_photos.CLASSES, train=samples)
    return made


def measure(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Returns the rows of the table."""
    from zoo.data.check.scan import scan

    rows, (few, others) = [], (200, 2_000) if arguments.quick else (5_000, _WHOLE)
    for name, images in datasets(arguments).items():
        measures = {
            "fast": partial(seconds, partial(scan, images, decode=False)),
            "look": partial(seconds, partial(scan, images, decode=True)),
            "compare": partial(comparison, few, others),
        }
        taken = alternate(measures, arguments.repeats, warm_up=not arguments.quick)
        number = len(images.train) + len(images.val) + len(images.test)
        fast, look, compare = (median(taken[key]) for key in measures)
        pairs = few * others / compare
        rows.append(
            {
                "photos": name,
                "fast: s per 2,000": 2_000 * fast / number,
                "look: photos/s": number / look,
                "compare: M pairs/s": pairs / 1e6,
                "100,000: minutes": (_WHOLE * look / number + _WHOLE * _WHOLE / 2 / pairs) / 60,
            }
        )
    return rows


def main(args: list[str] | None = None) -> None:
    """Parses, measures, reports."""
    arguments = make_parser(NAME, __doc__, repeats=3, photos=3_000).parse_args(args)
    if arguments.quick:
        arguments.repeats, arguments.photos = 1, min(40, arguments.photos)
    _project.use_checkout()
    report(NAME, arguments, measure(arguments), notes=["The last column is put together from those before it."])


if __name__ == "__main__":
    main(sys.argv[1:])
