"""What timm offers, by name, in files in the zoo's cache folder: timm takes seconds to import."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
from typing import TYPE_CHECKING, Any

from zoo.errors import RunError
from zoo.utils.files import atomic_write
from zoo.utils.paths import home

if TYPE_CHECKING:
    from collections.abc import Callable


def read_names(file: str) -> dict[str, Any] | None:
    """Returns what is stored by name for the installed version of timm, or None."""
    try:
        content = json.loads((home() / file).read_text(encoding="utf-8"))
        names = content["names"] if content["timm"] == importlib.metadata.version("timm") else None
    # Missing or damaged: it is written again.
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return names if isinstance(names, dict) else None  # a list in files of the first version


def find_names(file: str, list_names: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Returns what is stored by name; lists and stores it if timm was installed or updated since the last call."""
    names = read_names(file)
    if names is None:
        names = list_names()
        # Without a cache, the next call takes seconds again, but nothing else is lost.
        with contextlib.suppress(OSError, RunError):
            _write(file, names)
    return names


def _write(file: str, names: dict[str, Any]) -> None:
    home().mkdir(parents=True, exist_ok=True)
    with atomic_write(home() / file) as temporary:
        content = {"timm": importlib.metadata.version("timm"), "names": names}
        temporary.write_text(json.dumps(content), encoding="utf-8")
