"""The drawings of the foods: one function per food, about two units long, centred on the origin."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from zoo_datasets.brush import Brush, Point, between, blob, box, clip, ellipse, pick, roll, scatter, shade, spine

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from zoo_datasets.brush import Colour

BUN = [(222, 168, 96), (205, 140, 70), (236, 190, 124), (190, 122, 60), (240, 205, 150)]
SAUSAGE = [(178, 72, 48), (160, 58, 40), (196, 96, 62), (140, 50, 36), (205, 88, 70)]
MUSTARD = [(240, 200, 40), (228, 178, 30), (250, 215, 80)]
KETCHUP = [(200, 32, 28), (180, 24, 30), (220, 50, 40)]
LETTUCE = [(96, 168, 60), (120, 188, 72), (70, 140, 50)]
TOMATO = [(214, 60, 44), (226, 84, 60)]
CHEESE = [(250, 204, 80), (244, 188, 60), (252, 222, 130)]
MEAT = [(120, 66, 40), (100, 52, 34), (138, 80, 52)]
CREAM = [(250, 236, 214), (246, 190, 200), (150, 96, 66), (190, 224, 180), (240, 220, 140)]
ICING = [(240, 130, 170), (110, 64, 44), (250, 240, 230), (140, 200, 230), (226, 70, 60)]
ORANGE = [(238, 130, 40), (226, 112, 30)]
BANANA = [(246, 214, 70), (236, 196, 54), (240, 224, 110)]
WHITE = [(250, 248, 242), (240, 236, 228)]


def hot_dog(brush: Brush, random: Random) -> None:
    """A sausage in a bun, shorter or longer than the bun, with or without sauces and toppings."""
    bend = between(random, -0.22, 0.22)
    bun, meat = pick(random, BUN), pick(random, SAUSAGE)
    length, radius = between(random, 0.72, 0.9), between(random, 0.3, 0.42)
    sausage = between(random, 0.8, 1.06)
    thick = radius * between(random, 0.38, 0.52)
    lift = between(random, -0.08, 0.08)
    _cast(brush, random, roll(length, radius, bend=bend))
    brush.fill(roll(length, radius, bend=bend), bun)
    brush.fill(roll(length * 0.95, radius * 0.62, bend=bend, y=lift), shade(bun, 1.45), inked=False)
    if random.random() < 0.3:
        frill = spine(length * 0.9, bend=bend, y=lift, waves=7, swing=thick * 0.5)
        brush.line(frill, pick(random, LETTUCE), thick * 2.2)
    brush.fill(roll(sausage, thick, bend=bend * 1.1, y=lift), meat)
    _shine(brush, sausage * 0.8, bend * 1.1, lift - thick * 0.45, meat, thick * 0.3)
    if random.random() < 0.25:
        _grill_marks(brush, sausage * 0.8, bend, lift, thick, meat)
    # In some drawings, the near half of the bun hides the lower edge of the sausage.
    if random.random() < 0.5:
        brush.fill(roll(length, radius * 0.42, bend=bend, y=radius * 0.62), bun)
        _shine(brush, length * 0.7, bend, radius * 0.55, bun, radius * 0.12)
    _sauces(brush, random, sausage * 0.85, bend * 1.1, lift, thick)
    if random.random() < 0.2:
        bits = [(x, y + bend * x * x + lift) for x, y in scatter(random, 22, sausage * 0.8, thick)]
        brush.dots(bits, 0.035, pick(random, WHITE + LETTUCE))


def burger(brush: Brush, random: Random) -> None:
    """A burger from the side: bun, lettuce, cheese, meat, bun."""
    bun, width = pick(random, BUN), between(random, 0.75, 0.95)
    dome = ellipse(0, -0.12, width, between(random, 0.5, 0.75), begin=1, end=2)
    _cast(brush, random, ellipse(0, 0, width, 0.66))
    brush.fill(box(-width * 0.95, 0.32, width * 0.95, 0.62), bun)
    layers: list[tuple[float, float, Colour]] = [(0.12, 0.36, pick(random, MEAT + SAUSAGE))]
    layers += [(0.0, 0.12, pick(random, TOMATO if random.random() < 0.6 else MUSTARD))]
    for top, bottom, colour in layers:
        brush.fill(roll(width * 1.02, (bottom - top) / 2, y=(top + bottom) / 2), colour)
    if random.random() < 0.8:
        cheese = pick(random, CHEESE)
        brush.fill([(-width, 0.08), (width, 0.08), (width * 0.5, 0.16), (0.1, 0.34), (-width * 0.4, 0.14)], cheese)
    brush.line(spine(width, y=-0.06, waves=6, swing=0.05), pick(random, LETTUCE), 0.13)
    brush.fill(dome, bun)
    if random.random() < 0.7:
        brush.dots(scatter(random, 14, width * 0.7, 0.2, y=-0.42), 0.035, shade(bun, 1.7))


def pizza(brush: Brush, random: Random) -> None:
    """A slice of pizza with pepperoni."""
    crust, half = pick(random, BUN), between(random, 0.5, 0.75)
    _cast(brush, random, [(-0.9, 0), (0.75, -half), (0.95, 0), (0.75, half)])
    brush.fill([(-0.95, 0), *ellipse(0.55, 0, 0.4, half, begin=-0.5, end=0.5)], crust)
    brush.fill([(-0.85, 0), *ellipse(0.5, 0, 0.24, half * 0.88, begin=-0.5, end=0.5)], pick(random, CHEESE))
    spots = [(-0.2, 0.02), (0.25, half * 0.42), (0.3, -half * 0.4), (0.55, 0.05), (-0.5, 0.0)]
    for x, y in spots[: 3 + int(random.random() * 3)]:
        brush.fill(blob(random, x, y, 0.14, rough=0.08), pick(random, SAUSAGE + KETCHUP))
    if random.random() < 0.5:
        brush.dots([(x * 0.5 + 0.25, y) for x, y in scatter(random, 9, 0.7, half * 0.5)], 0.04, pick(random, LETTUCE))


def donut(brush: Brush, random: Random) -> None:
    """A doughnut with icing and sprinkles; the hole shows the background."""
    dough, icing = pick(random, BUN), pick(random, ICING)
    outer, inner = between(random, 0.75, 0.9), between(random, 0.2, 0.32)
    background = brush.background()
    _cast(brush, random, ellipse(0, 0, outer, outer))
    brush.fill(ellipse(0, 0, outer, outer), dough)
    brush.fill(blob(random, 0, 0, outer * 0.86, rough=0.07), icing, inked=False)
    for _ in range(int(random.random() * 26)):
        x, y = scatter(random, 1, outer * 0.75, outer * 0.75)[0]
        turn = between(random, 0, math.pi)
        ends = [(x, y), (x + 0.1 * math.cos(turn), y + 0.1 * math.sin(turn))]
        brush.line(ends, pick(random, ICING + MUSTARD + KETCHUP), 0.05)
    brush.fill(ellipse(0, 0, inner * 1.25, inner * 1.25), shade(dough, 0.85), inked=False)
    brush.fill(ellipse(0, 0, inner, inner), shade(background, 0.75))


def banana(brush: Brush, random: Random) -> None:
    """One or two bananas, bent and pointed."""
    bend, skin = between(random, 0.3, 0.6), pick(random, BANANA)
    for place in [0.0, 0.3][: 1 + (random.random() < 0.35)]:
        shape = roll(0.95, between(random, 0.2, 0.28), bend=bend, pointed=0.8, y=place)
        _cast(brush, random, shape)
        brush.fill(shape, skin)
        brush.line(spine(0.8, bend=bend, y=place + 0.05), shade(skin, 0.85), 0.04)
        _shine(brush, 0.5, bend, place - 0.08, skin, 0.05)
        brush.dots([(-0.93, bend + place), (0.93, bend + place)], 0.07, (96, 70, 40))


def baguette(brush: Brush, random: Random) -> None:
    """A long sandwich: a hot dog bun with salad, tomato and cheese."""
    bend, bun = between(random, -0.15, 0.15), pick(random, BUN)
    length, radius = between(random, 0.8, 0.95), between(random, 0.3, 0.4)
    _cast(brush, random, roll(length, radius, bend=bend))
    brush.fill(roll(length, radius, bend=bend), shade(bun, 0.9))
    brush.line(spine(length * 0.9, bend=bend, y=0.02, waves=8, swing=0.06), pick(random, LETTUCE), 0.3)
    filling = TOMATO if random.random() < 0.6 else CHEESE
    for step in range(5):
        x = length * (step - 2) * 0.38
        brush.fill(ellipse(x, bend * (x / length) ** 2 + 0.06, 0.15, 0.13), pick(random, filling))
    brush.fill(roll(length, radius * 0.6, bend=bend, y=-radius * 0.5), bun)
    for step in range(4):
        x = length * (step - 1.5) * 0.4
        y = bend * (x / length) ** 2 - radius * 0.5
        brush.line([(x - 0.07, y - 0.1), (x + 0.07, y + 0.1)], shade(bun, 1.5), 0.05)


def loaf(brush: Brush, random: Random) -> None:
    """A plain bread roll, cut across its top."""
    bun, radius = pick(random, BUN), between(random, 0.3, 0.48)
    bend = between(random, -0.1, 0.1)
    _cast(brush, random, roll(0.85, radius, bend=bend))
    brush.fill(roll(0.85, radius, bend=bend), bun)
    for step in range(4):
        x = (step - 1.5) * 0.36
        brush.line([(x - 0.08, -radius * 0.5), (x + 0.1, radius * 0.4)], shade(bun, between(random, 1.3, 1.6)), 0.08)
    _shine(brush, 0.6, bend, -radius * 0.6, bun, 0.05)


def sausages(brush: Brush, random: Random) -> None:
    """Two or three sausages without a bun, some with sauce."""
    count, meat = 2 + (random.random() < 0.5), pick(random, SAUSAGE + MEAT)
    bend, thick = between(random, -0.25, 0.25), between(random, 0.13, 0.18)
    for number in range(count):
        y = (number - (count - 1) / 2) * thick * between(random, 2.3, 2.7)
        shape = roll(between(random, 0.75, 0.95), thick, bend=bend, y=y)
        _cast(brush, random, shape)
        brush.fill(shape, meat)
        _shine(brush, 0.6, bend, y - thick * 0.4, meat, 0.05)
        if random.random() < 0.4:
            _grill_marks(brush, 0.6, bend, y, thick, meat)
    if random.random() < 0.5:
        brush.fill(blob(random, between(random, -0.6, 0.6), 0.55, 0.22), pick(random, MUSTARD + KETCHUP))


def carrot(brush: Brush, random: Random) -> None:
    """A tapering carrot with leaves."""
    colour, thick = pick(random, ORANGE), between(random, 0.2, 0.3)
    for turn in (-0.25, 0.0, 0.25):
        brush.line([(-0.5, 0), (-0.95, turn + between(random, -0.08, 0.08))], pick(random, LETTUCE), 0.09)
    shape = [*ellipse(-0.45, 0, 0.14, thick, begin=0.5, end=1.5), (0.95, between(random, -0.05, 0.05))]
    _cast(brush, random, shape)
    brush.fill(shape, colour)
    for x in (-0.35, -0.1, 0.15, 0.4):
        brush.line([(x, -thick * 0.5 * (1 - x)), (x + 0.02, -thick * 0.1)], shade(colour, 0.75), 0.03)


def ice_cream(brush: Brush, random: Random) -> None:
    """An ice cream cone with one or three scoops."""
    cone = pick(random, BUN)
    brush.fill([(-0.36, 0.05), (0.36, 0.05), (0, 1.0)], cone)
    for x in (-0.2, 0.0, 0.2):
        brush.line([(x - 0.1, 0.1), (x * 0.3 + 0.1, 0.55)], shade(cone, 0.75), 0.03)
        brush.line([(x + 0.1, 0.1), (x * 0.3 - 0.1, 0.55)], shade(cone, 0.75), 0.03)
    single = random.random() < 0.3
    places: list[Point] = [(0, -0.2)] if single else [(-0.22, -0.14), (0.22, -0.14), (0, -0.5)]
    for x, y in places:
        brush.fill(blob(random, x, y, 0.42 if single else 0.36, rough=0.06), pick(random, CREAM + ICING))
    if random.random() < 0.5:
        brush.dots([(0.05, places[-1][1] - 0.4)], 0.1, pick(random, KETCHUP))


def croissant(brush: Brush, random: Random) -> None:
    """A croissant in segments."""
    dough, thick = pick(random, BUN), between(random, 0.35, 0.55)
    outer, inner = (0.95, 0.9), (0.86, 0.9 - thick)
    shape = ellipse(0, 0.4, *outer, begin=1, end=2) + ellipse(0, 0.4, *inner, begin=1, end=2)[::-1]
    _cast(brush, random, shape)
    brush.fill(shape, dough)
    for turn in (1.12, 1.25, 1.38, 1.5, 1.62, 1.75, 1.88):
        near, far = turn * math.pi, (turn + 0.25 * (turn - 1.5)) * math.pi
        ends = [
            (across * math.cos(at), 0.4 + down * math.sin(at)) for (across, down), at in ((outer, near), (inner, far))
        ]
        brush.line(ends, shade(dough, 0.75), 0.05)


def corn(brush: Brush, random: Random) -> None:
    """A corn cob with rows of kernels, half in its husk."""
    colour, thick = pick(random, MUSTARD + CHEESE), between(random, 0.24, 0.32)
    shape = roll(0.9, thick, pointed=0.35)
    _cast(brush, random, shape)
    brush.fill(shape, colour)
    kernels = [(-0.75 + 0.15 * column, thick * 0.36 * row) for column in range(11) for row in (-2, -1, 0, 1, 2)]
    brush.dots(
        [point for point in kernels if abs(point[1]) < thick * (1 - 0.4 * abs(point[0]))], 0.045, shade(colour, 0.82)
    )
    if random.random() < 0.7:
        husk = pick(random, LETTUCE)
        brush.fill([(-1.0, 0), (-0.5, -thick * 1.3), (0.15, -thick * 0.9), (-0.4, -0.05)], husk)
        brush.fill([(-1.0, 0), (-0.5, thick * 1.3), (0.1, thick * 0.9), (-0.4, 0.05)], shade(husk, 0.85))


def fries(brush: Brush, random: Random) -> None:
    """French fries in a paper bag."""
    for _ in range(13):
        x = between(random, -0.5, 0.5)
        lean, top = x * between(random, 0.2, 0.7), between(random, -0.95, -0.35)
        brush.line([(x * 0.8, 0.3), (x + lean * 0.4, top)], pick(random, MUSTARD + CHEESE), 0.13)
    paper = pick(random, KETCHUP + WHITE)
    shape = [(-0.6, -0.1), (-0.3, 0.02), (0, 0.06), (0.3, 0.02), (0.6, -0.1), (0.45, 0.9), (-0.45, 0.9)]
    brush.fill(shape, paper)
    if random.random() < 0.5:
        brush.fill(ellipse(0, 0.45, 0.2, 0.2), pick(random, MUSTARD), inked=False)


def egg(brush: Brush, random: Random) -> None:
    """A fried egg with one or two yolks."""
    white = blob(random, 0, 0, 0.8, rough=0.18)
    _cast(brush, random, white)
    brush.fill(white, pick(random, WHITE))
    for x in [0.0] if random.random() < 0.6 else [-0.3, 0.3]:
        yolk = pick(random, MUSTARD + ORANGE)
        brush.fill(ellipse(x, 0, 0.28, 0.28), yolk)
        brush.dots([(x - 0.1, -0.1)], 0.06, shade(yolk, 1.7))


def taco(brush: Brush, random: Random) -> None:
    """A taco: a folded half disc with filling visible at the top."""
    shell = pick(random, BUN + CHEESE)
    shape = ellipse(0, 0.35, 0.95, 0.85, begin=1, end=2)
    _cast(brush, random, shape)
    brush.fill(shape, shade(shell, 0.8))
    for colours in (LETTUCE, MEAT, TOMATO, CHEESE):
        for x, y in _along_dome(random, 5):
            brush.fill(blob(random, x, y, 0.12, rough=0.25), pick(random, colours), inked=False)
    brush.fill(ellipse(0.04, 0.42, 0.93, 0.7, begin=1, end=2), shell)
    brush.dots(scatter(random, 8, 0.6, 0.2, y=0.12), 0.04, shade(shell, 0.85))


def _along_dome(random: Random, count: int) -> list[Point]:
    angles = [between(random, 1.1, 1.9) * math.pi for _ in range(count)]
    return [(0.85 * math.cos(angle), 0.35 + 0.8 * math.sin(angle)) for angle in angles]


def _cast(brush: Brush, random: Random, shape: Sequence[Point]) -> None:
    offset = (between(random, -0.09, 0.09), between(random, 0.02, 0.12))
    brush.shadow(shape, offset=offset, depth=between(random, 0.2, 0.5))


def _shine(brush: Brush, length: float, bend: float, y: float, colour: Colour, width: float) -> None:
    brush.line(spine(length, bend=bend, y=y), shade(colour, 1.35), width)


def _grill_marks(brush: Brush, length: float, bend: float, y: float, thick: float, meat: Colour) -> None:
    for step in range(5):
        x = length * (step - 2) * 0.45
        middle = y + bend * x * x
        brush.line([(x - 0.06, middle - thick * 0.7), (x + 0.06, middle + thick * 0.7)], shade(meat, 0.55), 0.05)


def _sauces(brush: Brush, random: Random, length: float, bend: float, y: float, thick: float) -> None:
    """Draws no sauce, mustard, ketchup or both, as waves or straight lines."""
    kind = random.random()
    sauces = [] if kind < 0.2 else [MUSTARD] if kind < 0.55 else [KETCHUP] if kind < 0.8 else [KETCHUP, MUSTARD]
    for sauce in sauces:
        waves = between(random, 3, 6) if random.random() < 0.8 else 0.0
        swing = thick * between(random, 0.4, 0.9) if waves else 0.0
        line = spine(length * between(random, 0.8, 1), bend=bend, y=y, waves=waves, swing=swing)
        brush.line(line, pick(random, sauce), between(random, 0.05, 0.09))


# Standing foods are drawn from the side, the others at any angle.
STANDING: tuple[Callable[[Brush, Random], None], ...] = (burger, ice_cream, fries, taco)
OTHERS: tuple[Callable[[Brush, Random], None], ...] = (
    *STANDING, pizza, donut, banana, baguette, loaf, sausages, carrot, croissant, corn, egg
)  # fmt: skip


def leaf(brush: Brush, random: Random) -> None:
    """Clutter: a leaf of basil."""
    colour = pick(random, LETTUCE)
    brush.fill(roll(0.8, 0.35, bend=0.1, pointed=0.95), colour)
    brush.line(spine(0.7, bend=0.1), shade(colour, 0.75), 0.06)


def tomato_slice(brush: Brush, random: Random) -> None:
    """Clutter: a slice of tomato with seeds."""
    colour = pick(random, TOMATO)
    brush.fill(ellipse(0, 0, 0.7, 0.7), shade(colour, 0.85))
    brush.fill(ellipse(0, 0, 0.58, 0.58), colour, inked=False)
    brush.dots(
        [(0.35 * math.cos(turn), 0.35 * math.sin(turn)) for turn in (0.3, 1.5, 2.8, 4.1, 5.3)], 0.1, clip(240, 190, 90)
    )


def cutlery(brush: Brush, random: Random) -> None:
    """Clutter: a fork or a knife."""
    steel = pick(random, [(190, 194, 200), (160, 164, 172), (214, 214, 210)])
    brush.line([(-2, 0), (0.3, 0)], steel, 0.2)
    if random.random() < 0.5:
        brush.fill(roll(1.0, 0.2, pointed=0.5), shade(steel, 1.2))
    else:
        for y in (-0.24, 0.0, 0.24):
            brush.line([(0.2, y * 0.6), (0.5, y), (1.2, y)], shade(steel, 1.1), 0.1)


def cup(brush: Brush, random: Random) -> None:
    """Clutter: a cup from above."""
    brush.fill(ellipse(0, 0, 0.9, 0.9), pick(random, WHITE + ICING))
    brush.fill(ellipse(0, 0, 0.72, 0.72), pick(random, MEAT + MUSTARD + KETCHUP))


def spill(brush: Brush, random: Random) -> None:
    """Clutter: a blot of sauce."""
    brush.fill(blob(random, 0, 0, 0.6, rough=0.3), pick(random, MUSTARD + KETCHUP + MEAT), inked=False)


def crumbs(brush: Brush, random: Random) -> None:
    """Clutter: crumbs of bread."""
    brush.dots(scatter(random, 12, 1.2, 0.9), 0.07, pick(random, BUN))


CLUTTER: tuple[Callable[[Brush, Random], None], ...] = (leaf, tomato_slice, cutlery, cup, spill, crumbs)
