"""A photo in tiles costs what its tiles cost, however often it refers to the same one."""

import struct
import time

import pytest
from PIL import Image, features
from problem_images import encode

from zoo.data.images import workload
from zoo.data.images.avif import frame_pixels
from zoo.data.images.decode import decode, open_header
from zoo.data.images.formats import reads_heic
from zoo.data.images.heif_boxes import tile_pixels
from zoo.errors import ImageError

AVIF = pytest.param("AVIF", marks=pytest.mark.skipif(not features.check("avif"), reason="This Pillow reads no AVIF."))
HEIF = pytest.param("HEIF", marks=pytest.mark.skipif(not reads_heic(), reason="pillow-heif is not installed."))


def make_tile(kind, side):
    if kind == "HEIF":
        import pillow_heif

        pillow_heif.register_heif_opener()
    return encode(Image.new("RGB", (side, side), "teal"), kind)


def box(kind, *contents):
    content = b"".join(contents)
    return struct.pack(">L4s", 8 + len(content), kind) + content


def full_box(kind, version, flags, *contents):
    return box(kind, struct.pack(">L", version << 24 | flags), *contents)


def make_grid(kind, *, rows, columns, size, tile=256, stated=None, shared=False, wide=False):
    """Returns a photo of `rows` x `columns` tiles; with `shared`, the same one everywhere.

    Args:
        size: Width and height of the photo in its grid.
        tile: Side of a tile.
        stated: Width and height in the container.
        wide: Whether the numbers of items have 32 bits in the references.
    """
    source = make_tile(kind, tile)
    name = b"hvcC" if kind == "HEIF" else b"av1C"
    place = source.index(name) - 4
    codec = source[place : place + int.from_bytes(source[place : place + 4])]
    coded = source[source.index(b"mdat") + 4 :]
    count = rows * columns
    ids = [2] * count if shared else list(range(2, 2 + count))
    grid = struct.pack(">BBBBLL", 0, 1, rows - 1, columns - 1, *size)
    brand, item = (b"heic", b"hvc1") if kind == "HEIF" else (b"avif", b"av01")
    entries = [full_box(b"infe", 2, 0, struct.pack(">HH", 1, 0), b"grid\0")]
    entries += [full_box(b"infe", 2, 1, struct.pack(">HH", each, 0), item, b"\0") for each in sorted(set(ids))]
    letter = "L" if wide else "H"
    numbers = struct.pack(f">{letter}H{count}{letter}", 1, count, *ids)
    areas = [full_box(b"ispe", 0, 0, struct.pack(">LL", *sides)) for sides in (stated or size, (tile, tile))]
    owned = [struct.pack(">HBBB", 1, 2, 1, 4)]
    owned += [struct.pack(">HBBBB", each, 3, 2, 0x83, 4) for each in sorted(set(ids))]
    properties = box(
        b"iprp",
        box(b"ipco", *areas, codec, full_box(b"pixi", 0, 0, b"\3\x08\x08\x08")),
        full_box(b"ipma", 0, 0, struct.pack(">L", len(owned)), *owned),
    )

    def meta(start):
        places = [struct.pack(">HHHHLL", 1, 1, 0, 1, 0, len(grid))]
        places += [struct.pack(">HHHHLL", each, 0, 0, 1, start, len(coded)) for each in sorted(set(ids))]
        return full_box(
            b"meta",
            0,
            0,
            full_box(b"hdlr", 0, 0, bytes(4), b"pict", bytes(13)),
            full_box(b"pitm", 0, 0, b"\0\1"),
            full_box(b"iloc", 1, 0, b"\x44\0", struct.pack(">H", len(places)), *places),
            full_box(b"iinf", 0, 0, struct.pack(">H", len(entries)), *entries),
            full_box(b"iref", int(wide), 0, box(b"dimg", numbers)),
            properties,
            box(b"idat", grid),
        )

    head = box(b"ftyp", brand, bytes(4), b"mif1", brand, b"miaf")
    return head + meta(len(head) + len(meta(0)) + 8) + box(b"mdat", coded)


@pytest.mark.parametrize("kind", [AVIF, HEIF])
def test_an_ordinary_photo_in_tiles_is_decoded(kind):
    data = make_grid(kind, rows=2, columns=3, size=(768, 512))
    assert tile_pixels(data) == 6 * 256 * 256
    assert decode(data).shape == (512, 768, 3)


@pytest.mark.parametrize("wide", [False, True])
@HEIF.marks[0]
def test_a_tile_counts_as_often_as_it_is_referred_to(wide):
    data = make_grid("HEIF", rows=30, columns=30, size=(512, 512), shared=True, wide=wide)
    assert tile_pixels(data) == 900 * 256 * 256
    for length in range(0, len(data), 7):
        assert tile_pixels(data[:length]) <= 900 * 256 * 256


@HEIF.marks[0]
def test_a_small_file_of_many_large_tiles_is_refused_before_it_is_decoded():
    data = make_grid("HEIF", rows=30, columns=30, size=(1024, 1024), tile=1024, shared=True)
    assert len(data) < 5000
    started = time.process_time()
    with pytest.raises(ImageError, match=r"decoding it takes about 42 s, more than the limit of 5 s"):
        decode(data)
    assert time.process_time() - started < 1


@AVIF.marks[0]
def test_tiles_of_an_image_that_states_to_be_small_count():
    data = make_grid("AVIF", rows=8, columns=8, size=(2048, 2048), stated=(64, 64))
    assert frame_pixels(data) == (2048 * 2048, 2048 * 2048)
    with open_header(data) as image:
        assert image.size == (64, 64)
        assert workload.estimate_workload(image, data, image.size).memory > 16 * 2048 * 2048
    large = make_grid("AVIF", rows=64, columns=64, size=(16_384, 16_384), stated=(64, 64))
    with pytest.raises(ImageError, match=r"decoding it takes 4\.0 GiB, more than the limit of 3"):
        decode(large)
