"""The kinds of change of a stress test: pure functions of pixels, a strength and a random generator.

Where ImageNet-C has a kind, its strengths are those of the paper (Hendrycks and Dietterich 2019,
https://arxiv.org/abs/1903.12261), which are meant for images of 224 pixels; lengths grow with the photo.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.random import Generator

    from zoo.data.images.decode import Pixels

Floats = NDArray[np.float32]
STRENGTHS = 5
_REFERENCE = 224  # pixels of the shorter side for which the lengths below are given
_GAMMA = 2.2  # between levels and light
_WELL = 2_000.0  # electrons of a fully lit pixel, which decide how noisy a dark photo is
_MIN_SIDE = 8  # pixels; a photo is never made smaller
_FOG_OCTAVES = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A kind of change.

    Attributes:
        name: Its name on the command line and in results.
        summary: What it does, for tables.
        levels: The setting of each strength, from the weakest: five, or one for a kind that has no degrees.
        function: Maps pixels, uint8 ``(h, w, 3)``, a level and a generator to pixels, perhaps of another size.
    """

    name: str
    summary: str
    levels: tuple[float, ...]
    function: Callable[[Pixels, float, Generator], Pixels]

    def apply(self, pixels: Pixels, strength: int, random: Generator) -> Pixels:
        """Returns the changed photo, uint8 ``(h, w, 3)``, perhaps of another size.

        Args:
            pixels: uint8 ``(h, w, 3)``; not modified.
            strength: 1 to the number of `levels`.
            random: The only source of randomness.
        """
        return self.function(pixels, self.levels[strength - 1], random)


def _noise(pixels: Pixels, deviation: float, random: Generator) -> Pixels:
    noise = random.standard_normal(pixels.shape, dtype=np.float32)
    return _to_uint8(pixels + np.float32(255 * deviation) * noise)


def _motion_blur(pixels: Pixels, length: float, random: Generator) -> Pixels:
    """Blurs along a line in a random direction."""
    reach = max(1.0, length * _scale(pixels) / 2)
    angle, size = random.uniform(0, math.pi), 2 * math.ceil(reach) + 1
    kernel: Floats = np.zeros((size, size), dtype=np.float32)
    centre, steps = size // 2, np.linspace(-reach, reach, 8 * size)
    rows, columns = (np.rint(centre + steps * part).astype(int) for part in (math.sin(angle), math.cos(angle)))
    np.add.at(kernel, (rows, columns), 1)
    return _convolve(pixels, kernel)


def _defocus(pixels: Pixels, radius: float, random: Generator) -> Pixels:
    """Blurs with a disk, as a lens out of focus does; its edge is antialiased."""
    radius *= _scale(pixels)
    reach = math.ceil(radius)
    offsets = np.arange(-reach, reach + 1, dtype=np.float32)
    distance = np.hypot(offsets[:, None], offsets)
    return _convolve(pixels, np.clip(radius + 0.5 - distance, 0, 1))


def _jpeg(pixels: Pixels, quality: float, random: Generator) -> Pixels:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=int(quality))
    return np.asarray(Image.open(buffer).convert("RGB"))


def _low_light(pixels: Pixels, stops: float, random: Generator) -> Pixels:
    """Underexposes by some stops: less light, and with it the noise of few photons."""
    light = (_LEVELS_TO_LIGHT * np.float32(2.0**-stops * _WELL))[pixels]
    # The normal distribution with the variance of Poisson's, several times as fast.
    electrons = light + np.sqrt(light) * random.standard_normal(pixels.shape, dtype=np.float32)
    return _to_uint8(255 * (np.clip(electrons, 0, None) / np.float32(_WELL)) ** np.float32(1 / _GAMMA))


def _contrast(pixels: Pixels, share: float, random: Generator) -> Pixels:
    mean = pixels.mean(axis=(0, 1), dtype=np.float32)
    return _to_uint8((pixels - mean) * np.float32(share) + mean)


def _color_cast(pixels: Pixels, amount: float, random: Generator) -> Pixels:
    """Multiplies the channels as light of another colour, or a wrong white balance, does."""
    phases = random.uniform(0, 2 * math.pi) + np.array([0, 2 / 3, 4 / 3]) * math.pi
    gains = (1 + amount * np.cos(phases)).astype(np.float32)
    levels = np.arange(256, dtype=np.float32)[:, None] * gains ** np.float32(1 / _GAMMA)
    return _look_up(pixels, _to_uint8(levels))


def _fog(pixels: Pixels, density: float, random: Generator) -> Pixels:
    """Adds bright clouds of a fractal, as ImageNet-C does, and keeps the brightest level."""
    image = pixels.astype(np.float32) / 255
    most = max(float(image.max()), 1 / 255)
    foggy = image + np.float32(density) * _clouds(pixels.shape[:2], random)[..., None]
    return _to_uint8(255 * foggy * np.float32(most / (most + density)))


def _occlusion(pixels: Pixels, share: float, random: Generator) -> Pixels:
    """Covers a rectangle with one colour, at a random place within the photo."""
    height, width = pixels.shape[:2]
    rows, columns = (max(1, round(side * math.sqrt(share))) for side in (height, width))
    place = random.random(2)
    top, left = int(place[0] * (height - rows + 1)), int(place[1] * (width - columns + 1))
    changed = pixels.copy()
    changed[top : top + rows, left : left + columns] = _random_colour(random)
    return changed


def _rotation(pixels: Pixels, degrees: float, random: Generator) -> Pixels:
    """Turns to a random side; the corners show the photo mirrored at its edges."""
    angle = degrees if random.random() < 0.5 else -degrees
    height, width = pixels.shape[:2]
    turn = math.radians(degrees)
    room = math.ceil((max(height, width) * math.sin(turn) + min(height, width) * (math.cos(turn) - 1)) / 2) + 1
    around = np.pad(pixels, ((room, room), (room, room), (0, 0)), mode="symmetric")
    turned = Image.fromarray(around).rotate(angle, Image.Resampling.BILINEAR)
    return np.asarray(turned.crop((room, room, room + width, room + height)))


def _crop(pixels: Pixels, share: float, random: Generator) -> Pixels:
    """Keeps a share of either side, at a random place."""
    height, width = pixels.shape[:2]
    rows, columns = (max(1, round(share * side)) for side in (height, width))
    place = random.random(2)
    top, left = int(place[0] * (height - rows + 1)), int(place[1] * (width - columns + 1))
    return pixels[top : top + rows, left : left + columns]


def _small_objects(pixels: Pixels, share: float, random: Generator) -> Pixels:
    """Shows the photo smaller, at a random place; around it the photo goes on mirrored."""
    return _place(pixels, share, random, colour=None)


def _mirror(pixels: Pixels, level: float, random: Generator) -> Pixels:
    return np.ascontiguousarray(pixels[:, ::-1])


def _resolution(pixels: Pixels, share: float, random: Generator) -> Pixels:
    """Reduces the photo; the preprocessing of the network enlarges it again."""
    return _reduce(pixels, share)


def _borders(pixels: Pixels, share: float, random: Generator) -> Pixels:
    """Shows the photo smaller, at a random place on a plain background."""
    return _place(pixels, share, random, colour=_random_colour(random))


def _place(pixels: Pixels, share: float, random: Generator, *, colour: tuple[int, ...] | None) -> Pixels:
    height, width = pixels.shape[:2]
    small = _reduce(pixels, share)
    place = random.random(2)
    top, left = (int(part * (side - own)) for part, side, own in zip(place, (height, width), small.shape, strict=False))
    bottom, right = height - top - small.shape[0], width - left - small.shape[1]
    if colour is None:
        return np.pad(small, ((top, bottom), (left, right), (0, 0)), mode="symmetric")
    return np.asarray(ImageOps.expand(Image.fromarray(small), (left, top, right, bottom), fill=colour))


def _reduce(pixels: Pixels, share: float) -> Pixels:
    height, width = (min(side, max(_MIN_SIDE, round(share * side))) for side in pixels.shape[:2])
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BOX))


def _random_colour(random: Generator) -> tuple[int, ...]:
    return tuple(random.integers(256, size=3).tolist())


def _clouds(size: tuple[int, ...], random: Generator) -> Floats:
    """Returns a fractal from 0 to 1, float32 ``(h, w)``: noise of several resolutions, the finer the weaker."""
    height, width = size
    total: Floats = np.zeros(size, dtype=np.float32)
    for octave in range(_FOG_OCTAVES):
        cells = 2 ** (octave + 1) + 1
        noise = Image.fromarray(random.random((cells, cells), dtype=np.float32))
        total += np.asarray(noise.resize((width, height), Image.Resampling.BICUBIC)) / np.float32(2.0**octave)
    total -= total.min()
    return total / max(float(total.max()), 1e-6)


def _convolve(pixels: Pixels, kernel: Floats) -> Pixels:
    """Convolves each channel with a kernel of odd size, whose sum becomes 1; edges are mirrored."""
    reach = len(kernel) // 2
    height, width = pixels.shape[:2]
    padded = np.pad(pixels, ((reach, reach), (reach, reach), (0, 0)), mode="symmetric").astype(np.float32)
    size = (height + 2 * reach, width + 2 * reach)
    response = np.fft.rfft2(kernel / kernel.sum(), s=size)
    spectrum = np.fft.rfft2(padded.transpose(2, 0, 1), axes=(1, 2))
    result = np.fft.irfft2(spectrum * response, s=size, axes=(1, 2))[:, 2 * reach :, 2 * reach :]
    return _to_uint8(result.transpose(1, 2, 0))


def _look_up(pixels: Pixels, levels: Pixels) -> Pixels:
    """Maps each channel by a table, uint8 ``(256, 3)``."""
    return np.stack([levels[pixels[..., channel], channel] for channel in range(3)], axis=-1)


def _scale(pixels: Pixels) -> float:
    return int(min(pixels.shape[:2])) / _REFERENCE


def _to_uint8(values: NDArray[np.floating]) -> Pixels:
    return np.ascontiguousarray(np.rint(np.clip(values, 0, 255)).astype(np.uint8))


_LEVELS_TO_LIGHT = ((np.arange(256) / 255) ** _GAMMA).astype(np.float32)

CHANGES = (
    Change(
        name="noise",
        summary="Gaussian noise; the levels are its standard deviation, where the range of a pixel is 1.",
        levels=(0.08, 0.12, 0.18, 0.26, 0.38),
        function=_noise,
    ),
    Change(
        name="blur",
        summary="Motion blur along a line, in pixels of a photo of 224.",
        levels=(8, 12, 17, 24, 32),
        function=_motion_blur,
    ),
    Change(
        name="defocus",
        summary="A lens out of focus: a disk of this radius, in pixels of a photo of 224.",
        levels=(3, 4, 6, 8, 10),
        function=_defocus,
    ),
    Change(
        name="jpeg",
        summary="JPEG compression of this quality.",
        levels=(25, 18, 15, 10, 7),
        function=_jpeg,
    ),
    Change(
        name="low-light",
        summary="Underexposure by this many stops, with the noise of few photons.",
        levels=(2, 3, 4, 5, 6),
        function=_low_light,
    ),
    Change(
        name="contrast",
        summary="Only this share of the contrast.",
        levels=(0.4, 0.3, 0.2, 0.1, 0.05),
        function=_contrast,
    ),
    Change(
        name="color-cast",
        summary="Light of another colour: channels gain or lose up to this share.",
        levels=(0.2, 0.35, 0.5, 0.65, 0.8),
        function=_color_cast,
    ),
    Change(
        name="fog",
        summary="Clouds of fog of this density.",
        levels=(0.75, 1.0, 1.5, 2.0, 3.0),
        function=_fog,
    ),
    Change(
        name="occlusion",
        summary="A plain rectangle that covers this share of the photo.",
        levels=(0.05, 0.1, 0.2, 0.3, 0.45),
        function=_occlusion,
    ),
    Change(
        name="rotation",
        summary="A turn by this many degrees.",
        levels=(10, 20, 30, 45, 60),
        function=_rotation,
    ),
    Change(
        name="crop",
        summary="A part of the photo, this share of either side.",
        levels=(0.85, 0.7, 0.55, 0.4, 0.3),
        function=_crop,
    ),
    Change(
        name="scale",
        summary="Smaller objects: the photo shrinks to this share of either side and is mirrored around.",
        levels=(0.8, 0.65, 0.5, 0.4, 0.3),
        function=_small_objects,
    ),
    Change(
        name="mirror",
        summary="The photo mirrored; it has one strength.",
        levels=(1,),
        function=_mirror,
    ),
    Change(
        name="resolution",
        summary="Few pixels: this share of either side of what the network sees.",
        levels=(0.5, 0.35, 0.25, 0.18, 0.12),
        function=_resolution,
    ),
    Change(
        name="borders",
        summary="A plain background: the photo shrinks to this share of either side.",
        levels=(0.9, 0.8, 0.65, 0.5, 0.4),
        function=_borders,
    ),
)
