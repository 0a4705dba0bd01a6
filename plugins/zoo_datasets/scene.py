"""A complete picture: table, plate, clutter, food, and the light and noise of a cheap camera."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageFilter

from zoo_datasets import foods
from zoo_datasets.brush import Brush, Colour, Pose, between, box, ellipse, pick, roll, scatter, shade

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    import numpy.typing as npt

# Drawn larger and then reduced, for smooth edges.
_OVERSAMPLING = 2

_TABLES = [
    (166, 118, 76), (120, 82, 54), (214, 188, 150), (92, 110, 124), (180, 196, 190), (204, 90, 76), (236, 228, 212),
    (72, 76, 82), (150, 170, 110), (230, 190, 90), (110, 140, 180), (196, 150, 170),
]  # fmt: skip


def draw(*, hot_dog: bool, size: int, random: Random) -> npt.NDArray[np.uint8]:
    """Draws one picture.

    Args:
        hot_dog: Whether to draw a hot dog or another food.
        size: Width and height in pixels.
        random: The only source of variation.

    Returns:
        uint8 RGB, (size, size, 3).
    """
    side = size * _OVERSAMPLING
    canvas = Image.new("RGB", (side, side), (0, 0, 0))
    _table(canvas, random)
    ink = (between(random, 20, 70), round(between(random, 0, 1.6) * side / 192))
    food = foods.hot_dog if hot_dog else foods.OTHERS[int(random.random() * len(foods.OTHERS))]
    pose = _pose(side, random, standing=food in foods.STANDING)
    _clutter(canvas, random, pose)
    _plate(canvas, random, pose)
    brush = Brush(canvas, pose, ink=shade((255, 200, 160), ink[0] / 255), ink_width=ink[1])
    food(brush, random)
    return _photograph(canvas, size, random)


def _pose(side: int, random: Random, *, standing: bool) -> Pose:
    return Pose(
        x=side * between(random, 0.42, 0.58),
        y=side * between(random, 0.42, 0.58),
        scale=side * between(random, 0.35, 0.48),
        angle=between(random, -0.4, 0.4) if standing else between(random, 0, 2 * math.pi),
        stretch=between(random, 0.78, 1.1),
        flip=random.random() < 0.5,
    )


def _table(canvas: Image.Image, random: Random) -> None:
    colour = pick(random, _TABLES)
    pens: tuple[Callable[[Image.Image, Random, Colour], None], ...] = (_plain, _planks, _checks, _stripes, _spots)
    pens[int(random.random() * len(pens))](canvas, random, colour)


def _plain(canvas: Image.Image, random: Random, colour: Colour) -> None:
    canvas.paste(colour, (0, 0, *canvas.size))


def _planks(canvas: Image.Image, random: Random, colour: Colour) -> None:
    brush = _tilted(canvas, random)
    step = between(random, 0.2, 0.5)
    for row in range(-8, 9):
        plank = shade(colour, between(random, 0.82, 1.1))
        brush.fill(box(-3, row * step, 3, (row + 1) * step), plank, inked=False)
        for _ in range(2):
            y = (row + random.random()) * step
            brush.line([(-3, y), (3, y + between(random, -0.1, 0.1))], shade(plank, 0.88), 0.012)
        brush.line([(-3, row * step), (3, row * step)], shade(colour, 0.6), 0.02)


def _checks(canvas: Image.Image, random: Random, colour: Colour) -> None:
    other = pick(random, [*_TABLES, (250, 248, 244)])
    canvas.paste(other, (0, 0, *canvas.size))
    brush = _tilted(canvas, random)
    step = between(random, 0.16, 0.4)
    reach = math.ceil(1.5 / step)
    for row in range(-reach, reach):
        for column in range(-reach, reach):
            if (row + column) % 2:
                cell = box(column * step, row * step, (column + 1) * step, (row + 1) * step)
                brush.fill(cell, colour, inked=False)


def _stripes(canvas: Image.Image, random: Random, colour: Colour) -> None:
    canvas.paste(colour, (0, 0, *canvas.size))
    brush, other = _tilted(canvas, random), pick(random, _TABLES)
    step = between(random, 0.15, 0.4)
    width = step * between(random, 0.2, 0.6)
    for row in range(-12, 13):
        brush.line([(-3, row * step), (3, row * step)], other, width)


def _spots(canvas: Image.Image, random: Random, colour: Colour) -> None:
    canvas.paste(colour, (0, 0, *canvas.size))
    brush = _tilted(canvas, random)
    brush.dots(scatter(random, 60, 1.6, 1.6), between(random, 0.03, 0.09), pick(random, _TABLES))


def _tilted(canvas: Image.Image, random: Random) -> Brush:
    """Returns a brush at a random angle whose unit is half the canvas."""
    half = canvas.width / 2
    return Brush(canvas, Pose(x=half, y=half, scale=half, angle=between(random, 0, math.pi)))


def _plate(canvas: Image.Image, random: Random, pose: Pose) -> None:
    """Draws a plate, a board, a napkin, or nothing."""
    kind = random.random()
    scale = pose.scale * between(random, 1.05, 1.4)
    brush = Brush(canvas, Pose(x=pose.x, y=pose.y, scale=scale, angle=between(random, 0, math.pi)))
    colour = pick(random, [*foods.WHITE, *foods.WHITE, (200, 214, 224), (90, 96, 104), (226, 200, 160)])
    if kind < 0.45:
        brush.shadow(ellipse(0, 0, 1, 1), offset=(0.03, 0.06), depth=0.3)
        brush.fill(ellipse(0, 0, 1, 1), colour, inked=False)
        brush.fill(ellipse(0, 0, 0.78, 0.78), shade(colour, 0.93), inked=False)
        brush.fill(ellipse(0, 0, 0.74, 0.74), shade(colour, 1.1), inked=False)
    elif kind < 0.6:
        brush.shadow(box(-1, -0.7, 1, 0.7), offset=(0.03, 0.06), depth=0.3)
        brush.fill(box(-1, -0.7, 1, 0.7), colour, inked=False)
    elif kind < 0.7:
        brush.fill(roll(1.05, 0.6), colour, inked=False)


def _clutter(canvas: Image.Image, random: Random, pose: Pose) -> None:
    """Draws up to four objects around the food, some of them cut off by the edge."""
    side = canvas.width
    for _ in range(int(random.random() * 5)):
        turn, reach = between(random, 0, 2 * math.pi), side * between(random, 0.36, 0.62)
        draw_object = foods.CLUTTER[int(random.random() * len(foods.CLUTTER))]
        place = Pose(
            x=pose.x + reach * math.cos(turn),
            y=pose.y + reach * math.sin(turn),
            scale=side * between(random, 0.08, 0.17),
            angle=between(random, 0, 2 * math.pi),
        )
        draw_object(Brush(canvas, place), random)


def _photograph(canvas: Image.Image, size: int, random: Random) -> npt.NDArray[np.uint8]:
    """Reduces the drawing, and adds light from one side, a colour cast, blur and noise."""
    if random.random() < 0.25:
        canvas = canvas.filter(ImageFilter.BoxBlur(between(random, 0.3, 1.6) * canvas.width / 192))
    pixels: npt.NDArray[np.float32] = np.asarray(canvas.reduce(_OVERSAMPLING), dtype=np.float32)
    turn, strength = between(random, 0, 2 * math.pi), between(random, 0, 0.25)
    across = np.linspace(-1, 1, size, dtype=np.float32)
    light = 1 + strength * (math.cos(turn) * across[None, :] + math.sin(turn) * across[:, None])
    light = light * between(random, 0.78, 1.12)
    cast = np.array([between(random, 0.9, 1.1) for _ in range(3)], dtype=np.float32)
    pixels = (pixels * light[..., None] * cast).astype(np.float32)
    # Sums of two random bytes, because the values of this generator are the same on every system and version.
    grain = np.frombuffer(random.randbytes(2 * pixels.size), dtype=np.int8).reshape(2, *pixels.shape)
    pixels += grain.sum(axis=0, dtype=np.float32) * (between(random, 0, 9) / 104)
    return pixels.round().clip(0, 255).astype(np.uint8)
