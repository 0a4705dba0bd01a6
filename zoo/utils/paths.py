"""Where the zoo keeps what it downloads and caches."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import platformdirs

from zoo.errors import ConfigError

HOME_VARIABLE = "ZOO_HOME"
_SHOWN = 60  # characters of what cannot be shown whole


def home() -> Path:
    """Returns the zoo's cache folder: ``$ZOO_HOME`` if it is set, else the cache folder of the operating system.

    The folder need not exist.
    """
    override = os.environ.get(HOME_VARIABLE)
    if override:
        return Path(override).expanduser().absolute()
    return platformdirs.user_cache_path("finetune-zoo", appauthor=False)


def typed_path(text: str | Path) -> Path:
    """Returns the path that a user wrote, ``~`` being the home folder; it need not exist.

    Raises:
        ConfigError: It cannot be one: it is too long, or holds a null byte.
    """
    path = Path(os.path.expanduser(text))  # noqa: PTH111  pathlib raises where there is no such user
    try:
        path.stat()
    except ValueError:
        raise ConfigError(
            f"{str(text)[:_SHOWN]!r} cannot be a path: it holds a null byte or half a character."
        ) from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise ConfigError(f"'{str(text)[:_SHOWN]}...' cannot be a path: it is too long.") from None
    return path


def dataset_folder(name: str) -> Path:
    """Returns the cache folder of a dataset: ``home()/datasets/hotdog``, or ``.../datasets/acme/cats``.

    Args:
        name: A bare or qualified name.

    Raises:
        ConfigError: The name would lead out of the cache folder.
    """
    parts = name.split("/")
    if any(part in ("", ".", "..") or "\\" in part or ":" in part or "\0" in part for part in parts):
        raise ConfigError(f"{name!r} cannot name a folder.", hint="Names are lower-case letters, digits and _ . -")
    return home().joinpath("datasets", *parts)
