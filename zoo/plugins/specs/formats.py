"""File formats of trained classifiers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from zoo.plugins.specs.base import Spec


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatRequest:
    """The argument of `FormatSpec.load`.

    Attributes:
        path: A file with one of the suffixes of the format.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``, as passed by the user. Only for ``"auto"``
            may the format choose; if any other device is not available, it raises an error.
        ask: Prompts the user for a passphrase and returns it; the argument names what it is for. None without a
            terminal.
    """

    path: Path
    device: str = "auto"
    ask: Callable[[str], str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatSpec(Spec):
    """A file format of trained classifiers, which can be opened like a run.

    Attributes:
        suffixes: The lower-case suffixes of such files, with the dot: ``(".onnx",)``.
        load: Returns a `zoo.PhotoPredictor`. Raises a `ZooError` if the file is broken, malicious or from another
            program.
    """

    suffixes: tuple[str, ...]
    load: Callable[[FormatRequest], object] | str
