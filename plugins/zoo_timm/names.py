"""The names of timm's networks, kept in the zoo's cache folder: timm takes seconds to import, and has thousands."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import tempfile
from pathlib import Path

from zoo.utils.paths import home


def names() -> list[str]:
    """Returns every name, sorted: networks (``resnet18``) and networks with the tag of their weights.

    Read from the cache folder; only the first call after timm was installed or changed imports timm.
    """
    version = importlib.metadata.version("timm")
    cache = home() / "timm-names.json"
    known = _read(cache, version)
    if known is None:
        known = _ask_timm()
        # Without a place to write to, the next call takes its seconds again; nothing else is lost.
        with contextlib.suppress(OSError):
            _write(cache, version, known)
    return known


def _ask_timm() -> list[str]:
    import timm

    return sorted({*timm.list_models(), *timm.list_models(include_tags=True)})


def _read(cache: Path, version: str) -> list[str] | None:
    try:
        content = json.loads(cache.read_text(encoding="utf-8"))
        return list(content["names"]) if content["timm"] == version else None
    # Not there yet, or not what was written: it is made anew.
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(cache: Path, version: str, known: list[str]) -> None:
    """Writes aside and renames, so that another process never reads half a file."""
    cache.parent.mkdir(parents=True, exist_ok=True)
    handle, aside = tempfile.mkstemp(dir=cache.parent, prefix=cache.name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump({"timm": version, "names": known}, file)
        Path(aside).replace(cache)
    finally:
        Path(aside).unlink(missing_ok=True)
