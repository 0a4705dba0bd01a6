"""Images that break image code, made here: one of each kind, with what is to come of it."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageCms

SIZE = (60, 40)  # width and height of most
# What a camera held so stores: the inverse of what turns it upright.
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
    """An image that is not as usual.

    Attributes:
        name: Of the file.
        content: Its bytes.
        refused: Why it is refused, a part of the message; empty where it is read.
        corner: The colour at the top left of what is read, within 6 levels; None where that is not looked at.
        size: Width and height of what is read.
        expensive: Whether it is refused because decoding it would take minutes, or fill the memory.
    """

    name: str
    content: bytes
    refused: str = ""
    corner: tuple[int, int, int] | None = (230, 30, 30)
    size: tuple[int, int] = SIZE
    expensive: bool = False


def scene(size: tuple[int, int] = SIZE) -> Image.Image:
    """Returns a picture that is red at the top left alone, so that every turn of it shows."""
    width, height = size
    pixels = np.full((height, width, 3), (40, 90, 200), np.uint8)
    pixels[: (height + 1) // 2, : (width + 1) // 2] = (230, 30, 30)
    return Image.fromarray(pixels)


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def problems() -> list[Problem]:
    """Returns one image of each kind."""
    return [*_turned(), *_colours(), *_transparent(), *_animated(), *_odd(), *_refused(), *_expensive()]


def _turned() -> list[Problem]:
    found = []
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored = scene().transpose(STORED[orientation]) if orientation > 1 else scene()
        found.append(Problem(f"exif-{orientation}.jpg", encoded(stored, "JPEG", exif=exif, quality=95)))
    return found


def _colours() -> list[Problem]:
    ink = Image.new("CMYK", SIZE, (0, 221, 221, 26))
    cmyk = encoded(ink, "JPEG", quality=95)
    # Browsers take inks for stored upside down, as Adobe's programs store them, whether Adobe's marker says so or not.
    at = cmyk.index(b"\xff\xee")
    plain = cmyk[:at] + cmyk[at + 2 + int.from_bytes(cmyk[at + 2 : at + 4]) :]
    deep = np.full(SIZE[::-1], 40_000, np.uint16)
    grey = {"corner": (155, 155, 155)}
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    profile = profile[:24] + bytes(12) + profile[36:]  # when it was made
    return [
        Problem("cmyk-adobe.jpg", cmyk),
        Problem("cmyk-plain.jpg", plain),
        Problem("cmyk.tif", encoded(ink, "TIFF")),
        Problem("grey-16.png", encoded(Image.fromarray(deep)), **grey),
        Problem("grey-16.tif", encoded(Image.fromarray(deep), "TIFF"), **grey),
        Problem("grey-float.tif", encoded(Image.fromarray(deep.astype(np.float32)), "TIFF"), **grey),
        Problem("grey-8.png", encoded(Image.new("L", SIZE, 155)), **grey),
        Problem("lab.tif", encoded(Image.new("LAB", SIZE, (255, 128, 128)), "TIFF"), corner=(255, 255, 255)),
        Problem("broken-profile.png", encoded(scene(), icc_profile=b"garbage")),
        Problem("profile-of-another-space.png", encoded(scene(), icc_profile=profile)),
    ]


def _transparent() -> list[Problem]:
    clear = scene().convert("RGBA")
    clear.putalpha(Image.new("L", SIZE, 0))
    half = scene().convert("LA")
    half.putalpha(Image.new("L", SIZE, 128))
    palette = scene().quantize(4)
    return [
        Problem("rgba.png", encoded(clear), corner=(255, 255, 255)),
        Problem("rgba.webp", encoded(clear, "WEBP", lossless=True), corner=(255, 255, 255)),
        Problem("la.png", encoded(half), corner=(172, 172, 172)),
        Problem("p-clear.png", encoded(palette, transparency=palette.getpixel((0, 0))), corner=(255, 255, 255)),
        Problem("p-alpha.png", encoded(palette, transparency=b"\0" * 4), corner=(255, 255, 255)),
        Problem("p.gif", encoded(palette, "GIF")),
    ]


def _animated() -> list[Problem]:
    later = [Image.new("RGB", SIZE, colour) for colour in ("blue", "green")]
    frames = {"save_all": True, "append_images": later}
    return [
        Problem("animated.gif", encoded(scene(), "GIF", **frames)),
        Problem("animated.webp", encoded(scene(), "WEBP", lossless=True, **frames)),
        Problem("animated.png", encoded(scene(), "PNG", **frames)),
        Problem("pages.tif", encoded(scene(), "TIFF", **frames)),
        Problem("twins.mpo", encoded(scene(), "MPO", quality=95, **frames)),
    ]


def _odd() -> list[Problem]:
    return [
        Problem("progressive.jpg", encoded(scene(), "JPEG", quality=95, progressive=True)),
        Problem("png-named.jpg", encoded(scene())),
        Problem("jpeg-named.gif", encoded(scene(), "JPEG", quality=95)),
        Problem("trailing.jpg", encoded(scene(), "JPEG", quality=95) + b"\xff\xda" * 500),
        Problem("1x1.png", encoded(scene((1, 1))), size=(1, 1)),
        Problem("1x10000.png", encoded(scene((1, 10_000))), size=(1, 10_000)),
        Problem("10000x1.jpg", encoded(scene((10_000, 1)), "JPEG", quality=95), size=(10_000, 1)),
        Problem("broken-exif.jpg", encoded(scene(), "JPEG", quality=95, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x09")),
        Problem("no-exif.jpg", encoded(scene(), "JPEG", quality=95, exif=b"Exif\0\0")),
    ]


def _refused() -> list[Problem]:
    jpeg, png = encoded(scene((200, 200)), "JPEG"), encoded(scene((200, 200)))
    bomb = png_of(30_000, 30_000, zlib.compress(b""))
    return [
        Problem("truncated.jpg", jpeg[: len(jpeg) * 2 // 3], refused="truncated"),
        Problem("truncated.png", png[: len(png) * 2 // 3], refused="the image is broken"),
        Problem("header-alone.jpg", jpeg[:20], refused="not an image"),
        Problem("empty.jpg", b"", refused="the file is empty"),
        Problem("zeros.jpg", b"\0" * 1000, refused="contains only zeros"),
        Problem("text.jpg", b"I am no photo", refused="not an image"),
        Problem("page.jpg", b"<!DOCTYPE html><p>Not found", refused="web page"),
        Problem("drawing.png", b"<svg xmlns='http://www.w3.org/2000/svg'/>", refused="SVG"),
        Problem("script.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", refused="not an image"),
        Problem("too-large.png", bomb, refused="pixels, more than the limit"),
        Problem("far-too-large.bmp", bmp_header(2_000_000, 3_000_000), refused="pixels, more than the limit"),
        Problem("no-pixels.gif", b"GIF89a\0\0\0\0\0\0\0;", refused="not an image"),
    ]


def _expensive() -> list[Problem]:
    """Small files over which Pillow would work for minutes, or fill the memory."""
    text = b"P3 1700 1700 255\n" + b"0 " * (3 * 1700 * 1700)
    files = {
        "scans.jpg": (scans(200), "more than 100 scans"),
        "exif-names-much.jpg": (jpeg_with_exif(named(200, 1 << 17)), "metadata that refers to 25 MiB"),
        "exif-names-much.png": (encoded(scene(), exif=named(200, 1 << 17)), "metadata that refers to 25 MiB"),
        "tags-name-much.tif": (named(200, 1 << 17), "metadata that refers to 25 MiB"),
        "strips.tif": (strips(200_000), "200,000 strips"),
        "comment.gif": (gif_with_comment(2 << 20), "more than 1 MiB between its frames"),
        "text.ppm": (text, "slow to decode"),
        "chunks.png": (png_of(1, 1, b"", chunks=110_000), "more than 100,000 chunks"),
    }
    return [Problem(name, content, refused=why, expensive=True) for name, (content, why) in files.items()]


def png_of(width: int, height: int, pixels: bytes, *, chunks: int = 0) -> bytes:
    """Returns a PNG whose header says this size, with `chunks` empty chunks before its pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"zoOo", b"") * chunks + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def bmp_header(width: int, height: int) -> bytes:
    return b"BM" + struct.pack("<LHHL", 54, 0, 0, 54) + struct.pack("<LllHHLLllLL", 40, width, height, 1, 24, *[0] * 6)


def named(tags: int, length: int) -> bytes:
    """Returns a TIFF whose directory has so many tags, each of which names the same bytes."""
    behind = 8 + 2 + 12 * tags + 4
    entries = b"".join(struct.pack("<HHLL", 1000 + tag, 1, length, behind) for tag in range(tags))
    return b"II*\0" + struct.pack("<LH", 8, tags) + entries + bytes(4) + b"x" * length


def jpeg_with_exif(exif: bytes) -> bytes:
    """Returns a JPEG whose EXIF data lie in several segments, which Pillow joins."""
    jpeg = encoded(scene(), "JPEG")
    parts = [b"Exif\0\0" + exif[start : start + 60_000] for start in range(0, len(exif), 60_000)]
    return jpeg[:2] + b"".join(b"\xff\xe1" + struct.pack(">H", len(part) + 2) + part for part in parts) + jpeg[2:]


def scans(count: int) -> bytes:
    """Returns a progressive JPEG that repeats its last scan."""
    jpeg = encoded(scene(), "JPEG", progressive=True)
    return jpeg[:-2] + jpeg[jpeg.rindex(b"\xff\xda") : -2] * count + b"\xff\xd9"


def strips(count: int) -> bytes:
    """Returns a TIFF of a pixel's width, with a strip for every pixel, all of them the same one."""
    behind = 8 + 2 + 12 * 9 + 4
    longs = {257: (4, 1, count), 273: (4, count, behind), 279: (3, count, behind + 4 * count)}
    shorts = {256: 1, 258: 8, 259: 1, 262: 1, 277: 1, 278: 1}
    tags = {**{tag: (3, 1, value) for tag, value in shorts.items()}, **longs}
    entries = b"".join(struct.pack("<HHLL", tag, *tags[tag]) for tag in sorted(tags))
    head = b"II*\0" + struct.pack("<LH", 8, len(tags)) + entries + bytes(4)
    return head + struct.pack("<L", 8) * count + b"\1\0" * count


def gif_with_comment(length: int) -> bytes:
    gif = encoded(scene(), "GIF")
    behind = 13 + 3 * (2 << (gif[10] & 7))
    return gif[:behind] + b"!\xfe" + (b"\xff" + b"c" * 255) * (length // 255) + b"\0" + gif[behind:]
