"""Benchmark photos: generated JPEGs of photo-like size and content, or the user's own folder.

A generated photo shows one bar or one disc at any angle and in any colour, among scraps and before a cloudy, grainy
background. The classes differ in shape only, so a network has to learn shapes: colour and brightness are random.
"""

from __future__ import annotations

import functools
import io
import math
import os
import random
import shutil
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from numpy.typing import NDArray

CLASSES = ("bar", "disc")
PHOTO = (500, 375)  # pixels; about 55 kB at JPEG quality 90
PHONE = (4000, 3000)  # 12 megapixels
_TEXTURES = 12
_ENLARGED_GRAIN = 4  # standard deviation, of 255 levels
_SHARES = {"train": 1.0, "val": 0.1, "test": 0.2}


def default_folder() -> Path:
    """Returns the folder that caches generated photos between runs."""
    return Path(tempfile.gettempdir()) / "zoo-bench-photos"


def generate(train: int, *, size: tuple[int, int] = PHOTO, below: Path | None = None) -> Path:
    """Returns a folder of generated photos with class folders in ``train/``, ``val/`` and ``test/``.

    Args:
        train: Number of training photos. There are a tenth as many validation and a fifth as many test photos, at
            least eight each.
        size: Width and height in pixels.
        below: Parent folder; an earlier result in it is reused.
    """
    folder = (below or default_folder()) / f"{train}x{size[0]}x{size[1]}"
    if folder.is_dir():
        return folder
    unfinished = folder.with_name(f"{folder.name}.{os.getpid()}")
    jobs = []
    for split, share in _SHARES.items():
        for number in range(max(8, round(train * share)) if split != "train" else train):
            label = CLASSES[number % 2]
            (unfinished / split / label).mkdir(parents=True, exist_ok=True)
            jobs.append((unfinished / split / label / f"{number:06}.jpg", label, size, f"{split}/{number}"))
    if len(jobs) < 200:
        for job in jobs:
            _write(job)
    else:
        with ProcessPoolExecutor() as pool:
            list(pool.map(_write, jobs, chunksize=64))
    try:
        unfinished.rename(folder)
    except OSError:  # another process was faster
        shutil.rmtree(unfinished)
    return folder


def copy_splits(data: Path, train: int | None, *, into: Path, seed: int = 0) -> Path:
    """Copies a folder's photos into the splits that every trainer uses; returns `into`.

    Args:
        data: Folder with class folders in ``train/`` and ``test/``. Without ``val/``, a tenth of the training photos
            become the validation split.
        train: Number of training photos to use, including those for validation; None uses all.
        into: Empty or missing folder.
        seed: Seed of the selection.
    """
    photos = sorted(path for path in (data / "train").glob("*/*") if path.is_file())
    random.Random(seed).shuffle(photos)
    photos = photos[:train]
    given = sorted((data / "val").glob("*/*"))
    held_out = 0 if given else max(1, len(photos) // 10)
    splits = {
        "train": photos[held_out:],
        "val": given or photos[:held_out],
        "test": sorted((data / "test").glob("*/*")),
    }
    for split, paths in splits.items():
        for path in paths:
            target = into / split / path.parent.name / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    return into


def count_photos(folder: Path) -> dict[str, int]:
    """Returns the number of photos in each split of a folder."""
    return {split: sum(1 for _ in (folder / split).glob("*/*")) for split in _SHARES}


def _write(job: tuple[Path, str, tuple[int, int], str]) -> None:
    path, label, size, seed = job
    draw(label, size, random.Random(seed)).save(path, "JPEG", quality=90)


def draw(label: str, size: tuple[int, int], rng: random.Random) -> Image.Image:
    """Draws one photo of a class."""
    width, height = size
    texture = _textures()[rng.randrange(_TEXTURES)]
    span = rng.uniform(0.4, 1.0) * min(texture.size)
    left, top = (rng.uniform(0, side - span) for side in texture.size)
    photo = texture.resize(size, Image.Resampling.BILINEAR, (left, top, left + span, top + span * height / width))
    pen = ImageDraw.Draw(photo)
    for _ in range(rng.randrange(3, 9)):
        _scrap(pen, size, rng)
    length = rng.uniform(0.35, 0.7) * min(size)
    x, y = rng.uniform(0.35, 0.65) * width, rng.uniform(0.35, 0.65) * height
    if label == "disc":
        pen.ellipse((x - length / 2, y - length / 2, x + length / 2, y + length / 2), fill=_colour(rng))
    else:
        _bar(pen, (x, y), length * 1.4, length * 0.4, rng.uniform(0, math.pi), _colour(rng))
    grain = _grain()
    row, column = rng.randrange(len(grain) - height), rng.randrange(len(grain) - width)
    pixels = np.asarray(photo, dtype=np.int16) + grain[row : row + height, column : column + width, None]
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def draw_jpeg(size: tuple[int, int], number: int) -> bytes:
    """Returns a drawn photo as a JPEG file. Beyond the drawing's own resolution it is enlarged and gets new grain."""
    rng = random.Random(number)
    photo = draw(CLASSES[number % 2], (min(size[0], 1000), min(size[1], 750)), rng)
    if photo.size != size:
        noise = np.random.default_rng(number).normal(0, _ENLARGED_GRAIN, (size[1], size[0], 1))
        pixels = np.asarray(photo.resize(size, Image.Resampling.BICUBIC), np.float32) + noise
        photo = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def find_jpegs(folder: Path) -> list[Path]:
    """Returns the JPEG files of a folder, sorted; exits if there are none."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    return paths or sys.exit(f"{folder} contains no JPEG files.")


def _scrap(pen: ImageDraw.ImageDraw, size: tuple[int, int], rng: random.Random) -> None:
    x, y = rng.uniform(0, size[0]), rng.uniform(0, size[1])
    reach = 0.15 * min(size)
    corners = [(x + rng.uniform(-reach, reach), y + rng.uniform(-reach, reach)) for _ in range(3)]
    pen.polygon(corners, fill=_colour(rng))


def _bar(
    pen: ImageDraw.ImageDraw,
    centre: tuple[float, float],
    length: float,
    thickness: float,
    angle: float,
    colour: tuple[int, int, int],
) -> None:
    along, across = (length / 2 * math.cos(angle), length / 2 * math.sin(angle)), thickness / 2
    x, y = centre
    side = (-across * math.sin(angle), across * math.cos(angle))
    signs = ((1, 1), (1, -1), (-1, -1), (-1, 1))
    pen.polygon([(x + a * along[0] + s * side[0], y + a * along[1] + s * side[1]) for a, s in signs], fill=colour)


def _colour(rng: random.Random) -> tuple[int, int, int]:
    return rng.randrange(256), rng.randrange(256), rng.randrange(256)


@functools.cache
def _textures(side: int = 800) -> list[Image.Image]:
    """Returns clouds whose larger structures are stronger, as in the spectrum of photos."""
    random_numbers = np.random.default_rng(0)
    textures = []
    for _ in range(_TEXTURES):
        total = np.zeros((side, side, 3), dtype=np.float32)
        for octave in range(2, 9):
            coarse = random_numbers.integers(0, 256, (2**octave, 2**octave, 3), dtype=np.uint8)
            fine = Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)
            total += (np.asarray(fine, dtype=np.float32) - 127.5) / 1.6**octave
        textures.append(Image.fromarray((127.5 + 1.9 * total).clip(0, 255).astype(np.uint8)))
    return textures


@functools.cache
def _grain() -> NDArray[np.int16]:
    grain: NDArray[np.int16] = np.random.default_rng(1).normal(0, 5, (1100, 1100)).astype(np.int16)
    return grain
