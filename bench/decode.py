"""Measures how fast each decoder turns JPEGs into pixels, and how far those pixels are from Pillow's.

Each decoder turns the same in-memory files into RGB and prepares them for training with `zoo.data.loading.transform`
(shrunk, with room for random crops), with one thread and with two. Training uses `Pillow, draft`: libjpeg decodes at
1/2, 1/4 or 1/8 of the size if the result is still several times larger than what is stored. OpenCV and PyTurboJPEG are
measured if they are installed.
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

    from zoo.data.loading.transform import Transform

    Pixels = NDArray[np.uint8]
    Decode = Callable[[bytes], Pixels]

NAME = "decode"


def decoders(enough: int) -> tuple[dict[str, Decode], list[str]]:
    """Returns the installed decoders by name, and a note on each missing one.

    Args:
        enough: Shorter side in pixels that suffices for training.
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
            notes.append(f"{name} is not installed: {str(error).splitlines()[0]}")
    return found, notes


def _pillow(data: bytes) -> Pixels:
    return np.array(Image.open(io.BytesIO(data)).convert("RGB"))


def _draft(data: bytes, *, enough: int) -> Pixels:
    from zoo.data.images.decode import decode

    return decode(data, min_side=enough)


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

    decoder = turbojpeg.TurboJPEG()

    def decode(data: bytes) -> Pixels:
        divisor = 1
        if enough is not None:  # the same divisors as in training
            sides = decoder.decode_header(data)[:2]
            large = (each for each in (8, 4, 2) if min(sides) >= each * enough)
            divisor = next((each for each in large if not any(side % each for side in sides)), 1)
        return np.asarray(decoder.decode(data, turbojpeg.TJPF_RGB, scaling_factor=(1, divisor)), dtype=np.uint8)

    return decode


def load_files(arguments: argparse.Namespace) -> dict[str, list[bytes]]:
    """Returns the JPEGs to decode by name: the given folder's, or generated ones by size."""
    if arguments.data:
        paths = _photos.find_jpegs(arguments.data)
        random.Random(0).shuffle(paths)
        return {arguments.data.name: [path.read_bytes() for path in paths[: arguments.photos]]}
    large = max(1, arguments.photos // 20)
    sizes = {
        "x".join(map(str, size)): (size, count)
        for size, count in ((_photos.PHOTO, arguments.photos), (_photos.PHONE, large))
    }
    return {name: [_photos.draw_jpeg(size, number) for number in range(count)] for name, (size, count) in sizes.items()}


def measure_rate(work: Callable[[bytes], Any], data: Sequence[bytes], *, threads: int) -> float:
    """Returns photos per second."""
    with ThreadPoolExecutor(threads) as pool:
        started = time.perf_counter()
        for _ in pool.map(work, data):
            pass
        return len(data) / (time.perf_counter() - started)


def measure(arguments: argparse.Namespace) -> tuple[list[dict[str, Any]], list[str]]:
    """Returns the rows of the table, and notes."""
    from zoo.data.loading.transform import shrink_for_crops
    from zoo.preprocess import Preprocess

    size = (arguments.image_size,) * 2
    prepare = shrink_for_crops(Preprocess(size=size, resize=arguments.image_size), crop_scale=0.6)
    found, notes = decoders(prepare.min_side)
    rows = []
    for kind, data in load_files(arguments).items():
        measures = {}
        for name, decode in found.items():
            both = partial(_decode_and_prepare, decode=decode, prepare=prepare)
            measures[f"{name}: decode/s"] = partial(measure_rate, decode, data, threads=1)
            measures[f"{name}: with 2 threads"] = partial(measure_rate, decode, data, threads=2)
            measures[f"{name}: decode + prepare/s"] = partial(measure_rate, both, data, threads=1)
        results = alternate(measures, arguments.repeats)
        reference = [prepare(_pillow(each)) for each in data]
        for name, decode in found.items():
            made = [prepare(decode(each)).astype(np.int16) for each in data]
            differences = [np.abs(ours - theirs) for ours, theirs in zip(made, reference, strict=True)]
            speeds = {key.partition(": ")[2]: median(of) for key, of in results.items() if key.startswith(f"{name}: ")}
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


def _decode_and_prepare(data: bytes, *, decode: Decode, prepare: Transform) -> Pixels:
    return prepare(decode(data))


def main(args: list[str] | None = None) -> None:
    """Runs the benchmark."""
    arguments = make_parser(NAME, __doc__, repeats=5, photos=200).parse_args(args)
    if arguments.quick:
        arguments.repeats, arguments.photos = 1, min(4, arguments.photos)
    _project.use_checkout()
    rows, notes = measure(arguments)
    notes += ["Differences are in levels of 255, after both images are prepared for training."]
    report(NAME, arguments, rows, notes=notes)


if __name__ == "__main__":
    main(sys.argv[1:])
