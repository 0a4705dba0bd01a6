"""Recipes: named options of `zoo finetune`, and the commands that run them on this checkout or another one."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import NamedTuple

_BEST_AT_HAND = "auto"


class Recipe(NamedTuple):
    """A named way to call `zoo finetune`.

    Attributes:
        name: Name in the tables.
        backbone: Backbone that it names itself; None for the benchmark's.
        options: Options of `zoo finetune`.
    """

    name: str
    backbone: str | None
    options: tuple[str, ...]

    def __repr__(self) -> str:
        return f"{self.name}={shlex.join([*([self.backbone] if self.backbone else []), *self.options])}"

    def arguments(self, backbone: str, weights: Path | str | None) -> list[str]:
        """Returns the recipe as arguments of `zoo finetune`: the backbone, the weights, the options.

        Args:
            backbone: The benchmark's backbone, ``"auto"`` to name none and let `zoo finetune` choose.
            weights: Weights of the benchmark's backbone; None for those that `zoo finetune` takes by default.
        """
        given = [] if weights is None or self.backbone or "--weights" in self.options else ["--weights", str(weights)]
        chosen = self.backbone or backbone
        return [*([] if chosen == _BEST_AT_HAND else [chosen]), *given, *self.options]


def parse_recipe(text: str) -> Recipe:
    """Parses ``NAME=[BACKBONE] [OPTIONS]``, for argparse."""
    name, separator, rest = text.partition("=")
    if not separator or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=OPTIONS, such as 'frozen=--freeze all'")
    words = shlex.split(rest)
    backbone = words.pop(0) if words and not words[0].startswith("-") else None
    return Recipe(name, backbone, tuple(words))


def parse_project(text: str) -> tuple[str, Path]:
    """Parses ``NAME=FOLDER``, the checkout that a recipe runs, for argparse."""
    name, _, folder = text.partition("=")
    path = Path(folder).expanduser().resolve()
    if not (path / "zoo" / "__init__.py").is_file():
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=FOLDER with a checkout of this project as the folder")
    return name, path


def zoo_command(*arguments: str) -> list[str]:
    """Returns the command line of `zoo` in this interpreter, to be run with `_project.checkout_environment`."""
    return [sys.executable, "-P", "-m", "zoo", *arguments]  # -P: not the checkout in the working directory
