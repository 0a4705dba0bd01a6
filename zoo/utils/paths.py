"""The paths that users pass, and the folder for downloads and caches."""

from __future__ import annotations

import errno
import os
import re
from itertools import islice
from pathlib import Path

import platformdirs

from zoo.errors import ConfigError, did_you_mean
from zoo.utils.text import short_repr

HOME_VARIABLE = "ZOO_HOME"
_MAX_QUOTED = 60  # characters of an invalid path in a message
_MAX_SHOWN = 200  # characters of a missing path in a message
_MAX_ENTRIES = 10_000  # of a folder in which near names are looked for
# No name of a run, a dataset or a backbone ends like these, although many contain dots: resnet50.a1_in1k.
_FILE_SUFFIXES = frozenset(
    """
    onnx pt pth pt2 ckpt bin safetensors pkl pickle h5 hdf5 keras pb tflite engine mlmodel npy npz age pem pub key
    csv tsv txt json jsonl toml yaml yml xlsx xls ods parquet feather arrow html md log py ipynb
    zip tar tgz gz bz2 xz zst 7z rar
    jpg jpeg jpe jfif png apng gif webp avif heic heif hif bmp dib tif tiff ppm pgm pbm pnm jp2 j2k ico tga svg psd
    jxl dng cr2 cr3 nef arw pdf mp4 mov avi mkv
    """.split()  # noqa: SIM905
)


def home() -> Path:
    """Returns the zoo's cache folder: ``$ZOO_HOME``, or a folder in the cache folder of the operating system.

    The folder need not exist.
    """
    override = os.environ.get(HOME_VARIABLE)
    if override:
        return Path(override).expanduser().absolute()
    return platformdirs.user_cache_path("finetune-zoo", appauthor=False)


def cache_folder(kind: str, name: str) -> Path:
    """Returns the folder for the downloads of `name`: ``home()/datasets/hotdog``, or ``home()/datasets/acme/cats``.

    Args:
        kind: The parent folder: ``"datasets"``.
        name: A bare or qualified name.

    Raises:
        ConfigError: The name would lead out of the parent folder.
    """
    parts = name.split("/")
    if any(part in ("", ".", "..") or "\\" in part or ":" in part or "\0" in part for part in parts):
        raise ConfigError(
            f"{name!r} is not a valid folder name.", hint="Names consist of lower-case letters, digits and _ . -"
        )
    return home().joinpath(kind, *parts)


def parse_path(text: str | os.PathLike[str]) -> Path:
    """Returns a path that a user wrote, with ``~`` expanded; it need not exist.

    Raises:
        ConfigError: The path is of another type, too long, or contains a null byte.
    """
    plain = os.fspath(text) if isinstance(text, str | os.PathLike) else None
    if not isinstance(plain, str):
        raise ConfigError(
            f"A path cannot be of type {type(text).__name__}.", hint="Pass a path as text or as a pathlib.Path."
        )
    path = Path(os.path.expanduser(plain))  # noqa: PTH111  pathlib raises if there is no such user
    try:
        path.stat()
    except ValueError:
        raise ConfigError(
            f"{str(text)[:_MAX_QUOTED]!r} is not a valid path: it contains a null byte or half a character."
        ) from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise ConfigError(f"{short_repr(plain)} is not a valid path: it is too long.") from None
    return path


def path_text(path: os.PathLike[str]) -> str:
    """Returns a path as text that is not taken for the name of something: ``Path("photos")`` becomes ``"./photos"``.

    Raises:
        ConfigError: As for `parse_path`.
    """
    return os.path.join(os.curdir, parse_path(path))  # noqa: PTH118  pathlib drops the dot


def is_path_like(text: str) -> bool:
    """Returns whether a text is meant as a path rather than as the name of something: by its form alone."""
    return has_file_suffix(text) or text.startswith((".", "~")) or "/" in text or "\\" in text or os.sep in text


def describe_missing_path(text: str | os.PathLike[str]) -> str:
    """Returns the message about a path that does not exist: ``"There is no file photo.jpg."``."""
    path = os.fsdecode(text)
    shown = path if len(path) <= _MAX_SHOWN else f"{path[:_MAX_SHOWN]}..."
    return f"There is no {'file' if has_file_suffix(path) else 'file or folder'} {shown}."


def missing_path_advice(text: str | os.PathLike[str]) -> str:
    """Returns what to do about a path that does not exist: a common mistake, or near names in its folder.

    Returns an empty string if there is nothing to suggest.
    """
    path = os.fsdecode(text)
    if os.path.exists(os.path.expanduser(path)):  # noqa: PTH110, PTH111  pathlib raises if there is a null byte
        return ""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", path):
        return "It is an address, not a path: download it first, and pass the path of the file."
    if "\\" in path and os.sep == "/":
        turned = path.replace("\\", "/")
        found = f": {turned}" if os.path.exists(turned) else ""  # noqa: PTH110
        return f"It has backslashes, as on Windows. Separate the parts by slashes{found}."
    try:
        return _suggest_near_path(Path(path))
    except (OSError, ValueError):  # a folder that may not be read; a null byte
        return ""


def has_file_suffix(text: str) -> bool:
    """Returns whether a text ends like the name of a file: of a photo, a table, an archive, weights."""
    return os.path.splitext(text)[1].lower().removeprefix(".") in _FILE_SUFFIXES  # noqa: PTH122


def _suggest_near_path(path: Path) -> str:
    """Returns near names for the first part of a path that does not exist, and what part that is."""
    missing = path
    while not os.path.exists(_expand(missing.parent)):  # noqa: PTH110
        missing = missing.parent
    with os.scandir(_expand(missing.parent)) as entries:
        names = [each.name for each in islice(entries, _MAX_ENTRIES) if missing == path or each.is_dir()]
    near = did_you_mean(missing.name, [(missing.parent / name).as_posix() for name in sorted(names)])
    return near if missing == path else f"There is no folder {missing} either. {near}".rstrip()


def _expand(path: Path) -> str:
    return os.path.expanduser(path)  # noqa: PTH111  pathlib raises if there is no such user
