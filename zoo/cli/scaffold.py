"""Creates a plugin project from templates: a distribution with what it offers and a contract test."""

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
# Template -> target. Templates end in .txt so that no tool mistakes them for code.
_BEFORE = {"plugin/pyproject.toml.txt": "pyproject.toml"}
_AFTER = {"plugin/test_contract.py.txt": "tests/test_contract.py"}
# By kind: what the distribution offers, and the templates besides the common ones.
_OFFERS = {
    "backbone": "A backbone and a head",
    "augmentation": "An augmentation",
    "export-target": "An export target",
    "loss": "A loss",
    "metric": "A metric",
    "optimizer": "An optimizer",
    "schedule": "A schedule",
    "recipe": "A recipe",
    "tracker": "A tracker",
}
_FILES = {
    kind: {f"{folder}/README.md.txt": "README.md", f"{folder}/init.py.txt": "$package/__init__.py", **code}
    for kind, folder, code in (
        ("backbone", "plugin", {"plugin/head.py.txt": "$package/head.py"}),
        ("augmentation", "augmentation", {"augmentation/augmentation.py.txt": "$package/augmentation.py"}),
        ("export-target", "export-target", {"export-target/target.py.txt": "$package/target.py"}),
        ("loss", "loss", {"loss/loss.py.txt": "$package/loss.py"}),
        ("metric", "metric", {"metric/metric.py.txt": "$package/metric.py"}),
        ("optimizer", "optimizer", {"optimizer/optimizer.py.txt": "$package/optimizer.py"}),
        ("schedule", "schedule", {}),
        ("recipe", "recipe", {}),
        ("tracker", "tracker", {"tracker/tracker.py.txt": "$package/tracker.py"}),
    )
}
PLUGIN_KINDS = tuple(_FILES)


def write_plugin(name: str, folder: Path, *, kind: str = "backbone") -> list[Path]:
    """Writes a plugin project that passes its own contract test.

    Args:
        name: Name of the distribution, ``"zoo-tinynet"``; the package is ``zoo_tinynet`` and the backbone ``tinynet``.
        folder: The project folder to create.
        kind: What it offers, one of `PLUGIN_KINDS`; with a backbone comes a head.

    Returns:
        The files, in reading order.

    Raises:
        ConfigError: The name is not allowed, or the folder exists or cannot be created.
    """
    _check_name(name)
    package = name.replace("-", "_")
    names = {"distribution": name, "package": package, "short": name.removeprefix("zoo-"), "offers": _OFFERS[kind]}
    templates = importlib.resources.files("zoo.cli") / "templates"
    texts = {
        folder / string.Template(path).substitute(names): (templates / template).read_text(encoding="utf-8")
        for template, path in {**_BEFORE, **_FILES[kind], **_AFTER}.items()
    }
    try:
        folder.mkdir(parents=True)
        for path, text in texts.items():
            path.parent.mkdir(exist_ok=True)
            path.write_text(string.Template(text).substitute(names), encoding="utf-8")
    except FileExistsError:
        raise ConfigError(
            f"The folder {folder} already exists.", hint="Choose another one with --to, or remove it."
        ) from None
    except OSError as error:
        raise ConfigError(
            f"Cannot write the plugin to {folder}: {error}.", hint="Choose another folder with --to."
        ) from error
    return list(texts)


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} is not a valid name for a plugin.",
            hint="Use lower-case letters, digits and single hyphens, beginning with a letter: zoo-tinynet.",
        )
    package = name.replace("-", "_")
    if name in (*BUILT_IN, DISTRIBUTION, "zoo") or keyword.iskeyword(package) or _is_package(package):
        raise ConfigError(f"The name '{name}' is taken.", hint=f"Choose another, such as zoo-{name}-mine.")


def _is_package(name: str) -> bool:
    """Whether ``import name`` finds code; a folder of that name without Python files does not count."""
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.origin is not None
