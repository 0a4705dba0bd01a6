"""The paths that users pass, and the folder for downloads and caches."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import platformdirs

from zoo.errors import ConfigError

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


def parse_path(text: str | Path) -> Path:
    """Returns a path that a user wrote, with ``~`` expanded; it need not exist.

    Raises:
        ConfigError: The text is too long for a path, or contains a null byte.
    """
    path = Path(os.path.expanduser(text))  # noqa: PTH111  pathlib raises if there is no such user
    try:
        path.stat()
    except ValueError:
        raise ConfigError(
            f"{str(text)[:_MAX_QUOTED]!r} is not a valid path: it contains a null byte or half a character."
        ) from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise ConfigError(f"'{str(text)[:_MAX_QUOTED]}...' is not a valid path: it is too long.") from None
    return path
