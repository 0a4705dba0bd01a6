"""How fast JPEGs become pixels, by decoder, and how far those pixels are from Pillow's.

Each decoder turns the same files in memory into RGB and prepares them for training (shrunk, with room for random crops:
`zoo.data.loading.prepare`), with one thread and with two. `Pillow, draft` is what training does: libjpeg decodes at 1/2, 1/4 or
1/8 of the size where that is still several times what is kept. OpenCV and PyTurboJPEG take part where installed.
"""

from __future__ import annotations

import io
import random
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

import _photos
import _project
from _bench import alternate, make_parser, median, report

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from zoo.data.loading.prepare import Prepare

    Pixels = NDArray[np.uint8]
    Decode = Callable[[bytes], Pixels]

NAME = "decode"
_PHONE = (4000, 3000)  # 12 megapixels
_GRAIN = 4


def decoders(enough: int) -> tuple[dict[str, Decode], list[str]]:
    """Returns the decoders that are installed, by name, and a note on each that is not.

    Args:
        enough: The shorter side that is enough for training.
    """
    found: dict[str, Decode] = {"Pillow": _pillow, "Pillow, draft": partial(_draft, enough=enough)}
    notes = []
    others: dict[str, Callable[[], Decode]] = {
        "torchvision.io": _torchvision,
        "OpenCV": _opencv,
        "PyTurboJPEG": _turbojpeg,
        "PyTurboJPEG, scaled": partial(_turbojpeg, enough=enough),
    }
    for name, make in others.items():
        try:
            found[name] = make()
        except (ImportError, OSError, RuntimeError) as error:
            notes.append(f"{name} is not there: {str(error).splitlines()[0]}")
    return found, notes


def _pillow(data: bytes) -> Pixels:
    return np.array(Image.open(io.BytesIO(data)).convert("RGB"))


def _draft(data: bytes, *, enough: int) -> Pixels:
    from zoo.data.images.decode import decode

    return decode(data, enough=enough)


def _torchvision() -> Decode:
    import torch
    from torchvision.io import ImageReadMode, decode_jpeg

    def decode(data: bytes) -> Pixels:
        image = decode_jpeg(torch.frombuffer(bytearray(data), dtype=torch.uint8), mode=ImageReadMode.RGB)
        return np.ascontiguousarray(image.permute(1, 2, 0).numpy())

    return decode


def _opencv() -> Decode:
    import cv2  # type: ignore[import-not-found,unused-ignore]

    def decode(data: bytes) -> Pixels:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
        return np.asarray(image, dtype=np.uint8)

    cv2.setNumThreads(1)
    return decode


def _turbojpeg(enough: int | None = None) -> Decode:
    import turbojpeg  # type: ignore[import-not-found,unused-ignore]

    jpeg = turbojpeg.TurboJPEG()

    def decode(data: bytes) -> Pixels:
        part = 1
        if enough is not None:  # the same fractions as ours
            sides = jpeg.decode_header(data)[:2]
            large = (part for part in (8, 4, 2) if min(sides) >= part * enough)
            part = next((part for part in large if not any(side % part for side in sides)), 1)
        return np.asarray(jpeg.decode(data, turbojpeg.TJPF_RGB, scaling_factor=(1, part)), dtype=np.uint8)

    return decode


def files(arguments: argparse.Namespace) -> dict[str, list[bytes]]:
    """Returns JPEGs to decode, by what they are."""
    if arguments.data:
        paths = sorted(path for path in arguments.data.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
        if not paths:
            sys.exit(f"{arguments.data} holds no JPEG.")
        random.Random(0).shuffle(paths)
        return {arguments.data.name: [path.read_bytes() for path in paths[: arguments.photos]]}
    large = max(1, arguments.photos // 20)
    sizes = {
        "x".join(map(str, size)): (size, count) for size, count in ((_photos.PHOTO, arguments.photos), (_PHONE, large))
    }
    return {name: [jpeg(size, number) for number in range(count)] for name, (size, count) in sizes.items()}


def jpeg(size: tuple[int, int], number: int) -> bytes:
    """A drawn photo; one larger than the drawing's grain is enlarged, and grained anew."""
    rng = random.Random(number)
    photo = _photos.draw(_photos.CLASSES[number % 2], (min(size[0], 1000), min(size[1], 750)), rng)
    if photo.size != size:
        noise = np.random.default_rng(number).normal(0, _GRAIN, (size[1], size[0], 1))
        pixels = np.asarray(photo.resize(size, Image.Resampling.BICUBIC), np.float32) + noise
        photo = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def speed(work: Callable[[bytes], Any], data: Sequence[bytes], *, threads: int) -> float:
    """Returns photos a second."""
    with ThreadPoolExecutor(threads) as pool:
        started = time.perf_counter()
        for _ in pool.map(work, data):
            pass
        return len(data) / (time.perf_counter() - started)


def measure(arguments: argparse.Namespace) -> tuple[list[dict[str, Any]], list[str]]:
    """Returns the rows of the table, and notes."""
    from zoo.data.loading.prepare import with_room_for_crops
    from zoo.preprocess import Preprocess

    size = (arguments.image_size,) * 2
    prepare = with_room_for_crops(Preprocess(size=size, resize=arguments.image_size), crop_scale=0.6)
    found, notes = decoders(prepare.enough)
    rows = []
    for kind, data in files(arguments).items():
        measures = {}
        for name, decode in found.items():
            both = partial(_decode_and_prepare, decode=decode, prepare=prepare)
            measures[f"{name}: decode/s"] = partial(speed, decode, data, threads=1)
            measures[f"{name}: with 2 threads"] = partial(speed, decode, data, threads=2)
            measures[f"{name}: decode + prepare/s"] = partial(speed, both, data, threads=1)
        taken = alternate(measures, arguments.repeats)
        reference = [prepare(_pillow(each)) for each in data]
        for name, decode in found.items():
            made = [prepare(decode(each)).astype(np.int16) for each in data]
            differences = [np.abs(ours - theirs) for ours, theirs in zip(made, reference, strict=True)]
            speeds = {key.partition(": ")[2]: median(of) for key, of in taken.items() if key.startswith(f"{name}: ")}
            rows.append(
                {
                    "photos": kind,
                    "decoder": name,
                    **speeds,
                    "largest difference": max(int(each.max()) for each in differences),
                    "mean difference": statistics.fmean(float(each.mean()) for each in differences),
                    "beyond 2 levels": statistics.fmean(float((each > 2).mean()) for each in differences),
                }
            )
    return rows, notes


def _decode_and_prepare(data: bytes, *, decode: Decode, prepare: Prepare) -> Pixels:
    return prepare(decode(data))


def main(args: list[str] | None = None) -> None:
    """Parses, measures, reports."""
    arguments = make_parser(NAME, __doc__, repeats=5, photos=200).parse_args(args)
    if arguments.quick:
        arguments.repeats, arguments.photos = 1, min(4, arguments.photos)
    _project.use_checkout()
    rows, notes = measure(arguments)
    notes += ["Differences are in levels of 255, to Pillow's pixels, once both are prepared for training."]
    report(NAME, arguments, rows, notes=notes)


if __name__ == "__main__":
    main(sys.argv[1:])
