"""Small files that are dear to decode are refused before Pillow works on them; what is large by nature is not."""

import struct
import time
import tracemalloc

import numpy as np
import pytest
from PIL import Image
from problem_images import (
    bmp_header,
    encoded,
    gif_with_comment,
    jpeg_with_exif,
    named,
    png_of,
    problems,
    scans,
    scene,
    strips,
)

from zoo.data.check.header import read_header
from zoo.data.images import limits as cost
from zoo.data.images.decode import decode, open_header
from zoo.data.images.limits import DearError, check_bytes, check_opened
from zoo.errors import ImageError

DEAR = [problem for problem in problems() if problem.dear]


@pytest.mark.parametrize("problem", DEAR, ids=lambda problem: problem.name)
def test_it_is_refused_at_once_and_in_little_memory(problem):
    tracemalloc.start()
    started = time.perf_counter()
    with pytest.raises(ImageError, match=rf"x\.img: it is made to be dear to read: .*{problem.refused}") as caught:
        decode(problem.content, name="x.img")
    seconds, peak = time.perf_counter() - started, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert caught.value.hint == "Save it anew with another program."
    assert seconds < 2
    assert peak < 3 * len(problem.content) + (16 << 20)


def test_the_header_of_one_is_not_looked_at_either():
    assert read_header(strips(200_000)) is None
    assert read_header(gif_with_comment(2 << 20)) is None


@pytest.mark.parametrize(
    "content",
    [
        scans(20),
        jpeg_with_exif(named(50, 1 << 17)),
        named(50, 1 << 17),
        strips(50_000),
        gif_with_comment(500_000),
        png_of(1, 1, b"", chunks=5_000),
        # The marker of a scan, in metadata and behind the end of the image.
        encoded(scene(), "JPEG", comment=b"\xff\xda" * 3000) + b"\xff\xda" * 3000,
        encoded(
            scene(), "GIF", save_all=True, append_images=[Image.new("RGB", (60, 40), "blue")] * 3, comment=b"c" * 200
        ),
        b"",
        b"\xff\xd8\xff",
        b"GIF89a",
        b"II*\0",
        b"II+\0\x08\0\0\0" + b"\xff" * 8,
        b"\x89PNG\r\n\x1a\n\0",
    ],
    ids=range(14),
)
def test_what_is_large_by_nature_or_cut_off_is_left_to_pillow(content):
    check_bytes(content)


def test_a_dear_page_behind_the_first_is_found_and_directories_that_go_in_circles_end():
    first = struct.pack("<H", 0) + struct.pack("<L", 14)
    far = b"II*\0" + struct.pack("<L", 8) + first
    entries = b"".join(struct.pack("<HHLL", tag, 1, 1 << 20, 8) for tag in range(40))
    with pytest.raises(DearError, match="names 40 MiB"):
        check_bytes(far + struct.pack("<H", 40) + entries + bytes(4))
    check_bytes(far + struct.pack("<H", 0) + struct.pack("<L", 8))


def test_pages_that_share_one_large_directory_are_counted_once_too_often():
    """Each would be read anew: 40 pages of 60,000 fields in a file of one."""
    fields = struct.pack("<HHLL", 700, 0, 0, 0) * 60_000
    steps = [8 + 14 * page for page in range(40)]
    with pytest.raises(DearError, match="more than 1,000,000 fields"):
        check_bytes(_overlapping(steps, fields))


def _overlapping(steps, fields):
    """Returns a TIFF with a directory at each step; all of them run on into the same fields."""
    content = bytearray(b"II*\0" + struct.pack("<L", steps[0]) + bytes(14 * len(steps)) + fields + bytes(1000))
    for this, following in zip(steps, [*steps[1:], 0], strict=True):
        struct.pack_into("<H", content, this, 60_000)
        struct.pack_into("<L", content, this + 2 + 12 * 60_000, following)
    return bytes(content)


def test_big_tiffs_and_both_byte_orders_are_counted():
    entry = struct.pack(">HHQQ", 700, 1, 1 << 30, 16)
    with pytest.raises(DearError, match="names 1,024 MiB"):
        check_bytes(b"MM\0+\0\x08\0\0" + struct.pack(">QQ", 16, 1) + entry + bytes(8))
    with pytest.raises(DearError, match="names 1,024 MiB"):
        check_bytes(b"MM\0*" + struct.pack(">LH", 8, 1) + struct.pack(">HHLL", 700, 1, 1 << 30, 8) + bytes(4))


def test_exif_data_as_text_is_counted_and_nonsense_in_its_place_ignored():
    image = Image.new("RGB", (2, 2))
    image.info["Raw profile type exif"] = "\nexif\n9\n" + named(200, 1 << 17).hex()
    with pytest.raises(DearError, match="names 25 MiB"):
        check_opened(image, b"")
    image.info["Raw profile type exif"] = "\nexif\n9\nno hex"
    check_opened(image, b"")


def test_what_pillow_decodes_in_python_may_not_be_large(monkeypatch):
    monkeypatch.setattr(cost, "_MAX_SLOW", 1000)
    with pytest.raises(ImageError, match="an encoding that is slow to read"):
        decode(b"P3 20 20 255\n" + b"0 " * 1200)
    assert decode(b"P6 20 20 255\n" + bytes(1200)).shape == (20, 20, 3)


def test_deep_grey_is_converted_in_bands_and_no_seam_is_seen(monkeypatch):
    values = np.linspace(-3, 70_000, 40 * 50).astype(np.float32).reshape(40, 50)
    data = encoded(Image.fromarray(values), "TIFF")
    whole = decode(data)
    monkeypatch.setattr("zoo.data.images.colour._BAND", 120)
    assert np.array_equal(decode(data), whole)
    assert np.abs(np.diff(whole[..., 0].ravel().astype(int))).max() <= 1


def test_a_header_that_promises_far_too_many_pixels_opens_nothing():
    with pytest.raises(Image.DecompressionBombError):
        open_header(bmp_header(2_000_000, 3_000_000))
