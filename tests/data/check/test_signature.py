import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from scenes import encode, make_scene

from zoo.data.check.near import RADIUS, Close, Signatures, close_pairs
from zoo.data.check.signature import ENOUGH, Signature, sign
from zoo.data.images.decode import open_image


def signature(picture, **how):
    return sign(open_image(encode(picture, **how), min_side=ENOUGH, approximate=True))


def apart(one: Signature, other: Signature) -> int:
    return (one.dhash ^ other.dhash).bit_count() + (one.phash ^ other.phash).bit_count()


def cropped(picture, share):
    width, height = picture.size
    x, y = width * share / 2, height * share / 2
    return picture.crop((round(x), round(y), round(width - x), round(height - y)))


CHANGES = {
    "saved badly": lambda picture: Image.open(io.BytesIO(encode(picture, quality=15))),
    "halved": lambda picture: picture.resize((picture.width // 2, picture.height // 2)),
    "enlarged": lambda picture: picture.resize((picture.width * 3, picture.height * 3)),
    "squashed": lambda picture: picture.resize((200, 200)),
    "cropped by 4 %": lambda picture: cropped(picture, 0.04),
    "brightened": lambda picture: ImageEnhance.Brightness(picture).enhance(1.15),
    "without colour": lambda picture: picture.convert("L"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_photo_is_recognised_after(change):
    pictures = [make_scene(seed) for seed in range(8)]
    before = Signatures([signature(picture) for picture in pictures])
    after = Signatures([signature(CHANGES[change](picture)) for picture in pictures])
    found = close_pairs(after, before)
    assert {(close.one, close.other) for close in found} == {(number, number) for number in range(8)}


def test_other_photos_are_not():
    signatures = [signature(make_scene(seed)) for seed in range(150)]
    assert close_pairs(Signatures(signatures)) == []
    assert min(apart(one, other) for i, one in enumerate(signatures) for other in signatures[:i]) > RADIUS


def test_a_photo_of_one_even_colour_has_no_signature():
    assert sign(Image.new("RGB", (90, 80), (30, 200, 10))) is None


def test_hashes_alone_do_not_decide():
    """Two photos with the same lights and darks in other colours: what the colours are for."""
    grey = np.asarray(make_scene(1).convert("L"), np.uint8)
    red = Image.fromarray(np.stack([grey, grey // 3, 255 - grey // 2], axis=2))
    green = Image.fromarray(np.stack([grey // 4, grey, grey // 4], axis=2))
    one, other = signature(red), signature(green)
    if apart(one, other) > 8:
        assert close_pairs(Signatures([one]), Signatures([other])) == []
    moved = one._replace(colours=bytes(255 - value for value in one.colours), dhash=one.dhash ^ 0xFFF)
    assert apart(one, moved) == 12
    assert close_pairs(Signatures([one]), Signatures([moved])) == []
    assert close_pairs(Signatures([one]), Signatures([moved._replace(colours=one.colours)])) == [Close(0, 0, 12)]


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 300])
def test_every_pair_is_compared_once(count):
    random = np.random.default_rng(count)
    hashes = random.integers(0, 1 << 63, (count, 2), np.uint64)
    if count > 64:
        hashes[64], hashes[3, 0] = hashes[0], hashes[1, 0]  # a twin in another block; half a twin is none
    listed = [Signature(int(d), int(p), bytes(216)) for d, p in hashes]
    found = close_pairs(Signatures(listed), threads=2)
    assert found == ([Close(64, 0, 0)] if count > 64 else [])
    assert {tuple(close) for close in close_pairs(Signatures(listed), Signatures(listed))} == {
        *((number, number, 0) for number in range(count)),
        *([(64, 0, 0), (0, 64, 0)] if count > 64 else []),
    }


def test_thousands_of_like_photos_make_no_millions_of_pairs():
    listed = [Signature(7, 7, bytes(216))] * 1_000
    told = []
    found = close_pairs(Signatures(listed), progress=lambda what, done, total: told.append((done, total)))
    assert len(found) <= 16 * 1_000
    assert {close.one for close in found} == set(range(1, 1_000))
    assert told[-1] == (1_000, 1_000)
