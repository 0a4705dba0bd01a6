"""What all specs have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from zoo.plugins.options import NoOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """The base class of all specs. Callables may be written as ``"module:attribute"``, which is imported when called.

    Attributes:
        name: Lower-case letters, digits and ``_ . -``.
        summary: One line.
        options: A frozen dataclass whose fields are the options (see `zoo.option`).
    """

    name: str
    summary: str = ""
    options: type[Any] = NoOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Many offers of a plugin, whose names are resolved on demand.

    Attributes:
        name: The name of the family in listings.
        summary: One line.
        names: Returns all names; may import the library of the family, which may take seconds.
        resolve: Returns the spec of a name, or None if the family does not have the name; may import its library.
        known_names: Returns the names that are known without importing the library, in milliseconds, for completion in
            shells. By default, none.
    """

    name: str
    names: Callable[[], list[str]] | str
    resolve: Callable[[str], Any] | str
    summary: str = ""
    known_names: Callable[[], list[str]] | str = list


def is_unknown(*_: object) -> bool:
    """The default of ``is_local``: nothing is known, which counts as no."""
    return False
