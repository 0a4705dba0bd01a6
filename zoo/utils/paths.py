"""The paths that users pass, and the folder for downloads and caches."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

import platformdirs

from zoo.errors import ConfigError
from zoo.utils.text import short_repr

HOME_VARIABLE = "ZOO_HOME"
_MAX_QUOTED = 60  # characters of an invalid path in a message


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


def missing_path_advice(text: str | os.PathLike[str]) -> str:
    """Returns what to do about a path that does not exist, if it has a common mistake; otherwise an empty string."""
    path = os.fsdecode(text)
    if os.path.exists(path):  # noqa: PTH110  pathlib raises if there is a null byte
        return ""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", path):
        return "It is an address, not a path: download it first, and pass the path of the file."
    if "\\" in path and os.sep == "/":
        turned = path.replace("\\", "/")
        found = f": {turned}" if os.path.exists(turned) else ""  # noqa: PTH110
        return f"It has backslashes, as on Windows. Separate the parts by slashes{found}."
    return ""
