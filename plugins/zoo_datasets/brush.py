"""Shapes in the units of the drawn object, and a brush that draws them on a Pillow canvas."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

Point = tuple[float, float]
Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pose:
    """The position of an object on the canvas.

    Attributes:
        x: Centre in pixels.
        y: Centre in pixels, downwards.
        scale: Pixels per unit; objects are about two units long.
        angle: In radians, clockwise.
        stretch: Height over width, for a view from the side.
        flip: Whether to swap left and right.
    """

    x: float
    y: float
    scale: float
    angle: float
    stretch: float = 1.0
    flip: bool = False

    def place(self, points: Sequence[Point]) -> list[Point]:
        """Converts points from units to pixels."""
        cos, sin = math.cos(self.angle) * self.scale, math.sin(self.angle) * self.scale
        across = -1.0 if self.flip else 1.0
        return [
            (self.x + cos * across * x - sin * self.stretch * y, self.y + sin * across * x + cos * self.stretch * y)
            for x, y in points
        ]


class Brush:
    """Draws shapes in units, at one pose and in one style.

    Args:
        canvas: An RGB image, changed in place.
        pose: The position of the object.
        ink: Colour of the outlines.
        ink_width: Width of the outlines in pixels; 0 for none.
    """

    def __init__(self, canvas: Image.Image, pose: Pose, *, ink: Colour = (0, 0, 0), ink_width: int = 0) -> None:
        self.canvas = canvas
        self.pose = pose
        self.ink = ink
        self.ink_width = ink_width
        self._draw = ImageDraw.Draw(canvas)

    def fill(self, points: Sequence[Point], colour: Colour, *, inked: bool = True) -> None:
        """Fills a shape, and outlines it if the style has outlines."""
        placed = self.pose.place(points)
        self._draw.polygon(placed, fill=colour)
        if inked and self.ink_width:
            self._draw.line([*placed, placed[0], placed[1]], fill=self.ink, width=self.ink_width, joint="curve")

    def line(self, points: Sequence[Point], colour: Colour, width: float) -> None:
        """Draws a line with a width in units."""
        pixels = max(1, round(width * self.pose.scale))
        self._draw.line(self.pose.place(points), fill=colour, width=pixels, joint="curve")

    def dots(self, centres: Sequence[Point], radius: float, colour: Colour) -> None:
        """Draws small discs with a radius in units."""
        reach = max(0.7, radius * self.pose.scale)
        for x, y in self.pose.place(centres):
            self._draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=colour)

    def background(self) -> Colour:
        """Returns the colour of the canvas at the centre of the object."""
        red, green, blue = np.asarray(self.canvas)[round(self.pose.y), round(self.pose.x)]
        return int(red), int(green), int(blue)

    def shadow(self, points: Sequence[Point], *, offset: Point, depth: float) -> None:
        """Darkens the canvas below a shape; `offset` is in units along the canvas, `depth` between 0 and 1."""
        dx, dy = offset[0] * self.pose.scale, offset[1] * self.pose.scale
        mask = Image.new("L", self.canvas.size)
        placed = [(x + dx, y + dy) for x, y in self.pose.place(points)]
        ImageDraw.Draw(mask).polygon(placed, fill=round(255 * depth))
        self.canvas.paste((0, 0, 0), mask=mask)


def ellipse(x: float, y: float, across: float, down: float, *, begin: float = 0.0, end: float = 2.0) -> list[Point]:
    """Returns an ellipse, or an arc from `begin` to `end` in half turns, clockwise from the right."""
    steps = 26
    angles = (math.pi * (begin + (end - begin) * step / steps) for step in range(steps + 1))
    return [(x + across * math.cos(angle), y + down * math.sin(angle)) for angle in angles]


def roll(length: float, radius: float, *, bend: float = 0.0, pointed: float = 0.0, y: float = 0.0) -> list[Point]:
    """Returns a sausage shape along the x axis.

    Args:
        length: Distance from the middle to either end.
        radius: Half the thickness.
        bend: Distance of the ends below the middle.
        pointed: 0 for round ends, 1 for ends that taper from the middle.
        y: Offset across the shape.
    """
    steps = 22
    edge = radius / length
    upper, lower = [], []
    for step in range(steps + 1):
        # Denser towards the round ends.
        t = math.sin(math.pi * (step / steps - 0.5))
        over = max(0.0, abs(t) - (1 - edge)) / edge
        thick = radius * math.sqrt(max(0.0, 1 - over * over)) * (1 - pointed * abs(t) ** 2.5)
        slope = 2 * bend * t / length
        norm = math.hypot(1.0, slope)
        x, middle = t * length, bend * t * t
        upper.append((x + slope / norm * (thick - y), middle - (thick - y) / norm))
        lower.append((x - slope / norm * (thick + y), middle + (thick + y) / norm))
    return upper + lower[::-1]


def spine(length: float, *, bend: float = 0.0, y: float = 0.0, waves: float = 0.0, swing: float = 0.0) -> list[Point]:
    """Returns a line along the middle of a `roll`, optionally waved."""
    steps = 10 + round(10 * waves)
    line = []
    for step in range(steps + 1):
        t = 2 * step / steps - 1
        line.append((t * length, bend * t * t + y + swing * math.sin(math.pi * waves * t)))
    return line


def box(left: float, top: float, right: float, bottom: float) -> list[Point]:
    """Returns a rectangle."""
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def blob(random: Random, x: float, y: float, radius: float, *, rough: float = 0.15) -> list[Point]:
    """Returns a round shape whose edge varies by about `rough` of its radius."""
    steps = 32
    waves = [(count, rough * random.random() / 2, between(random, 0, 2 * math.pi)) for count in (2, 3, 5)]
    points = []
    for step in range(steps):
        angle = 2 * math.pi * step / steps
        reach = radius * (1 + sum(swing * math.cos(count * angle + phase) for count, swing, phase in waves))
        points.append((x + reach * math.cos(angle), y + reach * math.sin(angle)))
    return points


def between(random: Random, low: float, high: float) -> float:
    """Returns a number between two; the values of `random.random` never change between Python versions."""
    return low + (high - low) * random.random()


def pick(random: Random, choices: Sequence[Colour]) -> Colour:
    """Returns one of several colours, slightly lighter or darker, warmer or colder."""
    red, green, blue = choices[int(random.random() * len(choices))]
    light = between(random, 0.85, 1.12)
    warm = between(random, -10, 10)
    return clip(red * light + warm, green * light, blue * light - warm)


def shade(colour: Colour, factor: float) -> Colour:
    """Darkens a colour (`factor` below 1) or lightens it towards white (above 1)."""
    if factor <= 1:
        return clip(*(channel * factor for channel in colour))
    return clip(*(255 - (255 - channel) * (2 - factor) for channel in colour))


def clip(red: float, green: float, blue: float) -> Colour:
    """Rounds channels to integers from 0 to 255."""
    return min(255, max(0, round(red))), min(255, max(0, round(green))), min(255, max(0, round(blue)))


def scatter(random: Random, count: int, across: float, down: float, *, y: float = 0.0) -> list[Point]:
    """Returns random points in an ellipse around (0, y)."""
    points = []
    for _ in range(count):
        angle, reach = between(random, 0, 2 * math.pi), math.sqrt(random.random())
        points.append((across * reach * math.cos(angle), y + down * reach * math.sin(angle)))
    return points
