import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from scenes import encode, make_scene

from zoo.data.check.header import CONVERSIONS, Header, read_header

SMALL = make_scene(0, (40, 30))


def rotated(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encode(SMALL, exif=exif)


def deep_png() -> bytes:
    """Returns a PNG of 16 bits a colour, which Pillow itself cannot write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes(6 * 4) for _ in range(4))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def animation(kind: str) -> bytes:
    buffer = io.BytesIO()
    SMALL.save(buffer, kind, save_all=True, append_images=[make_scene(1, (40, 30))])
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "traits"),
    [
        (encode(SMALL), ()),
        (encode(SMALL.convert("L")), ("greyscale",)),
        (encode(SMALL.convert("CMYK")), ("CMYK",)),
        (encode(SMALL.convert("RGBA"), "PNG"), ("transparency",)),
        (encode(SMALL.convert("LA"), "PNG"), ("greyscale", "transparency")),
        (encode(Image.fromarray(np.zeros((4, 4), np.uint16)), "PNG"), ("greyscale", "more than 8 bits per channel")),
        (deep_png(), ("more than 8 bits per channel",)),
        (rotated(6), ("rotated by EXIF",)),
        (rotated(1), ()),
        (rotated(9), ()),
        (animation("GIF"), ("several frames",)),
        (animation("WEBP"), ("several frames",)),
        (encode(SMALL.convert("P"), "BMP"), ()),
        (encode(SMALL, "TIFF"), ()),
    ],
)
def test_traits_of_a_photo(data, traits):
    header = read_header(data)
    assert header is not None
    assert header.traits == traits
    assert set(traits) <= set(CONVERSIONS)


def test_the_size_is_that_of_the_upright_photo():
    assert (read_header(rotated(3)).width, read_header(rotated(3)).height) == (40, 30)
    assert (read_header(rotated(6)).width, read_header(rotated(6)).height) == (30, 40)


@pytest.mark.parametrize("data", [b"", b"GIF8", b"<html>", b"\xff\xd8\xff\xe0", bytes(300)])
def test_bytes_that_do_not_start_like_an_image_have_no_header(data):
    assert read_header(data) is None


@pytest.mark.parametrize(
    ("kind", "name", "wrong"),
    [
        ("JPEG", "a.JPG", False),
        ("MPO", "a.jpg", False),
        ("PNG", "a/b.jpg", True),
        ("WEBP", "a.jpeg", True),
        ("JPEG", "a.png", True),
        ("TIFF", "a.tif", False),
    ],
)
def test_the_suffix_may_belong_to_another_format(kind, name, wrong):
    assert Header(format=kind, width=1, height=1).has_wrong_suffix(name) is wrong
