import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from scenes import encode, make_scene

from zoo.data.check.perceptual_hash import MIN_SIDE, RADIUS, HashTable, Match, PerceptualHash, find_matches, hash_photo
from zoo.data.images.decode import open_image


def hash_encoded(picture, **options):
    return hash_photo(open_image(encode(picture, **options), min_side=MIN_SIDE, approximate=True))


def apart(one: PerceptualHash, other: PerceptualHash) -> int:
    return (one.dhash ^ other.dhash).bit_count() + (one.phash ^ other.phash).bit_count()


def cropped(picture, share):
    width, height = picture.size
    x, y = width * share / 2, height * share / 2
    return picture.crop((round(x), round(y), round(width - x), round(height - y)))


CHANGES = {
    "saved at low quality": lambda picture: Image.open(io.BytesIO(encode(picture, quality=15))),
    "halved": lambda picture: picture.resize((picture.width // 2, picture.height // 2)),
    "enlarged": lambda picture: picture.resize((picture.width * 3, picture.height * 3)),
    "squashed": lambda picture: picture.resize((200, 200)),
    "cropped by 4 %": lambda picture: cropped(picture, 0.04),
    "brightened": lambda picture: ImageEnhance.Brightness(picture).enhance(1.15),
    "without colour": lambda picture: picture.convert("L"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_photo_is_recognised(change):
    pictures = [make_scene(seed) for seed in range(8)]
    before = HashTable([hash_encoded(picture) for picture in pictures])
    after = HashTable([hash_encoded(CHANGES[change](picture)) for picture in pictures])
    found = find_matches(after, before)
    assert {(match.first, match.second) for match in found} == {(number, number) for number in range(8)}


def test_different_photos_do_not_match():
    hashes = [hash_encoded(make_scene(seed)) for seed in range(150)]
    assert find_matches(HashTable(hashes)) == []
    assert min(apart(one, other) for i, one in enumerate(hashes) for other in hashes[:i]) > RADIUS


def test_a_photo_of_one_even_colour_has_no_hash():
    assert hash_photo(Image.new("RGB", (90, 80), (30, 200, 10))) is None


def test_colours_rule_out_matches_of_the_hashes():
    """Two photos with the same brightness in different colours."""
    grey = np.asarray(make_scene(1).convert("L"), np.uint8)
    red = Image.fromarray(np.stack([grey, grey // 3, 255 - grey // 2], axis=2))
    green = Image.fromarray(np.stack([grey // 4, grey, grey // 4], axis=2))
    one, other = hash_encoded(red), hash_encoded(green)
    if apart(one, other) > 8:
        assert find_matches(HashTable([one]), HashTable([other])) == []
    moved = one._replace(colours=bytes(255 - value for value in one.colours), dhash=one.dhash ^ 0xFFF)
    assert apart(one, moved) == 12
    assert find_matches(HashTable([one]), HashTable([moved])) == []
    assert find_matches(HashTable([one]), HashTable([moved._replace(colours=one.colours)])) == [Match(0, 0, 12)]


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 300])
def test_every_pair_is_compared_once(count):
    random = np.random.default_rng(count)
    hashes = random.integers(0, 1 << 63, (count, 2), np.uint64)
    if count > 64:
        hashes[64], hashes[3, 0] = (
            hashes[0],
            hashes[1, 0],
        )  # a match in another block; one equal hash alone is none
    listed = [PerceptualHash(int(d), int(p), bytes(216)) for d, p in hashes]
    found = find_matches(HashTable(listed), threads=2)
    assert found == ([Match(64, 0, 0)] if count > 64 else [])
    assert {tuple(match) for match in find_matches(HashTable(listed), HashTable(listed))} == {
        *((number, number, 0) for number in range(count)),
        *([(64, 0, 0), (0, 64, 0)] if count > 64 else []),
    }


def test_thousands_of_similar_photos_do_not_give_millions_of_pairs():
    listed = [PerceptualHash(7, 7, bytes(216))] * 1_000
    steps = []
    found = find_matches(HashTable(listed), progress=lambda what, done, total: steps.append((done, total)))
    assert len(found) <= 16 * 1_000
    assert {match.first for match in found} == set(range(1, 1_000))
    assert steps[-1] == (1_000, 1_000)
