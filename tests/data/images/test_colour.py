import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms
from problem_images import encode

from zoo.data.images.decode import decode
from zoo.errors import ImageError


def png(width: int, height: int, bits: int, colour: int, rows: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    middle = b"".join(chunk(kind, body) for kind, body in chunks)
    return b"\x89PNG\r\n\x1a\n" + header + middle + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_composited_over_white(mode):
    image = Image.new(mode, (4, 4), (0,) * len(mode))
    assert (decode(encode(image)) == 255).all()
    half = Image.new(mode, (1, 1), (*(0,) * (len(mode) - 1), 128))
    assert decode(encode(half)).tolist() == [[[127, 127, 127]]]


def test_a_transparent_palette_colour_is_composited_over_white():
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    assert decode(encode(image, transparency=0)).tolist() == [[[255, 255, 255], [40, 50, 60]]]
    assert decode(encode(image, transparency=b"\x00\xff")).tolist() == [[[255, 255, 255], [40, 50, 60]]]
    assert decode(encode(image)).tolist() == [[[10, 20, 30], [40, 50, 60]]]


@pytest.mark.parametrize(("mode", "key"), [("1", 0), ("L", 0), ("RGB", (0, 0, 0))])
def test_a_transparent_colour_key_is_composited_over_white(mode, key):
    assert (decode(encode(Image.new(mode, (3, 2), 0), transparency=key)) == 255).all()


def test_transparent_colours_of_16_bits():
    rgb = struct.pack(">B6H", 0, 0x1234, 0x5678, 0x9ABC, 0xFFFF, 0, 0x8000)
    key = (b"tRNS", struct.pack(">3H", 0x1234, 0x5678, 0x9ABC))
    assert decode(png(2, 1, 16, 2, rgb, key)).tolist() == [[[255, 255, 255], [255, 0, 128]]]
    grey = struct.pack(">B2H", 0, 0x1234, 0x8000)
    assert decode(png(2, 1, 16, 0, grey, (b"tRNS", b"\x12\x34")))[0, :, 0].tolist() == [255, 128]


def test_16_bits_are_scaled_not_clipped():
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    assert np.abs(decode(encode(Image.fromarray(ramp)))[..., 0].ravel() - np.arange(256.0)).max() <= 1
    assert np.abs(decode(encode(Image.fromarray(ramp), "TIFF"))[..., 0].ravel() - np.arange(256.0)).max() <= 1
    pgm = b"P5 16 16 65535\n" + ramp.astype(">u2").tobytes()
    assert np.abs(decode(pgm)[..., 0].ravel() - np.arange(256.0)).max() <= 1


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 0.5, 1]], np.float32), [0, 128, 255]),
        (np.array([[0, 100, 255]], np.float32), [0, 100, 255]),
        (np.array([[np.nan, -1, 1]], np.float32), [128, 0, 255]),
        (np.array([[0, 65535, 32768]], np.int32), [0, 255, 128]),
        (np.array([[0, 1_000_000, 500_000]], np.int32), [0, 255, 128]),
        (np.zeros((1, 3), np.float32), [0, 0, 0]),
    ],
)
def test_floats_and_32_bit_integers(values, expected):
    assert decode(encode(Image.fromarray(values), "TIFF"))[0, :, 0].tolist() == expected


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_image_without_a_finite_pixel_is_refused(value):
    with pytest.raises(ImageError, match=r"the image is broken \(all of its pixels are NaN or infinite\)"):
        decode(encode(Image.fromarray(np.full((2, 3), value, np.float32)), "TIFF"))


def test_white_is_zero_is_inverted():
    tags = {262: 0}
    data = encode(Image.fromarray(np.array([[0, 65535]], np.uint16)), "TIFF", tiffinfo=tags)
    assert decode(data)[0, :, 0].tolist() == [255, 0]


def test_grey_and_bilevel_become_rgb():
    assert decode(encode(Image.new("L", (2, 2), 77))).tolist() == [[[77] * 3] * 2] * 2
    assert decode(encode(Image.new("1", (1, 1), 1))).tolist() == [[[255] * 3]]


def test_cmyk_is_converted():
    ink = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    red, green, blue = decode(encode(ink, "JPEG", quality=95))[8, 8]
    assert red > 240
    assert green < 15
    assert blue < 15


def test_an_rgb_profile_is_applied_and_a_broken_one_ignored():
    image = Image.new("RGB", (2, 2), (200, 100, 50))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert decode(encode(image, icc_profile=srgb)).tolist() == [[[200, 100, 50]] * 2] * 2
    assert decode(encode(image, icc_profile=b"garbage")).tolist() == [[[200, 100, 50]] * 2] * 2
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    assert decode(encode(image, icc_profile=lab)).tolist() == [[[200, 100, 50]] * 2] * 2
    # The same profile with red and green swapped: its (200, 100, 50) is (100, 200, 50) in sRGB.
    swapped = srgb.replace(b"rXYZ", b"tttt").replace(b"gXYZ", b"rXYZ").replace(b"tttt", b"gXYZ")
    swapped = swapped.replace(b"s\0R\0G\0B", b"x\0X\0X\0X").replace(b"sRGB", b"xXXX")
    converted = decode(encode(image, icc_profile=swapped)).astype(int)
    assert np.abs(converted - [100, 200, 50]).max() <= 3


def test_deep_grey_is_converted_in_bands_without_a_seam(monkeypatch):
    values = np.linspace(-3, 70_000, 40 * 50).astype(np.float32).reshape(40, 50)
    data = encode(Image.fromarray(values), "TIFF")
    whole = decode(data)
    monkeypatch.setattr("zoo.data.images.colour.BAND", 120)
    assert np.array_equal(decode(data), whole)
    assert np.abs(np.diff(whole[..., 0].ravel().astype(int))).max() <= 1


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "I;16", "RGB"])
def test_every_conversion_in_bands_is_the_same_without_a_seam(mode, monkeypatch):
    rng = np.random.default_rng(0)
    if mode == "I;16":
        data = encode(Image.fromarray(rng.integers(0, 65_536, (40, 50), np.uint16)))
    elif mode == "P":
        data = encode(Image.fromarray(rng.integers(0, 256, (40, 50, 3), np.uint8)).quantize(8), transparency=3)
    else:
        data = encode(Image.fromarray(rng.integers(0, 256, (40, 50, 4), np.uint8), "RGBA").convert(mode))
    whole = decode(data)
    monkeypatch.setattr("zoo.data.images.colour.BAND", 120)
    assert np.array_equal(decode(data), whole)


def make_profile(stages: int) -> bytes:
    """Returns an RGB profile that calculates in stages, which all share the same bytes. Source: ICC.1:2022."""
    matrix = b"matf\0\0\0\0" + struct.pack(">HH12f", 3, 3, 0.5, 0.1, 0.1, 0.1, 0.5, 0.1, 0.1, 0.1, 0.5, 0, 0, 0)
    calculation = b"mpet\0\0\0\0" + struct.pack(">HHL", 3, 3, stages)
    calculation += struct.pack(">LL", 16 + 8 * stages, len(matrix)) * stages + matrix
    white = b"XYZ \0\0\0\0" + struct.pack(">LLL", 0xF6D6, 0x10000, 0xD32D)
    table = struct.pack(">L4sLL4sLL", 2, b"wtpt", 156, 20, b"D2B0", 176, len(calculation))
    head = struct.pack(
        ">L4sL4s4s4s12x4s", 176 + len(calculation), b"lcms", 0x04300000, b"mntr", b"RGB ", b"XYZ ", b"acsp"
    )
    return head.ljust(68, b"\0") + white[8:] + bytes(48) + table + white + calculation


def test_an_icc_profile_that_calculates_for_minutes_is_ignored():
    image = Image.new("RGB", (20, 10), (200, 100, 50))
    converted = decode(encode(image, icc_profile=make_profile(3)))
    assert np.abs(converted.astype(int) - [200, 100, 50]).max() > 20
    started = time.process_time()
    for profile in (make_profile(65), make_profile(20_000), make_profile(3) + bytes(9 << 20), b"\0" * 140, b"mpet"):
        assert np.array_equal(decode(encode(image, "TIFF", icc_profile=profile)), np.asarray(image))
    assert time.process_time() - started < 1
