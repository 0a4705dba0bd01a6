import numpy as np
import pytest
from PIL import Image, ImageFilter
from scenes import encode, make_scene

from zoo.data.check.properties import measure_photos
from zoo.plugins.specs import Sample


def measure(*images):
    return measure_photos([Sample(encode(image), 0, str(number)) for number, image in enumerate(images)])


def test_size_and_aspect_are_those_of_the_file():
    found = measure(make_scene(1, (320, 160)), make_scene(1, (60, 120)))
    assert found.pixels.tolist() == [320 * 160, 60 * 120]
    assert found.aspect.tolist() == [2.0, 0.5]


def test_brightness_is_a_share_of_white():
    found = measure(*(Image.new("RGB", (300, 200), (grey, grey, grey)) for grey in (0, 51, 255)))
    assert found.brightness == pytest.approx([0, 0.2, 1], abs=0.01)
    assert found.sharpness == pytest.approx([0, 0, 0], abs=0.01)


def test_blurred_photos_are_less_sharp_at_any_size():
    noise = np.random.default_rng(3).integers(0, 256, (75, 100, 3), np.uint8)
    scene = Image.fromarray(noise).resize((400, 300), Image.Resampling.NEAREST)
    sharp, blurred, large = measure(
        scene, scene.filter(ImageFilter.GaussianBlur(6)), scene.resize((800, 600))
    ).sharpness
    assert blurred < 0.2 * sharp
    assert large == pytest.approx(sharp, rel=0.3)


def test_unreadable_photos_have_no_properties():
    found = measure_photos([Sample(b"no image", 0, "x"), Sample(encode(make_scene(1)), 0, "y")])
    assert np.isnan(found.pixels).tolist() == [True, False]
