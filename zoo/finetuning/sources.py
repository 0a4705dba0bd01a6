"""Digests of source code: a version number stays the same while somebody works on the code."""

from __future__ import annotations

import functools
import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def source_digests(*functions: Callable[..., Any]) -> dict[str, str]:
    """Returns a digest of the sources of the zoo, and of each package or module that one of `functions` is from.

    What has no source file, such as a function typed into a notebook, is left out.

    Returns:
        12 hex digits, by the name of the package.
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
    found = hashlib.sha256()
    for each in files:
        found.update(f"{each.relative_to(path.parent).as_posix()}\0".encode())
        found.update(hashlib.sha256(each.read_bytes()).digest())
    return found.hexdigest()[:12]
