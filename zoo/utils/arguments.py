"""Checks the types of the arguments of public functions, so that a wrong one is an error that says what to pass."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
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
        items: The types of the keys of a dict and of the items of a list, both other than text; empty for any.
    """

    text: str
    types: tuple[type[Any], ...]
    refused: tuple[type[Any], ...] = ()
    items: tuple[type[Any], ...] = ()

    def __or__(self, other: Accepted | None) -> Accepted:
        """Returns what accepts the values of both; None stands for itself."""
        if other is None:
            other = Accepted("None", (type(None),))
        return Accepted(
            f"{self.text} or {other.text}",
            self.types + other.types,
            self.refused + other.refused,
            self.items + other.items,
        )

    def explain(self, value: object) -> str:
        """Returns why a value that does not match is refused, as the end of a sentence."""
        wrong = [item for item in self._items(value) if not isinstance(item, self.items)]
        return f"contain a value of type {type(wrong[0]).__name__}" if wrong else f"be of type {type(value).__name__}"

    def matches(self, value: object) -> bool:
        """Returns whether a value has one of the types, and its items have theirs."""
        if not isinstance(value, self.types) or (isinstance(value, self.refused) and bool not in self.types):
            return False
        return all(isinstance(item, self.items) for item in self._items(value))

    def _items(self, value: object) -> Iterable[object]:
        listed = isinstance(value, Mapping | Sequence) and not isinstance(value, str | bytes)
        return value if self.items and listed else ()  # type: ignore[return-value]


TEXT = Accepted("text", (str,))
PATH = Accepted("a path, as text or as a pathlib.Path", (str, os.PathLike))
FLAG = Accepted("True or False", (bool,))
WHOLE_NUMBER = Accepted("a whole number", (Integral,), refused=(bool,))
NUMBER = Accepted("a number", (Real,), refused=(bool,))
FUNCTION = Accepted("a function", (Callable,))  # type: ignore[arg-type]
DICT = Accepted("a dict with text as keys", (Mapping,), items=(str,))
LIST = Accepted("a list", (Sequence,), refused=(str, bytes, bytearray, memoryview))
NAMES = Accepted("a list of names", LIST.types, LIST.refused, items=(str,))


def check_argument(function: str, name: str, value: object, accepted: Accepted) -> None:
    """Checks an argument of a public function.

    Raises:
        ConfigError: It is of another type.
    """
    if not accepted.matches(value):
        raise ConfigError(
            f"{function}: argument '{name}' cannot {accepted.explain(value)}.", hint=f"Pass {accepted.text}."
        )


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
                if name in accepted:
                    check_argument(function.__name__, name, value, accepted[name])
            return function(*args, **kwargs)

        return checked

    return decorate
