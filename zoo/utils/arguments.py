"""Checks the types of the arguments of public functions, so that a wrong one is an error that says what to pass."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, ParamSpec, TypeVar

from zoo.errors import ConfigError

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Accepted:
    """What an argument may be.

    Attributes:
        text: What to pass, for messages: ``"a path"``.
        types: The types of its values.
        refused: Subclasses of these types that are refused all the same.
    """

    text: str
    types: tuple[type[Any], ...]
    refused: tuple[type[Any], ...] = ()

    def __or__(self, other: Accepted | None) -> Accepted:
        """Returns what accepts the values of both; None stands for itself."""
        if other is None:
            other = Accepted("None", (type(None),))
        return Accepted(f"{self.text} or {other.text}", self.types + other.types, self.refused + other.refused)

    def matches(self, value: object) -> bool:
        """Returns whether a value has one of the types."""
        return isinstance(value, self.types) and not (isinstance(value, self.refused) and bool not in self.types)


TEXT = Accepted("text", (str,))
PATH = Accepted("a path, as text or as a pathlib.Path", (str, os.PathLike))
FLAG = Accepted("True or False", (bool,))
WHOLE_NUMBER = Accepted("a whole number", (Integral,), refused=(bool,))
NUMBER = Accepted("a number", (Real,), refused=(bool,))
FUNCTION = Accepted("a function", (Callable,))  # type: ignore[arg-type]
DICT = Accepted("a dict", (Mapping,))
LIST = Accepted("a list", (Sequence,), refused=(str, bytes, bytearray, memoryview))


def accepts(**accepted: Accepted) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Makes a function raise a `ConfigError` for arguments of other types than those accepted.

    Args:
        **accepted: What each argument may be, by name; other arguments are not checked.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            for name, value in signature.bind(*args, **kwargs).arguments.items():
                kind = accepted.get(name)
                if kind is not None and not kind.matches(value):
                    raise ConfigError(
                        f"{function.__name__}: argument '{name}' cannot be of type {type(value).__name__}.",
                        hint=f"Pass {kind.text}.",
                    )
            return function(*args, **kwargs)

        return checked

    return decorate
