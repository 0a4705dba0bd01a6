import numpy as np
import pytest
from PIL import Image
from scenes import make_scene

from zoo.data.check.alignment import correlate_aligned

WHOLE = np.eye(2, 3, dtype=np.float32)


def picture(seed, change=lambda scene: scene):
    """A square grey scene, changed at four times the size, ``(64, 64)``."""
    scene = change(make_scene(seed, (256, 256)).convert("L"))
    return np.asarray(scene.resize((64, 64), Image.Resampling.BOX), np.float32)


def correlate(one, two, placement=WHOLE):
    [correlation] = correlate_aligned(one[None], two[None], np.asarray(placement, np.float32)[None])
    return correlation


CHANGES = {
    "none": lambda scene: scene,
    "rotated": lambda scene: scene.rotate(3, Image.Resampling.BICUBIC),
    "moved": lambda scene: scene.rotate(0, translate=(8, -6)),
    "narrower": lambda scene: scene.crop((8, 0, 250, 256)).resize((256, 256)),
    "darker": lambda scene: scene.point(lambda level: 20 + level // 2),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_picture_agrees_once_it_is_aligned(change):
    for seed in range(5):
        assert correlate(picture(seed), picture(seed, CHANGES[change])) > 0.9


def test_a_part_agrees_where_it_lies():
    part = picture(0, lambda scene: scene.crop((128, 64, 256, 192)).resize((256, 256)))
    assert correlate(part, picture(0), [[0.5, 0, 0.5], [0, 0.5, 0]]) > 0.8
    assert correlate(part, picture(0)) < 0.5


def test_other_pictures_do_not_agree():
    pictures = np.stack([picture(seed) for seed in range(100)])
    placements = np.broadcast_to(WHOLE, (99, 2, 3))
    assert correlate_aligned(pictures[1:], pictures[:-1], placements).max() < 0.7


def test_a_picture_far_away_is_not_searched_for():
    far = picture(0, lambda scene: scene.rotate(0, translate=(100, 0)))
    assert correlate(picture(0), far) == 0


@pytest.mark.parametrize("even", [0, 255])
def test_an_even_picture_agrees_with_none(even):
    flat = np.full((64, 64), even, np.float32)
    assert correlate(flat, flat) == correlate(flat, picture(0)) == correlate(picture(0), flat) == 0


def test_no_pictures():
    none = np.zeros((0, 64, 64), np.float32)
    assert correlate_aligned(none, none, np.zeros((0, 2, 3), np.float32)).shape == (0,)
