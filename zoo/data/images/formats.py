"""The formats of photos by file name and first bytes: those that can be read, and those not. Imports no Pillow."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import PurePath

from zoo.utils.installer import install_command

# By format as Pillow names it: the matching suffixes, the usual one first.
SUFFIXES = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".jfi"),
    "MPO": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),  # a JPEG followed by further images, as phones write it
    "PNG": (".png", ".apng"),
    "GIF": (".gif",),
    "WEBP": (".webp",),
    "AVIF": (".avif", ".avifs"),
    "HEIF": (".heic", ".heif", ".hif", ".heics", ".heifs"),
    "BMP": (".bmp", ".dib"),
    "DIB": (".bmp", ".dib"),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
    "JPEG2000": (".jp2", ".j2k", ".j2c", ".jpc", ".jpx", ".jpf"),
    "ICO": (".ico",),
    "TGA": (".tga",),
}
HEIC = "HEIC"
# Photos that no decoder here reads; people have to save them in another format.
_RAW = (
    ".dng .cr2 .cr3 .crw .nef .nrw .arw .srf .sr2 .orf .rw2 .raf .pef .srw .x3f .raw .rwl .3fr .fff .iiq .mrw .erf "
    ".dcr .kdc .mos .mef"
)
_UNREADABLE = {
    "RAW": _RAW.split(),
    "JPEG XL": [".jxl"],
    "Photoshop": [".psd", ".psb"],
    "GIMP": [".xcf"],
    "OpenEXR": [".exr"],
}
_READABLE_SUFFIXES = frozenset(suffix for name, suffixes in SUFFIXES.items() if name != "HEIF" for suffix in suffixes)
_UNREADABLE_SUFFIXES = {suffix: name for name, suffixes in _UNREADABLE.items() for suffix in suffixes}
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"II*\0", b"MM\0*")
# Of formats that Pillow does not recognise.
_UNREADABLE_MAGIC = {
    "Photoshop": (b"8BPS",),
    "GIMP": (b"gimp xcf",),
    "OpenEXR": (b"v/1\x01",),
    "JPEG XL": (b"\xff\x0a", b"\0\0\0\x0cJXL "),
    "RAW": (b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"IIU\0", b"\0\0\0\x18ftypcrx "),
}
_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1", b"heif")
START = 16  # bytes that show the format


@functools.cache
def reads_heic() -> bool:
    """Returns whether HEIC photos can be read: whether pillow-heif is installed."""
    return importlib.util.find_spec("pillow_heif") is not None


def has_image_suffix(name: str) -> bool:
    """Returns whether a file name ends like that of a photo that can be read."""
    suffix = PurePath(name).suffix.lower()
    return suffix in _READABLE_SUFFIXES or (suffix in SUFFIXES["HEIF"] and reads_heic())


def unreadable_format(name: str) -> str:
    """Returns the format of a photo that cannot be read, by its file name: ``"HEIC"``, ``"RAW"``; empty for others."""
    suffix = PurePath(name).suffix.lower()
    if suffix in SUFFIXES["HEIF"]:
        return "" if reads_heic() else HEIC
    return _UNREADABLE_SUFFIXES.get(suffix, "")


def describe_unreadable(unreadable: str) -> str:
    """Returns why a photo of such a format has no prediction."""
    return f"{unreadable} photos cannot be read; save it as JPEG"


def advise(unreadable: str) -> str:
    """Returns what to do about photos of a format that cannot be read."""
    if unreadable == HEIC:
        return f"Save them as JPEG, or install pillow-heif: {install_command('pillow-heif')}."
    return "Save them as JPEG."


def starts_like_photo(start: bytes) -> bool:
    """Returns whether the first `START` bytes of a file are those of a photo, whether or not it can be read."""
    webp = start[:4] == b"RIFF" and start[8:12] == b"WEBP"
    return start.startswith(_MAGIC) or webp or starts_like_heic(start) or bool(unreadable_content(start))


def unreadable_content(start: bytes) -> str:
    """Returns the format of a photo that cannot be read, by its first `START` bytes; empty for others, and for HEIC."""
    return next((name for name, magic in _UNREADABLE_MAGIC.items() if start.startswith(magic)), "")


def starts_like_heic(start: bytes) -> bool:
    """Returns whether the first `START` bytes of a file are those of a HEIC photo."""
    return start[4:8] == b"ftyp" and start[8:12] in _BRANDS
