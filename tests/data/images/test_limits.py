"""Small files that are expensive to decode are refused before Pillow decodes them; ordinary large ones are not."""

import contextlib
import struct
import time
from pathlib import Path

import pytest
from PIL import Image
from problem_images import (
    encode,
    make_bmp_header,
    make_gif_with_comment,
    make_jpeg_with_exif,
    make_jpeg_with_scans,
    make_png,
    make_problems,
    make_scene,
    make_tiff_with_strips,
    make_tiff_with_tags,
)

from zoo.data.check.header import read_header
from zoo.data.images import limits
from zoo.data.images.decode import decode, open_header
from zoo.data.images.limits import ExpensiveImageError, check_bytes, check_opened
from zoo.errors import ImageError

EXPENSIVE = [problem for problem in make_problems() if problem.expensive]


def peak_memory() -> int:
    """Returns the most bytes that this process has had in memory; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) << 10
    except OSError:
        return 0


def reset_peak() -> int:
    """Sets the peak to the bytes in memory now, and returns it."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return peak_memory()


@pytest.mark.parametrize("problem", EXPENSIVE, ids=lambda problem: problem.name)
def test_an_expensive_image_is_refused_fast_and_in_little_memory(problem):
    started, before = time.process_time(), reset_peak()
    with pytest.raises(
        ImageError, match=rf"x\.img: it appears crafted to be expensive to decode: .*{problem.refused}"
    ) as caught:
        decode(problem.content, name="x.img")
    seconds, peak = time.process_time() - started, peak_memory() - before
    assert caught.value.hint == "Save it again in another program."
    assert seconds < 2
    assert peak < 3 * len(problem.content) + (16 << 20)


def test_the_header_of_an_expensive_image_is_not_read_either():
    assert read_header(make_tiff_with_strips(200_000)) is None
    assert read_header(make_gif_with_comment(2 << 20)) is None


@pytest.mark.parametrize(
    "content",
    [
        make_jpeg_with_scans(20),
        make_jpeg_with_exif(make_tiff_with_tags(50, 1 << 17)),
        make_tiff_with_tags(50, 1 << 17),
        make_tiff_with_strips(50_000),
        make_gif_with_comment(500_000),
        make_png(1, 1, b"", chunks=5_000),
        # The marker of a scan in metadata and behind the end of the image.
        encode(make_scene(), "JPEG", comment=b"\xff\xda" * 3000) + b"\xff\xda" * 3000,
        encode(
            make_scene(),
            "GIF",
            save_all=True,
            append_images=[Image.new("RGB", (60, 40), "blue")] * 3,
            comment=b"c" * 200,
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
def test_ordinary_large_and_truncated_images_pass(content):
    check_bytes(content)


def test_an_expensive_second_page_is_found_and_cyclic_directories_end():
    first = struct.pack("<H", 0) + struct.pack("<L", 14)
    far = b"II*\0" + struct.pack("<L", 8) + first
    entries = b"".join(struct.pack("<HHLL", tag, 1, 1 << 20, 8) for tag in range(40))
    with pytest.raises(ExpensiveImageError, match="refers to 40 MiB"):
        check_bytes(far + struct.pack("<H", 40) + entries + bytes(4))
    check_bytes(far + struct.pack("<H", 0) + struct.pack("<L", 8))


def test_a_directory_that_pages_share_counts_once_per_page():
    """Pillow would read it again for each: 40 pages of 60,000 fields in a file with one such directory."""
    fields = struct.pack("<HHLL", 700, 0, 0, 0) * 60_000
    steps = [8 + 14 * page for page in range(40)]
    with pytest.raises(ExpensiveImageError, match="more than 1,000,000 fields"):
        check_bytes(_overlapping(steps, fields))


def _overlapping(steps, fields):
    """Returns a TIFF with a directory at each step; all of them extend over the same fields."""
    content = bytearray(b"II*\0" + struct.pack("<L", steps[0]) + bytes(14 * len(steps)) + fields + bytes(1000))
    for this, following in zip(steps, [*steps[1:], 0], strict=True):
        struct.pack_into("<H", content, this, 60_000)
        struct.pack_into("<L", content, this + 2 + 12 * 60_000, following)
    return bytes(content)


def test_big_tiffs_and_both_byte_orders_are_counted():
    entry = struct.pack(">HHQQ", 700, 1, 1 << 30, 16)
    with pytest.raises(ExpensiveImageError, match="refers to 1,024 MiB"):
        check_bytes(b"MM\0+\0\x08\0\0" + struct.pack(">QQ", 16, 1) + entry + bytes(8))
    with pytest.raises(ExpensiveImageError, match="refers to 1,024 MiB"):
        check_bytes(b"MM\0*" + struct.pack(">LH", 8, 1) + struct.pack(">HHLL", 700, 1, 1 << 30, 8) + bytes(4))


def test_exif_data_as_text_is_counted_and_invalid_text_is_ignored():
    image = Image.new("RGB", (2, 2))
    image.info["Raw profile type exif"] = "\nexif\n9\n" + make_tiff_with_tags(200, 1 << 17).hex()
    with pytest.raises(ExpensiveImageError, match="refers to 25 MiB"):
        check_opened(image, b"")
    image.info["Raw profile type exif"] = "\nexif\n9\nno hex"
    check_opened(image, b"")


def test_formats_that_pillow_decodes_in_python_must_be_small(monkeypatch):
    monkeypatch.setattr(limits, "_MAX_SLOW", 1000)
    with pytest.raises(ImageError, match="an encoding that is slow to decode"):
        decode(b"P3 20 20 255\n" + b"0 " * 1200)
    assert decode(b"P6 20 20 255\n" + bytes(1200)).shape == (20, 20, 3)


def test_a_header_with_far_too_many_pixels_is_refused():
    with pytest.raises(Image.DecompressionBombError):
        open_header(make_bmp_header(2_000_000, 3_000_000))
