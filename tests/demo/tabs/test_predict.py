"""What the page shows as examples."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image
from redness import png

from zoo_demo.examples import Example
from zoo_demo.tabs.predict import _caption, _file


def test_an_example_is_copied_once_as_it_is() -> None:
    example = Example(source=png("red"), name="val/red/one.png", truth="red", right=False)

    copy = Path(_file(example))

    assert (copy.name, copy.read_bytes()) == ("one.png", png("red"))
    assert _file(example) == str(copy)
    assert _caption(example) == "red, got wrong"


def test_of_what_no_browser_shows_the_pixels_are_kept() -> None:
    buffer = io.BytesIO()
    Image.effect_noise((20, 10), 90).convert("RGB").save(buffer, "PPM")

    copy = Path(_file(Example(source=buffer.getvalue(), name="val/00001.ppm", truth="x", right=True)))

    assert copy.name == "00001.png"
    with Image.open(copy) as shown, Image.open(buffer) as given:
        assert shown.format == "PNG"
        assert shown.tobytes() == given.tobytes()
