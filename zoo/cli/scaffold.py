"""Writes the skeleton of a plugin: a distribution with a backbone, a head and its contract test, ready to install."""

from __future__ import annotations

import importlib.resources
import importlib.util
import keyword
import re
import string
from typing import TYPE_CHECKING

from zoo.errors import ConfigError
from zoo.plugins.entry_points import BUILT_IN, DISTRIBUTION

if TYPE_CHECKING:
    from pathlib import Path

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
# Template -> where it goes. Files named .txt, so that no tool takes a template for code.
_FILES = {
    "pyproject.toml.txt": "pyproject.toml",
    "README.md.txt": "README.md",
    "init.py.txt": "$package/__init__.py",
    "head.py.txt": "$package/head.py",
    "test_contract.py.txt": "tests/test_contract.py",
}


def write_plugin(name: str, folder: Path) -> list[Path]:
    """Writes a plugin that passes its own contract test as it is.

    Args:
        name: Of the distribution, ``"zoo-tinynet"``; the package is then ``zoo_tinynet`` and its backbone ``tinynet``.
        folder: The plugin's own folder, made here.

    Returns:
        The files written, in reading order.

    Raises:
        ConfigError: The name cannot be a plugin's, or the folder is there already or cannot be made.
    """
    _check_name(name)
    package = name.replace("-", "_")
    names = {"distribution": name, "package": package, "short": name.removeprefix("zoo-")}
    templates = importlib.resources.files("zoo.cli") / "templates" / "plugin"
    texts = {
        folder / string.Template(path).substitute(names): (templates / template).read_text(encoding="utf-8")
        for template, path in _FILES.items()
    }
    try:
        folder.mkdir(parents=True)
        for path, text in texts.items():
            path.parent.mkdir(exist_ok=True)
            path.write_text(string.Template(text).substitute(names), encoding="utf-8")
    except FileExistsError:
        raise ConfigError(
            f"The folder {folder} is there already.", hint="Take another name, or move it away."
        ) from None
    except OSError as error:
        raise ConfigError(f"The plugin cannot be written to {folder}: {error}.", hint="Take another folder.") from error
    return list(texts)


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} cannot be the name of a plugin.",
            hint="Take lower-case letters, digits and single hyphens, a letter first: zoo-tinynet.",
        )
    package = name.replace("-", "_")
    if name in (*BUILT_IN, DISTRIBUTION, "zoo") or keyword.iskeyword(package) or _is_package(package):
        raise ConfigError(f"The name '{name}' is taken.", hint=f"Try zoo-{name}-mine, or any other.")


def _is_package(name: str) -> bool:
    """Whether ``import name`` finds something; a folder of that name without Python in it does not count."""
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.origin is not None
