"""Finds installed plugins by their entry points, for the registry and for the command line.

`importlib.metadata` reads the same files, but its import (which includes the email and zip libraries) takes half as
long as a whole ``zoo --help``. So this module parses ``*.dist-info/entry_points.txt``, a documented format, itself. It
does not find distributions inside zip files.
"""

from __future__ import annotations

import functools
import importlib
import operator
import os
import re
import sys
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

from zoo.errors import PluginWarning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

GROUP = "zoo"
DISTRIBUTION = "finetune-zoo"
RUNTIME = "finetune-zoo-runtime"  # the part of it that needs no torch: export/pyproject.toml
# Bare names resolve in this order, then to third-party plugins.
BUILT_IN = (
    *("torchvision", "efficientnet_lite", "recipes", "optimizers", "schedules", "losses", "augmentations", "metrics"),
    *("trackers", "timm", "heads", "datasets", "hub"),
)
BLOCK_VARIABLE = "ZOO_BLOCK_PLUGINS"
_METADATA = (".dist-info", ".egg-info")
_FOLDER = re.compile(r"(?P<name>.+?)(-(?P<version>\d[^-]*)(-py.*)?)?\.(dist|egg)-info")


class Candidate(NamedTuple):
    """An installed plugin, before its import.

    Attributes:
        entry: Name of the entry point, left of the equals sign.
        distribution: Normalised name of the distribution that declares it: ``acme-nets``. All built-in plugins have
            the one name ``finetune-zoo``, so that a plugin's key does not depend on what else is installed.
        version: Version of the distribution.
        load: Imports and returns the plugin; raises whatever the import raises.
    """

    entry: str
    distribution: str
    version: str
    load: Callable[[], object]

    @property
    def key(self) -> str:
        """``distribution:entry``, unique among all plugins."""
        return f"{self.distribution}:{self.entry}"

    @property
    def built_in(self) -> bool:
        """Whether the plugin is part of the zoo."""
        return self.distribution == DISTRIBUTION

    @property
    def qualifier(self) -> str:
        """The part before the slash in qualified names.

        It is the entry name for a built-in plugin, and the distribution for a third-party plugin. Distributions are
        unique, entry names need not be; and a distribution keeps its name when other plugins are installed.
        """
        return self.entry if self.built_in else self.distribution


def find_plugins(group: str = GROUP, folders: Iterable[str] | None = None) -> list[Candidate]:
    """Returns the installed plugins: the built-in ones in the order of `BUILT_IN`, then third-party ones by key.

    Args:
        group: Name of the entry-point group.
        folders: The folders to search; `sys.path` by default. As in imports, the first of two distributions with the
            same name wins.
    """
    found: list[Candidate] = []
    seen: set[str] = set()
    for folder in sys.path if folders is None else folders:
        try:
            names = sorted(entry.name for entry in os.scandir(folder or ".") if entry.name.endswith(_METADATA))
        except OSError:  # folders on the path need not exist
            continue
        for name in names:
            match = _FOLDER.fullmatch(name)
            distribution = normalise(match["name"]) if match else ""
            if match and distribution not in seen:
                seen.add(distribution)
                project = DISTRIBUTION if distribution == RUNTIME else distribution
                for entry, target in _read_section(os.path.join(folder, name, "entry_points.txt"), group):  # noqa: PTH118  pathlib is slow
                    load = functools.partial(import_target, target)
                    found.append(
                        Candidate(entry=entry, distribution=project, version=match["version"] or "", load=load)
                    )
    return sorted(found, key=_sort_key)


def import_target(target: str) -> Any:
    """Imports and returns ``"module"`` or ``"module:attribute"``; raises whatever the import raises."""
    module, _, attribute = (part.strip() for part in target.partition("[")[0].partition(":"))
    imported = importlib.import_module(module)
    return operator.attrgetter(attribute)(imported) if attribute else imported


def normalise(distribution: str) -> str:
    """Returns the normalised name of a distribution: ``acme-nets`` for ``Acme_Nets``.

    See https://packaging.python.org/en/latest/specifications/name-normalization/.
    """
    return re.sub(r"[-_.]+", "-", distribution).lower()


def blocked_names() -> frozenset[str]:
    """Returns the comma-separated names in ``ZOO_BLOCK_PLUGINS``: keys, entry names or distributions."""
    return frozenset(filter(None, (part.strip() for part in os.environ.get(BLOCK_VARIABLE, "").split(","))))


def is_blocked(candidate: Candidate, blocked: frozenset[str]) -> bool:
    """Returns whether one of the names blocks a plugin; distribution names are normalised before they are compared."""
    return any(_blocks(name, candidate) for name in blocked)


def warn_unused_blocks(blocked: frozenset[str], candidates: Iterable[Candidate]) -> None:
    """Warns about names in ``ZOO_BLOCK_PLUGINS`` that block no plugin, such as misspelt ones."""
    listed = tuple(candidates)
    for name in sorted(blocked):
        if not any(_blocks(name, candidate) for candidate in listed):
            warnings.warn(
                f"{BLOCK_VARIABLE} names '{name}', but no such plugin is installed", PluginWarning, stacklevel=3
            )


def _blocks(name: str, candidate: Candidate) -> bool:
    distribution, colon, entry = name.partition(":")
    if colon:
        return (normalise(distribution), entry) == (candidate.distribution, candidate.entry)
    return name == candidate.entry or normalise(name) == candidate.distribution


def _sort_key(candidate: Candidate) -> tuple[int, str]:
    if candidate.built_in and candidate.entry in BUILT_IN:
        return BUILT_IN.index(candidate.entry), candidate.key
    return len(BUILT_IN) + (not candidate.built_in), candidate.key


def _read_section(path: str, group: str) -> list[tuple[str, str]]:
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123
            text = file.read()
    except (OSError, UnicodeDecodeError):  # most distributions declare no entry points
        return []
    if f"[{group}]" not in text:
        return []
    section, pairs = "", []
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            section = line[1:-1].strip()
        elif section == group and "=" in line and not line.startswith(("#", ";")):
            entry, _, target = line.partition("=")
            pairs.append((entry.strip(), target.strip()))
    return pairs
