"""Measures how reliably the dataset check recognises a modified photo, and how rarely it matches different photos.

Each photo is re-encoded, resized, cropped or brightened; a row gives the share that is recognised as a near duplicate
of its original. The row `different photos` counts the matching pairs among the originals; inspect them with ``zoo data
check``. Some generated photos share a background.
"""

from __future__ import annotations

import io
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageEnhance, ImageOps

import _photos
import _project
from _bench import make_parser, report

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from zoo.data.check.perceptual_hash import PerceptualHash

    Change = Callable[[Image.Image], Image.Image]

NAME = "recognise"
DIFFERENT = "different photos"
_MODIFIED = 200  # photos to modify


def resize(photo: Image.Image, *, share: float) -> Image.Image:
    """Resizes a photo to a share of its width and height."""
    return photo.resize((max(1, round(photo.width * share)), max(1, round(photo.height * share))))


def crop(photo: Image.Image, *, share: float, corner: bool = False) -> Image.Image:
    """Crops a share of width and height, evenly on all sides or at the top left only."""
    x, y = photo.width * share, photo.height * share
    if corner:
        return photo.crop((round(x), round(y), photo.width, photo.height))
    return photo.crop((round(x / 2), round(y / 2), round(photo.width - x / 2), round(photo.height - y / 2)))


def brighten(photo: Image.Image, *, share: float) -> Image.Image:
    """Multiplies a photo's brightness."""
    return ImageEnhance.Brightness(photo).enhance(share)


def transpose(photo: Image.Image, *, way: Image.Transpose) -> Image.Image:
    """Mirrors a photo, or turns it by 90, 180 or 270 degrees."""
    return photo.transpose(way)


CHANGES: dict[str, tuple[Change, int]] = {
    "re-encoded at quality 10": (lambda photo: photo, 10),
    "half as large": (partial(resize, share=0.5), 85),
    "a quarter as large": (partial(resize, share=0.25), 85),
    "squashed to a square": (lambda photo: photo.resize((256, 256)), 85),
    "20 % brighter": (partial(brighten, share=1.2), 85),
    "without colour": (lambda photo: photo.convert("L"), 85),
    "cropped by 2 %": (partial(crop, share=0.02), 85),
    "cropped by 4 %": (partial(crop, share=0.04), 85),
    "4 % off one corner": (partial(crop, share=0.04, corner=True), 85),
    "cropped by 6 %": (partial(crop, share=0.06), 85),
    "cropped by 10 %": (partial(crop, share=0.1), 85),
    "cropped by 20 %": (partial(crop, share=0.2), 85),
    "cropped by 40 %": (partial(crop, share=0.4), 85),
    "10 % off one corner": (partial(crop, share=0.1, corner=True), 85),
    "13 % off one corner": (partial(crop, share=0.13, corner=True), 85),
    "20 % off one corner": (partial(crop, share=0.2, corner=True), 85),
    "the central square": (lambda photo: ImageOps.fit(photo, (min(photo.size),) * 2), 85),
    "white border of 5 %": (lambda photo: ImageOps.expand(photo, round(0.05 * min(photo.size)), "white"), 85),
    **{way.name.lower().replace("_", " "): (partial(transpose, way=way), 85) for way in Image.Transpose},
    "rotated by 3 degrees": (lambda photo: photo.rotate(3), 85),
    "rotated by 10 degrees": (lambda photo: photo.rotate(10), 85),
    "a negative": (lambda photo: ImageOps.invert(photo), 85),
}


def apply_change(data: bytes, change: Change, quality: int) -> bytes:
    """Returns a modified photo as a JPEG file."""
    from zoo.data.images.decode import open_image

    buffer = io.BytesIO()
    change(open_image(data)).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def compute_hash(data: bytes) -> PerceptualHash | None:
    """Returns a photo's perceptual hash, computed as in the dataset check."""
    from zoo.data.check.perceptual_hash import MIN_SIDE, hash_photo
    from zoo.data.images.decode import open_image

    return hash_photo(open_image(data, min_side=MIN_SIDE, approximate=True))


def load_photos(arguments: argparse.Namespace) -> list[bytes]:
    """Returns the JPEGs of the given folder, or generated ones."""
    if not arguments.data:
        return [_photos.draw_jpeg(_photos.PHOTO, number) for number in range(arguments.photos)]
    return [path.read_bytes() for path in _photos.find_jpegs(arguments.data)]


def measure(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Returns the rows of the table."""
    from zoo.data.check.hash_index import find_matches

    with ThreadPoolExecutor() as pool:
        data = load_photos(arguments)
        hashes = pool.map(compute_hash, data)
        signed = [(photo, each) for photo, each in zip(data, hashes, strict=True) if each]
        everything = [each for _, each in signed]
        sample = signed[:: max(1, len(signed) // _MODIFIED)]
        originals = [each for _, each in sample]
        rows = []
        for name, (change, quality) in CHANGES.items():
            modified = pool.map(lambda pair, how=(change, quality): compute_hash(apply_change(pair[0], *how)), sample)
            pairs = [(number, each) for number, each in enumerate(modified) if each]
            matches = find_matches([*originals, *(each for _, each in pairs)])
            later = {len(originals) + place: number for place, (number, _) in enumerate(pairs)}
            recognised = sum(later.get(match.first) == match.second for match in matches)
            rows.append(_row(name, len(originals), recognised))
    return [*rows, _row(DIFFERENT, len(everything) * (len(everything) - 1) // 2, len(find_matches(everything)))]


def _row(name: str, pairs: int, matching: int) -> dict[str, Any]:
    return {"photos": name, "pairs": pairs, "matching": matching, "%": 100 * matching / pairs}


def main(args: list[str] | None = None) -> None:
    """Runs the benchmark."""
    arguments = make_parser(NAME, __doc__, repeats=1, photos=2_000).parse_args(args)
    if arguments.quick:
        arguments.photos = min(40, arguments.photos)
    _project.use_checkout()
    report(NAME, arguments, measure(arguments))


if __name__ == "__main__":
    main(sys.argv[1:])
