"""Creates a plugin project from templates: a distribution with what it offers and a contract test."""

from __future__ import annotations

import importlib.resources
import importlib.util
import keyword
import re
import string
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from zoo.errors import ConfigError
from zoo.plugins.entry_points import BUILT_IN, DISTRIBUTION
from zoo.plugins.hookspecs import RESERVED_COMMANDS

if TYPE_CHECKING:
    from pathlib import Path

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


class _Skeleton(NamedTuple):
    """What a distribution of a kind has besides the common files.

    Attributes:
        use: A command that uses what it offers.
        module: The template of the module that is imported when it is needed; empty if there is none.
        second: The kind of a second offer.
    """

    use: str
    module: str = ""
    second: str = ""


_SKELETONS = {
    "backbone": _Skeleton(
        "zoo finetune $short --head $short-head --data hotdog-cartoon --weights none", "head/head.py", second="head"
    ),
    "head": _Skeleton("zoo finetune --data hotdog-cartoon --head $short", "head/head.py"),
    "dataset": _Skeleton("zoo finetune --data $short", "dataset/dataset.py"),
    "recipe": _Skeleton("zoo finetune --data hotdog-cartoon --recipe $short"),
    "optimizer": _Skeleton(
        "zoo finetune --data hotdog-cartoon --optimizer $short --lr 0.0001", "optimizer/optimizer.py"
    ),
    "schedule": _Skeleton("zoo finetune --data hotdog-cartoon --schedule $short"),
    "loss": _Skeleton("zoo finetune --data hotdog-cartoon --loss $short", "loss/loss.py"),
    "augmentation": _Skeleton("zoo show hotdog-cartoon --augmented --augment $short", "augmentation/augmentation.py"),
    "metric": _Skeleton("zoo finetune --data hotdog-cartoon --metric $short", "metric/metric.py"),
    "tracker": _Skeleton("zoo finetune --data hotdog-cartoon --tracker $short", "tracker/tracker.py"),
    "export-target": _Skeleton("zoo export RUN --to $short", "export-target/target.py"),
    "format": _Skeleton("zoo predict model.$short photo.jpg", "format/format.py"),
    "hub": _Skeleton("zoo predict $short:model photo.jpg", "hub/hub.py"),
    "check": _Skeleton("zoo doctor", "check/check.py"),
    "command": _Skeleton("zoo $short hotdog-cartoon", "command/command.py"),
}
PLUGIN_KINDS = tuple(_SKELETONS)


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
    _check_offer(name, kind)
    package, values = name.replace("-", "_"), _values(name, kind)
    templates = importlib.resources.files("zoo.cli") / "templates"
    texts = {
        folder / path: (templates / f"{template}.txt").read_text(encoding="utf-8")
        for template, path in _files(package, kind).items()
    }
    try:
        folder.mkdir(parents=True)
        for path, text in texts.items():
            path.parent.mkdir(exist_ok=True)
            path.write_text(string.Template(text).substitute(values), encoding="utf-8")
    except FileExistsError:
        raise ConfigError(
            f"The folder {folder} already exists.", hint="Choose another one with --to, or remove it."
        ) from None
    except OSError as error:
        raise ConfigError(
            f"Cannot write the plugin to {folder}: {error}.", hint="Choose another folder with --to."
        ) from error
    return list(texts)


def _files(package: str, kind: str) -> dict[str, str]:
    """Returns the paths of the files by their templates, which end in ``.txt`` so that no tool takes them for code."""
    module = _SKELETONS[kind].module
    return {
        "common/pyproject.toml": "pyproject.toml",
        "common/README.md": "README.md",
        f"{kind}/init.py": f"{package}/__init__.py",
        **({module: f"{package}/{PurePosixPath(module).name}"} if module else {}),
        "common/test_contract.py": "tests/test_contract.py",
    }


def _values(name: str, kind: str) -> dict[str, str]:
    """Returns the values of the placeholders in templates."""
    package, short = name.replace("-", "_"), name.removeprefix("zoo-")
    skeleton = _SKELETONS[kind]
    offers = {kind: short} | ({skeleton.second: f"{short}-{skeleton.second}"} if skeleton.second else {})
    words = {offer.replace("-", " "): offered for offer, offered in offers.items()}
    module = f"{package}/{PurePosixPath(skeleton.module).name}"
    described = " and ".join(f"{'an' if word[0] in 'aeiou' else 'a'} {word}" for word in words)
    return {
        "distribution": name,
        "package": package,
        "short": short,
        "description": described[0].upper() + described[1:],
        "offers": " and ".join(f"the {word} `{offered}`" for word, offered in words.items()),
        "use": string.Template(skeleton.use).substitute(short=short),
        "modules": f"- `{module}` is imported when it is needed.\n" if skeleton.module else "",
    }


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} is not a valid name for a plugin.",
            hint="Use lower-case letters, digits and single hyphens, beginning with a letter: zoo-tinynet.",
        )
    package = name.replace("-", "_")
    if name in (*BUILT_IN, DISTRIBUTION, "zoo") or keyword.iskeyword(package) or _is_package(package):
        raise ConfigError(f"The name '{name}' is taken.", hint=f"Choose another, such as zoo-{name}-mine.")


def _check_offer(name: str, kind: str) -> None:
    """Checks that what the distribution offers can have its name: not every name of a distribution can be one."""
    short = name.removeprefix("zoo-")
    if kind == "command" and short in RESERVED_COMMANDS:
        raise ConfigError(
            f"The command '{short}' belongs to the zoo.", hint=f"Choose another name, such as {name}-mine."
        )
    if kind == "hub" and len(short) == 1:
        raise ConfigError(
            f"A hub cannot be called '{short}': '{short}:model' would be on a drive of Windows.",
            hint=f"Choose a longer name, such as {name}-hub.",
        )


def _is_package(name: str) -> bool:
    """Whether ``import name`` finds code; a folder of that name without Python files does not count."""
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.origin is not None
