"""Tests of the examples on the Predict tab."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image
from redness import make_png

from zoo_demo.models.examples import Example
from zoo_demo.tabs.predict import _caption, _web_copy


def test_an_example_is_copied_once_and_unchanged() -> None:
    example = Example(source=make_png("red"), name="val/red/one.png", truth="red", correct=False)

    copy = Path(_web_copy(example))

    assert (copy.name, copy.read_bytes()) == ("one.png", make_png("red"))
    assert _web_copy(example) == str(copy)
    assert _caption(example) == "red (misclassified)"


def test_an_example_that_browsers_cannot_show_is_converted_without_loss() -> None:
    buffer = io.BytesIO()
    Image.effect_noise((20, 10), 90).convert("RGB").save(buffer, "PPM")

    copy = Path(_web_copy(Example(source=buffer.getvalue(), name="val/00001.ppm", truth="x", correct=True)))

    assert copy.name == "00001.png"
    with Image.open(copy) as copied, Image.open(buffer) as original:
        assert copied.format == "PNG"
        assert copied.tobytes() == original.tobytes()
