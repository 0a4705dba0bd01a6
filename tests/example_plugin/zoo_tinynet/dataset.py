"""A dataset of plain colours, which it draws."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from PIL import Image

import zoo

if TYPE_CHECKING:
    from pathlib import Path


def is_local(cache: Path) -> bool:
    """Returns True: the images are drawn, not downloaded."""
    return True


def load(request: zoo.DatasetRequest) -> zoo.ImageSet:
    """Returns an image of every eighth hue."""
    samples = tuple(zoo.Sample(_draw(hue), label=hue // 128, name=f"{hue}.png") for hue in range(0, 256, 8))
    return zoo.ImageSet(name="tinynet-hues", classes=("warm", "cold"), train=samples)


def _draw(hue: int) -> bytes:
    content = io.BytesIO()
    Image.new("HSV", (32, 32), (hue, 200, 200)).convert("RGB").save(content, "PNG")
    return content.getvalue()
