"""Reads which plugins the installed distributions announce, fast enough for a help page.

`importlib.metadata` says the same, but its import alone (it brings the email and zip libraries) takes half as long as
a whole ``zoo --help``. What is read here is the published file format, `*.dist-info/entry_points.txt`; distributions
inside zip files are not seen.
"""

from __future__ import annotations

import importlib
import operator
import os
import re
import sys
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

_METADATA = (".dist-info", ".egg-info")


class Announced(NamedTuple):
    """One entry point.

    Attributes:
        distribution: Normalised name of the distribution, ``finetune-zoo``.
        version: Of the distribution.
        entry: Left of the equals sign.
        value: Right of it: ``module`` or ``module:attribute``.
    """

    distribution: str
    version: str
    entry: str
    value: str

    @property
    def key(self) -> str:
        """``distribution:entry``, as plugins are named elsewhere."""
        return f"{self.distribution}:{self.entry}"

    def load(self) -> object:
        """Imports and returns what is announced; raises whatever that raises."""
        module, _, attribute = (part.strip() for part in self.value.partition("[")[0].partition(":"))
        plugin = importlib.import_module(module)
        return operator.attrgetter(attribute)(plugin) if attribute else plugin


def announced_plugins(group: str, folders: Iterable[str] | None = None) -> list[Announced]:
    """Returns the entry points of a group in the order of the import path.

    Args:
        group: Name of the entry-point group, ``zoo``.
        folders: Where to look; `sys.path` when None. As on import, the first of two distributions of one name counts.
    """
    found: list[Announced] = []
    seen: set[str] = set()
    for folder in sys.path if folders is None else folders:
        try:
            names = sorted(entry.name for entry in os.scandir(folder or ".") if entry.name.endswith(_METADATA))
        except OSError:  # what is on the path need not exist
            continue
        for name in names:
            stem, _, version = name.rpartition(".")[0].partition("-")
            distribution = re.sub(r"[-_.]+", "-", stem).lower()
            if distribution not in seen:
                seen.add(distribution)
                lines = _section(os.path.join(folder, name, "entry_points.txt"), group)  # noqa: PTH118  pathlib is slow
                found += [Announced(distribution, version, entry, value) for entry, value in lines]
    return found


def _section(path: str, group: str) -> list[tuple[str, str]]:
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123
            text = file.read()
    except (OSError, UnicodeDecodeError):  # most distributions announce nothing
        return []
    if f"[{group}]" not in text:
        return []
    section, pairs = "", []
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            section = line[1:-1].strip()
        elif section == group and "=" in line and not line.startswith(("#", ";")):
            entry, _, value = line.partition("=")
            pairs.append((entry.strip(), value.strip()))
    return pairs
