import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps
from scenes import encode, make_scene

from zoo.data.check import hash_index
from zoo.data.check.hash_index import RADIUS, SCALE, Match, find_matches
from zoo.data.check.perceptual_hash import MIN_SIDE, PARTS, hash_photo
from zoo.data.images.decode import open_image

ORIENTATIONS = {way.name.lower(): way for way in Image.Transpose}


def hash_encoded(picture, **options):
    return hash_photo(open_image(encode(picture, **options), min_side=MIN_SIDE, approximate=True))


def cropped(picture, left, top, right, bottom):
    """Crops shares of width and height off each side."""
    width, height = picture.size
    return picture.crop(
        (round(width * left), round(height * top), round(width * (1 - right)), round(height * (1 - bottom)))
    )


def bordered(picture, share, colour):
    return ImageOps.expand(picture, round(min(picture.size) * share), colour)


def squared(picture):
    return ImageOps.fit(picture, (min(picture.size),) * 2)


CHANGES = {
    "saved at low quality": lambda picture: Image.open(io.BytesIO(encode(picture, quality=15))),
    "halved": lambda picture: picture.resize((picture.width // 2, picture.height // 2)),
    "enlarged": lambda picture: picture.resize((picture.width * 3, picture.height * 3)),
    "squashed": lambda picture: picture.resize((200, 200)),
    "brightened": lambda picture: ImageEnhance.Brightness(picture).enhance(1.15),
    "without colour": lambda picture: picture.convert("L"),
    "cropped by 4 %": lambda picture: cropped(picture, 0.02, 0.02, 0.02, 0.02),
    "cropped by 20 %": lambda picture: cropped(picture, 0.1, 0.1, 0.1, 0.1),
    "10 % off a corner": lambda picture: cropped(picture, 0.1, 0.1, 0, 0),
    "20 % off another corner": lambda picture: cropped(picture, 0, 0.2, 0.2, 0),
    "10 % off the left": lambda picture: cropped(picture, 0.1, 0, 0, 0),
    "the central square": squared,
    "the mirrored central square": lambda picture: ImageOps.mirror(squared(picture)),
    "a white border": lambda picture: bordered(picture, 0.05, "white"),
    "a broad grey border": lambda picture: bordered(picture, 0.2, (90, 90, 100)),
    "mirrored, with a white border": lambda picture: bordered(ImageOps.mirror(picture), 0.05, "white"),
    "rotated by 3 degrees": lambda picture: picture.rotate(3),
    "bars above and below": lambda picture: ImageOps.pad(picture, (200, 200)),
    **{name: lambda picture, way=way: picture.transpose(way) for name, way in ORIENTATIONS.items()},
}


@pytest.fixture(scope="module")
def originals():
    return [hash_encoded(make_scene(seed, (320, 240))) for seed in range(8)]


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_photo_is_recognised(originals, change):
    changed = [hash_encoded(CHANGES[change](make_scene(seed, (320, 240)))) for seed in range(8)]
    found = find_matches([*originals, *changed])
    assert {(match.first, match.second) for match in found} == {(8 + number, number) for number in range(8)}


@pytest.mark.parametrize(("change", "turned"), [("halved", False), ("rotate_90", True), ("flip_left_right", True)])
def test_a_match_says_whether_a_photo_is_turned(originals, change, turned):
    changed = hash_encoded(CHANGES[change](make_scene(0, (320, 240))))
    [match] = find_matches([originals[0], changed])
    assert match.turned is turned


def test_a_symmetric_photo_is_not_turned():
    scene = make_scene(3, (320, 240)).copy()
    scene.paste(ImageOps.mirror(scene.crop((0, 0, 160, 240))), (160, 0))
    [match] = find_matches([hash_encoded(scene), hash_encoded(ImageOps.mirror(scene), quality=50)])
    assert match.turned is False


def test_the_index_finds_what_comparing_all_pairs_finds(monkeypatch):
    class AllPairs:
        def __init__(self, hashes):
            self.rows = np.arange(len(hashes), dtype=np.int32)

        def look_up(self, hashes):
            return np.repeat(np.arange(len(hashes)), len(self.rows)), np.tile(self.rows, len(hashes))

    random = np.random.default_rng(0)
    scenes = [make_scene(seed, (160, 120)) for seed in range(100)]
    changes = [CHANGES[name] for name in random.choice(list(CHANGES), 60)]
    copies = [change(scenes[number]) for change, number in zip(changes, random.integers(0, 100, 60), strict=True)]
    hashes = [hash_encoded(picture) for picture in (*scenes, *copies)]
    found = find_matches(hashes)
    monkeypatch.setattr(hash_index, "HashTables", AllPairs)
    assert found == find_matches(hashes)
    assert len({match.first for match in found if match.first >= 100}) >= 58


def test_the_original_is_recognised_from_its_part(originals):
    changed = [hash_encoded(squared(make_scene(seed, (320, 240)))) for seed in range(8)]
    found = find_matches([*changed, *originals])
    assert {(match.first, match.second) for match in found} == {(8 + number, number) for number in range(8)}


def test_different_photos_do_not_match():
    assert find_matches([hash_encoded(make_scene(seed)) for seed in range(150)]) == []


def test_a_negative_is_not_recognised(originals):
    negatives = [hash_encoded(ImageOps.invert(make_scene(seed, (320, 240)))) for seed in range(8)]
    assert find_matches([*originals, *negatives]) == []


def test_a_photo_of_one_even_colour_has_no_hash():
    assert hash_photo(Image.new("RGB", (90, 80), (30, 200, 10))) is None


def test_a_border_around_one_even_colour_is_part_of_the_photo():
    photo = bordered(Image.new("RGB", (90, 80), (30, 200, 10)), 0.2, "white")
    made = hash_photo(photo)
    assert made is not None
    assert len(made.brightness) == PARTS


def test_colours_rule_out_matches(originals):
    """The same brightness in other colours is another photo, unless it is almost exactly the same."""
    photo = originals[0]
    shifted = photo._replace(colour=(photo.colour.astype(int) // 2 + 60).astype("int8"))
    turned = hash_encoded(make_scene(0, (320, 240)).rotate(2))
    assert find_matches([photo, shifted]) == [Match(1, 0, 0)]
    assert [match[:2] for match in find_matches([photo, turned])] == [(1, 0)]
    assert find_matches([shifted, turned]) == []


def test_the_radius_limits_the_distance(originals):
    crop = hash_encoded(cropped(make_scene(0, (320, 240)), 0.03, 0.03, 0.03, 0.03))
    [match] = find_matches([originals[0], crop])
    assert 0 < match.distance <= RADIUS < SCALE
    assert find_matches([originals[0], crop], radius=0) == []
    assert find_matches([originals[0], originals[0]], radius=0) == [Match(1, 0, 0)]


@pytest.mark.parametrize("count", [0, 1, 255, 256, 257, 300])
def test_each_pair_is_found_once_in_any_block(count):
    hashes = [hash_encoded(make_scene(1_000 + number, (80, 60))) for number in range(count)]
    if count > 1:
        hashes[-1] = hashes[0]
    steps = dict.fromkeys(("compare photos", "align photos"))
    found = find_matches(hashes, threads=2, progress=lambda what, done, total: steps.update({what: (done, total)}))
    assert found == ([Match(count - 1, 0, 0)] if count > 1 else [])
    assert steps["compare photos"] == ((count, count) if count > 1 else None)
    assert steps["align photos"] == ((1, 1) if count > 1 else None)


def test_the_closest_matches_in_each_group_are_found(originals):
    hashes = [originals[0]] * 200
    found = find_matches([*hashes, originals[0]], groups=[0] * 100 + [1] * 100 + [2])
    assert {match.second >= 100 for match in found if match.first == 200} == {False, True}


def test_thousands_of_similar_photos_do_not_give_millions_of_pairs(originals):
    found = find_matches([originals[0]] * 1_000)
    assert len(found) <= 2 * 16 * 1_000
    assert len({match.first for match in found}) > 900
