"""Images that break image code: one of each kind, with the expected result."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageCms

SIZE = (60, 40)  # width and height of most images
# EXIF orientation -> how the camera stores the pixels: the inverse of what turns them upright.
STORED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@dataclass(frozen=True, slots=True)
class Problem:
    """An unusual image.

    Attributes:
        name: File name.
        content: File content.
        refused: Part of the error message if the image is refused; empty if it is read.
        corner: Colour at the top left of the decoded image, within 6 levels; None to skip the check.
        size: Width and height of the decoded image.
        expensive: Whether it is refused because decoding would take minutes or fill the memory.
    """

    name: str
    content: bytes
    refused: str = ""
    corner: tuple[int, int, int] | None = (230, 30, 30)
    size: tuple[int, int] = SIZE
    expensive: bool = False


def make_scene(size: tuple[int, int] = SIZE) -> Image.Image:
    """Returns an image that is red at the top left only, so that every rotation is visible."""
    width, height = size
    pixels = np.full((height, width, 3), (40, 90, 200), np.uint8)
    pixels[: (height + 1) // 2, : (width + 1) // 2] = (230, 30, 30)
    return Image.fromarray(pixels)


def encode(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def make_problems() -> list[Problem]:
    """Returns one image of each kind."""
    return [*_rotated(), *_colours(), *_transparent(), *_animated(), *_unusual(), *_refused(), *_expensive()]


def _rotated() -> list[Problem]:
    found = []
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored = make_scene().transpose(STORED[orientation]) if orientation > 1 else make_scene()
        found.append(Problem(f"exif-{orientation}.jpg", encode(stored, "JPEG", exif=exif, quality=95)))
    return found


def _colours() -> list[Problem]:
    ink = Image.new("CMYK", SIZE, (0, 221, 221, 26))
    cmyk = encode(ink, "JPEG", quality=95)
    # Browsers treat all CMYK values as inverted, as Adobe's programs store them, with or without Adobe's marker.
    at = cmyk.index(b"\xff\xee")
    plain = cmyk[:at] + cmyk[at + 2 + int.from_bytes(cmyk[at + 2 : at + 4]) :]
    deep = np.full(SIZE[::-1], 40_000, np.uint16)
    grey = {"corner": (155, 155, 155)}
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    profile = profile[:24] + bytes(12) + profile[36:]  # the creation date
    return [
        Problem("cmyk-adobe.jpg", cmyk),
        Problem("cmyk-plain.jpg", plain),
        Problem("cmyk.tif", encode(ink, "TIFF")),
        Problem("grey-16.png", encode(Image.fromarray(deep)), **grey),
        Problem("grey-16.tif", encode(Image.fromarray(deep), "TIFF"), **grey),
        Problem("grey-float.tif", encode(Image.fromarray(deep.astype(np.float32)), "TIFF"), **grey),
        Problem("grey-8.png", encode(Image.new("L", SIZE, 155)), **grey),
        Problem("lab.tif", encode(Image.new("LAB", SIZE, (255, 128, 128)), "TIFF"), corner=(255, 255, 255)),
        Problem("broken-profile.png", encode(make_scene(), icc_profile=b"garbage")),
        Problem("profile-of-another-space.png", encode(make_scene(), icc_profile=profile)),
    ]


def _transparent() -> list[Problem]:
    clear = make_scene().convert("RGBA")
    clear.putalpha(Image.new("L", SIZE, 0))
    half = make_scene().convert("LA")
    half.putalpha(Image.new("L", SIZE, 128))
    palette = make_scene().quantize(4)
    return [
        Problem("rgba.png", encode(clear), corner=(255, 255, 255)),
        Problem("rgba.webp", encode(clear, "WEBP", lossless=True), corner=(255, 255, 255)),
        Problem("la.png", encode(half), corner=(172, 172, 172)),
        Problem("p-clear.png", encode(palette, transparency=palette.getpixel((0, 0))), corner=(255, 255, 255)),
        Problem("p-alpha.png", encode(palette, transparency=b"\0" * 4), corner=(255, 255, 255)),
        Problem("p.gif", encode(palette, "GIF")),
    ]


def _animated() -> list[Problem]:
    later = [Image.new("RGB", SIZE, colour) for colour in ("blue", "green")]
    frames = {"save_all": True, "append_images": later}
    return [
        Problem("animated.gif", encode(make_scene(), "GIF", **frames)),
        Problem("animated.webp", encode(make_scene(), "WEBP", lossless=True, **frames)),
        Problem("animated.png", encode(make_scene(), "PNG", **frames)),
        Problem("pages.tif", encode(make_scene(), "TIFF", **frames)),
        Problem("stereo.mpo", encode(make_scene(), "MPO", quality=95, **frames)),
    ]


def _unusual() -> list[Problem]:
    return [
        Problem("progressive.jpg", encode(make_scene(), "JPEG", quality=95, progressive=True)),
        Problem("png-named.jpg", encode(make_scene())),
        Problem("jpeg-named.gif", encode(make_scene(), "JPEG", quality=95)),
        Problem("trailing.jpg", encode(make_scene(), "JPEG", quality=95) + b"\xff\xda" * 500),
        Problem("1x1.png", encode(make_scene((1, 1))), size=(1, 1)),
        Problem("1x10000.png", encode(make_scene((1, 10_000))), size=(1, 10_000)),
        Problem("10000x1.jpg", encode(make_scene((10_000, 1)), "JPEG", quality=95), size=(10_000, 1)),
        Problem("broken-exif.jpg", encode(make_scene(), "JPEG", quality=95, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x09")),
        Problem("no-exif.jpg", encode(make_scene(), "JPEG", quality=95, exif=b"Exif\0\0")),
    ]


def _refused() -> list[Problem]:
    jpeg, png = encode(make_scene((200, 200)), "JPEG"), encode(make_scene((200, 200)))
    bomb = make_png(30_000, 30_000, zlib.compress(b""))
    return [
        Problem("truncated.jpg", jpeg[: len(jpeg) * 2 // 3], refused="truncated"),
        Problem("truncated.png", png[: len(png) * 2 // 3], refused="the image is broken"),
        Problem("header-only.jpg", jpeg[:20], refused="not an image"),
        Problem("empty.jpg", b"", refused="the file is empty"),
        Problem("zeros.jpg", b"\0" * 1000, refused="contains only zeros"),
        Problem("text.jpg", b"I am no photo", refused="not an image"),
        Problem("page.jpg", b"<!DOCTYPE html><p>Not found", refused="web page"),
        Problem("drawing.png", b"<svg xmlns='http://www.w3.org/2000/svg'/>", refused="SVG"),
        Problem("script.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", refused="not an image"),
        Problem("too-large.png", bomb, refused="pixels, more than the limit"),
        Problem("far-too-large.bmp", make_bmp_header(2_000_000, 3_000_000), refused="pixels, more than the limit"),
        Problem("no-pixels.gif", b"GIF89a\0\0\0\0\0\0\0;", refused="not an image"),
    ]


def _expensive() -> list[Problem]:
    """Small files that would keep Pillow busy for minutes or fill the memory."""
    text = b"P3 1700 1700 255\n" + b"0 " * (3 * 1700 * 1700)
    files = {
        "scans.jpg": (make_jpeg_with_scans(200), "more than 100 scans"),
        "exif-names-much.jpg": (
            make_jpeg_with_exif(make_tiff_with_tags(200, 1 << 17)),
            "metadata that refers to 25 MiB",
        ),
        "exif-names-much.png": (
            encode(make_scene(), exif=make_tiff_with_tags(200, 1 << 17)),
            "metadata that refers to 25 MiB",
        ),
        "tags-name-much.tif": (make_tiff_with_tags(200, 1 << 17), "metadata that refers to 25 MiB"),
        "strips.tif": (make_tiff_with_strips(200_000), "200,000 strips"),
        "comment.gif": (make_gif_with_comment(2 << 20), "more than 1 MiB between its frames"),
        "text.ppm": (text, "slow to decode"),
        "chunks.png": (make_png(1, 1, b"", chunks=110_000), "more than 100,000 chunks"),
        **{f"stray-{name}.jpg": (content, "more than 1 MiB of stray data") for name, content in _stray_jpegs().items()},
        "metadata.jpg": (b"\xff\xd8" + (b"\xff\xed\xff\xff" + bytes(65_533)) * 600, "more than 32 MiB of metadata"),
        "segments.jpg": (b"\xff\xd8" + b"\xff\xfe\0\2" * 110_000, "more than 100,000 segments"),
        "blocks.gif": (make_gif_with_blocks(3_100_000), "more than 3,000,000 blocks"),
        "spaces.ppm": (b"P6" + b" " * 70_000 + b"1 1 255\n\0\0\0", "a header of more than 64 KiB"),
        "comment.ppm": (b"P6\n1 1 #" + b"c" * 70_000 + b"\n255\n\0\0\0", "a header of more than 64 KiB"),
        "photo.ico": (make_icon(make_png(13_000, 13_000, b"")), "13000 x 13000 pixels in an icon"),
        "bitmap.ico": (make_icon(struct.pack("<LllHH", 40, 9000, 18000, 1, 24)), "9000 x 9000 pixels in an icon"),
        "chunks.ico": (make_icon(make_png(1, 1, b"", chunks=110_000)), "more than 100,000 chunks"),
        "boxes.jp2": (_jp2_with(b"\0\0\0\x08free" * 110_000), "more than 100,000 boxes or segments"),
        "header.jp2": (_jp2_with(struct.pack(">L", 5 << 20) + b"jp2h" + bytes(5 << 20)), "a header box of more than 4"),
        "segments.j2k": (_j2k_with(b"\xff\x30\0\2" * 110_000), "more than 100,000 boxes or segments"),
    }
    return [Problem(name, content, refused=why, expensive=True) for name, (content, why) in files.items()]


def make_png(width: int, height: int, pixels: bytes, *, chunks: int = 0) -> bytes:
    """Returns a PNG with this size in its header and `chunks` empty chunks before its pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"zoOo", b"") * chunks + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def make_bmp_header(width: int, height: int) -> bytes:
    return b"BM" + struct.pack("<LHHL", 54, 0, 0, 54) + struct.pack("<LllHHLLllLL", 40, width, height, 1, 24, *[0] * 6)


def make_tiff_with_tags(tags: int, length: int) -> bytes:
    """Returns a TIFF whose directory has `tags` tags that all refer to the same bytes."""
    behind = 8 + 2 + 12 * tags + 4
    entries = b"".join(struct.pack("<HHLL", 1000 + tag, 1, length, behind) for tag in range(tags))
    return b"II*\0" + struct.pack("<LH", 8, tags) + entries + bytes(4) + b"x" * length


def make_jpeg_with_exif(exif: bytes) -> bytes:
    """Returns a JPEG with its EXIF data in several segments, which Pillow joins."""
    jpeg = encode(make_scene(), "JPEG")
    parts = [b"Exif\0\0" + exif[start : start + 60_000] for start in range(0, len(exif), 60_000)]
    return jpeg[:2] + b"".join(b"\xff\xe1" + struct.pack(">H", len(part) + 2) + part for part in parts) + jpeg[2:]


def make_jpeg_with_scans(count: int) -> bytes:
    """Returns a progressive JPEG that repeats its last scan."""
    jpeg = encode(make_scene(), "JPEG", progressive=True)
    return jpeg[:-2] + jpeg[jpeg.rindex(b"\xff\xda") : -2] * count + b"\xff\xd9"


def make_tiff_with_strips(count: int) -> bytes:
    """Returns a TIFF that is one pixel wide, with a strip for every pixel, all at the same offset."""
    behind = 8 + 2 + 12 * 9 + 4
    longs = {257: (4, 1, count), 273: (4, count, behind), 279: (3, count, behind + 4 * count)}
    shorts = {256: 1, 258: 8, 259: 1, 262: 1, 277: 1, 278: 1}
    tags = {**{tag: (3, 1, value) for tag, value in shorts.items()}, **longs}
    entries = b"".join(struct.pack("<HHLL", tag, *tags[tag]) for tag in sorted(tags))
    head = b"II*\0" + struct.pack("<LH", 8, len(tags)) + entries + bytes(4)
    return head + struct.pack("<L", 8) * count + b"\1\0" * count


def make_gif_with_comment(length: int) -> bytes:
    gif = encode(make_scene(), "GIF")
    behind = 13 + 3 * (2 << (gif[10] & 7))
    return gif[:behind] + b"!\xfe" + (b"\xff" + b"c" * 255) * (length // 255) + b"\0" + gif[behind:]


def _stray_jpegs() -> dict[str, bytes]:
    """Returns JPEGs that consist of what Pillow passes over byte by byte, looking for a marker."""
    count = 2 << 20
    return {
        "zeros": b"\xff\xd8\xff" + bytes(count),
        "fill": b"\xff\xd8\xff" + b"\xff" * count,
        "escaped": b"\xff\xd8\xff\0" + b"\xff\0" * (count // 2),
        "restarts": b"\xff\xd8" + b"\xff\xd0" * (count // 2),
        "end": b"\xff\xd8\xff\xd9" + bytes(count),
        "extensions": b"\xff\xd8" + (b"\xff\xf0" + b"\1" * 65_000) * (count // 65_000),
        "behind": encode(make_scene(), "JPEG")[:20] + b"\xff\xd9" + bytes(count),
    }


def make_gif_with_blocks(count: int) -> bytes:
    """Returns a GIF whose frame consists of blocks of one byte."""
    gif = encode(make_scene(), "GIF")
    frame = gif.index(b",", 13 + 3 * (2 << (gif[10] & 7)))
    return gif[: frame + 10] + b"\x08" + b"\1\0" * count + b"\0;"


def make_icon(content: bytes) -> bytes:
    """Returns an icon of 32 x 32 pixels, as it claims, with this image."""
    return struct.pack("<HHHBBBBHHLL", 0, 1, 1, 32, 32, 0, 0, 1, 32, len(content), 22) + content


def _jp2_with(boxes: bytes) -> bytes:
    jp2 = encode(make_scene(), "JPEG2000")
    return jp2[:12] + boxes + jp2[12:]


def _j2k_with(segments: bytes) -> bytes:
    j2k = encode(make_scene(), "JPEG2000", no_jp2=True)
    coding = j2k.index(b"\xff\x52")
    return j2k[:coding] + segments + j2k[coding:]


def make_jpeg2000(side: int, *, block: int = 32, layers: int = 1) -> bytes:
    """Returns the headers of a square JPEG 2000 image, in blocks of this side and precincts of twice that, and no data.

    Source: ITU-T T.800, annex A.
    """
    size = struct.pack(">HLLLLLLLLH", 0, side, side, 0, 0, side, side, 0, 0, 3) + b"\7\1\1" * 3
    exponent = block.bit_length() - 1
    coding = struct.pack(">BBHB", 1, 0, layers, 0) + bytes([5, exponent - 2, exponent - 2, 0, 1])
    coding += bytes([(exponent + 1) * 0x11] * 6)
    quantization = b"\x40" + bytes([0x40, 0x48, 0x48, 0x50] + [0x48] * 12)
    segments = {0x51: size, 0x52: coding, 0x5C: quantization}
    header = b"".join(b"\xff%c" % kind + struct.pack(">H", 2 + len(body)) + body for kind, body in segments.items())
    part = b"\xff\x90" + struct.pack(">HHLBB", 10, 0, 0, 0, 1) + b"\xff\x93"
    return b"\xff\x4f" + header + part + b"\0\xff\xd9"


def make_tiff_with_tile(side: int) -> bytes:
    """Returns a TIFF of one pixel, in a tile of this side."""
    longs = {322: side, 323: side, 324: 8, 325: 8}
    shorts = {256: 1, 257: 1, 258: 8, 259: 8, 262: 1, 277: 1}
    tags = {**{tag: (3, value) for tag, value in shorts.items()}, **{tag: (4, value) for tag, value in longs.items()}}
    entries = b"".join(struct.pack("<HHLL", tag, tags[tag][0], 1, tags[tag][1]) for tag in sorted(tags))
    return b"II*\0" + struct.pack("<LH", 8, len(tags)) + entries + bytes(4)
