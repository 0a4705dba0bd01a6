"""The frames inside an AVIF image are found whatever size the container states."""

import struct

import pytest
from PIL import Image, features
from problem_images import encode

from zoo.data.images.avif import frame_pixels
from zoo.data.images.decode import decode, open_header
from zoo.data.images.workload import estimate_workload
from zoo.errors import ImageError

pytestmark = pytest.mark.skipif(not features.check("avif"), reason="This Pillow reads no AVIF.")


def make_avif(width=320, height=200, **options):
    return encode(Image.new("RGB", (width, height), "teal"), "AVIF", **options)


def understate(data):
    """Returns an image whose container states 16 x 16 pixels."""
    changed = bytearray(data)
    place = changed.find(b"ispe")
    while place >= 0:
        struct.pack_into(">LL", changed, place + 8, 16, 16)
        place = changed.find(b"ispe", place + 4)
    return bytes(changed)


@pytest.mark.parametrize("options", [{}, {"subsampling": "4:4:4"}, {"autotiling": True, "speed": 10}])
def test_the_frame_of_a_photo_is_found(options):
    assert frame_pixels(make_avif(**options))[0] == 320 * 200


def test_the_first_frame_of_an_animation_is_found():
    """Its sequence header is a long one, and its frames are the samples of a track."""
    more = [Image.new("RGB", (320, 200), colour) for colour in ("red", "blue")]
    data = make_avif(save_all=True, append_images=more)
    assert b"stsz" in data
    assert frame_pixels(data)[0] == 320 * 200
    assert frame_pixels(data.replace(b"iloc", b"free"))[0] == 320 * 200
    assert frame_pixels(data.replace(b"stsz", b"free"))[0] == 320 * 200


def test_a_frame_that_is_larger_than_the_image_counts():
    plain, hidden = make_avif(2000, 2000), understate(make_avif(2000, 2000))
    with open_header(plain) as image, open_header(hidden) as small:
        assert small.size == (16, 16)
        found = estimate_workload(small, hidden, small.size)
        assert 0.35 < found.memory / estimate_workload(image, plain, image.size).memory < 1
        assert found.seconds == pytest.approx(estimate_workload(image, plain, image.size).seconds)


def test_a_frame_that_is_far_larger_than_the_image_is_refused_before_it_is_decoded():
    data = bytearray(make_avif())
    begin = data.index(b"\x12\0\x0a") + 4  # a delimiter, then the sequence header with its length
    header = f"{int.from_bytes(data[begin : begin + 10]):080b}"
    width_bits = int(header[10:14], 2) + 1
    height_bits = int(header[14:18], 2) + 1
    largest = header[:18] + "1" * (width_bits + height_bits) + header[18 + width_bits + height_bits :]
    data[begin : begin + 10] = int(largest, 2).to_bytes(10)
    assert frame_pixels(bytes(data))[0] == 2 ** (width_bits + height_bits)
    wide = header[:10] + "1111" * 2 + "1" * 32 + header[50:]
    data[begin : begin + 10] = int(wide, 2).to_bytes(10)
    with pytest.raises(ImageError, match=r"x\.avif: decoding it takes 64\.0 GiB, more than the limit of 3"):
        decode(bytes(data), name="x.avif")


def test_a_file_that_ends_early_or_has_damaged_tables_is_left_to_the_decoder():
    data = make_avif()
    for length in range(len(data)):
        assert frame_pixels(data[:length])[0] in (0, 320 * 200)
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 0xFF
        try:
            assert frame_pixels(bytes(changed)) >= (0, 0)
        except ValueError as error:
            assert "more than" in str(error) or "overlap" in str(error)  # noqa: PT017


@pytest.mark.parametrize("parts", ["units", "extents", "items"])
def test_far_too_many_parts_are_refused(parts):
    """A few bytes could otherwise name the same content again and again."""
    count = 100_001
    if parts == "units":
        place = 8 + 4 + 8 + 4 + 18  # behind the boxes
        iloc, content = bytes.fromhex(f"44000001 0001 0000 0001 {place:08x} 00000000"), b"\x12\0" * count
    elif parts == "extents":
        iloc, content = bytes.fromhex("00000002") + bytes.fromhex("0001 0000 ffff 0002 0000 ffff"), b""
    else:
        iloc, content = bytes.fromhex("0000ffff") + bytes.fromhex("0001 0000 0001") * 65_535, b""
    table = bytes(4) + iloc
    meta = bytes(4) + struct.pack(">L4s", 8 + len(table), b"iloc") + table
    data = struct.pack(">L4s", 8 + len(meta), b"meta") + meta + content
    with pytest.raises(ValueError, match=r"more than 100,000|extents overlap"):
        frame_pixels(data)
