"""How surely the dataset doctor recognises a photo that was changed, and how rarely it takes two photos for one.

Each photo is saved anew, resized, cropped, brightened: a row tells what share of them is found to be a near duplicate
of the photo that it was made from. The row `unlike` tells how many pairs of the photos themselves are taken for the
same: they are to be looked at, with ``zoo data check``. Of generated photos, some share a background.
"""

from __future__ import annotations

import io
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageEnhance

import _photos
import _project
from _bench import make_parser, report
from decode import jpeg

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from zoo.data.check.signature import Signature

    Change = Callable[[Image.Image], Image.Image]

NAME = "recognise"
_CHANGED = 200  # photos that are changed


def resized(photo: Image.Image, *, share: float) -> Image.Image:
    """Returns a photo at a share of its size."""
    return photo.resize((max(1, round(photo.width * share)), max(1, round(photo.height * share))))


def cropped(photo: Image.Image, *, share: float, corner: bool = False) -> Image.Image:
    """Returns a photo without a share of its width and height, cut off all around or at one corner alone."""
    x, y = photo.width * share, photo.height * share
    if corner:
        return photo.crop((round(x), round(y), photo.width, photo.height))
    return photo.crop((round(x / 2), round(y / 2), round(photo.width - x / 2), round(photo.height - y / 2)))


def brightened(photo: Image.Image, *, share: float) -> Image.Image:
    """Returns a photo with other brightness."""
    return ImageEnhance.Brightness(photo).enhance(share)


CHANGES: dict[str, tuple[Change, int]] = {
    "saved at quality 10": (lambda photo: photo, 10),
    "half as large": (partial(resized, share=0.5), 85),
    "a quarter as large": (partial(resized, share=0.25), 85),
    "squashed to a square": (lambda photo: photo.resize((256, 256)), 85),
    "20 % brighter": (partial(brightened, share=1.2), 85),
    "without colour": (lambda photo: photo.convert("L"), 85),
    "cropped by 2 %": (partial(cropped, share=0.02), 85),
    "cropped by 4 %": (partial(cropped, share=0.04), 85),
    "4 % off one corner": (partial(cropped, share=0.04, corner=True), 85),
    "cropped by 6 %": (partial(cropped, share=0.06), 85),
    "cropped by 10 %": (partial(cropped, share=0.1), 85),
}


def changed(data: bytes, change: Change, quality: int) -> bytes:
    """Returns a photo changed and saved as JPEG."""
    from zoo.data.images.decode import open_image

    buffer = io.BytesIO()
    change(open_image(data)).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def signed(data: bytes) -> Signature | None:
    """Returns the signature of a photo, as the doctor takes it."""
    from zoo.data.check.signature import ENOUGH, sign
    from zoo.data.images.decode import open_image

    return sign(open_image(data, enough=ENOUGH, rough=True))


def photos(arguments: argparse.Namespace) -> list[bytes]:
    """Returns JPEGs: of a folder, or generated."""
    if not arguments.data:
        return [jpeg(_photos.PHOTO, number) for number in range(arguments.photos)]
    paths = sorted(path for path in arguments.data.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    return [path.read_bytes() for path in paths] or sys.exit(f"{arguments.data} holds no JPEG.")


def measure(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Returns the rows of the table."""
    from zoo.data.check.near import Signatures, close_pairs

    with ThreadPoolExecutor() as pool:
        data = photos(arguments)
        made = [(each, signature) for each, signature in zip(data, pool.map(signed, data), strict=True) if signature]
        whole = Signatures([signature for _, signature in made])
        step = max(1, len(made) // _CHANGED)
        few = Signatures([signature for _, signature in made[::step]])
        rows = []
        for name, (change, quality) in CHANGES.items():
            others = pool.map(lambda each, how=(change, quality): signed(changed(each[0], *how)), made[::step])
            pairs = close_pairs(Signatures([other for other in others if other]), few)
            found = {pair.one for pair in pairs if pair.one == pair.other}
            rows.append(
                {"photos": name, "pairs": len(few), "taken for the same": len(found), "%": 100 * len(found) / len(few)}
            )
    number, same = len(whole) * (len(whole) - 1) // 2, len(close_pairs(whole))
    return [*rows, {"photos": "unlike", "pairs": number, "taken for the same": same, "%": 100 * same / number}]


def main(args: list[str] | None = None) -> None:
    """Parses, measures, reports."""
    arguments = make_parser(NAME, __doc__, repeats=1, photos=2_000).parse_args(args)
    if arguments.quick:
        arguments.photos = min(40, arguments.photos)
    _project.use_checkout()
    report(NAME, arguments, measure(arguments))


if __name__ == "__main__":
    main(sys.argv[1:])
