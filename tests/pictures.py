"""Helpers for tests of pictures: single-colour photos, and what a written picture shows."""

import io

from matplotlib.text import Text
from PIL import Image


def make_photo(colour, size=(60, 40)):
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def open_rgb(path):
    with Image.open(path) as image:
        return image.convert("RGB")


def count_colours(path):
    """Returns the number of pixels of each colour in a picture."""
    return {colour: count for count, colour in open_rgb(path).getcolors(1 << 24)}


def texts_of(figure):
    """Returns the texts in a figure, in drawing order."""
    return [text.get_text() for text in figure.findobj(Text) if text.get_text().strip()]
