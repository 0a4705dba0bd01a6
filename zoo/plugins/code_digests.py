"""Digests of the source code of the zoo and of plugins: they show whether a run, or a file, was made by other code."""

from __future__ import annotations

import functools
import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def code_digests(*functions: Callable[..., Any]) -> dict[str, str]:
    """Returns digests of the source code of the zoo and of the packages that define some functions.

    Leaves out code without a source file, such as a function defined in a notebook.

    Returns:
        12 hex digits by name of the package or top-level module.
    """
    names = sorted({_package_of(function) for function in functions} - {"zoo", "__main__"})
    digests = {name: _digest(name) for name in ("zoo", *names)}
    return {name: digest for name, digest in digests.items() if digest}


def _package_of(function: Callable[..., Any]) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    module = getattr(function, "__module__", None) or type(function).__module__
    return str(module).partition(".")[0]


def _digest(name: str) -> str:
    file = getattr(sys.modules.get(name), "__file__", None)
    if file is None or not Path(file).is_file():
        return ""
    path = Path(file)
    files = sorted(path.parent.rglob("*.py")) if path.name == "__init__.py" else [path]
    digest = hashlib.sha256()
    for each in files:
        digest.update(f"{each.relative_to(path.parent).as_posix()}\0".encode())
        digest.update(hashlib.sha256(each.read_bytes()).digest())
    return digest.hexdigest()[:12]
