"""Typed options: a frozen dataclass says what there is to set, in Python and on the command line alike.

A field's type gives the parser, its default the default, and `option(...)` adds the help text, the bounds and the
choices. `FinetuneConfig` and the options of every backbone, head and dataset are described by this one mechanism.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union

from zoo.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")
_MISSING = dataclasses.MISSING
_BOOL_WORDS = dict.fromkeys(("true", "yes", "on", "1"), True) | dict.fromkeys(("false", "no", "off", "0"), False)


@dataclasses.dataclass(frozen=True, slots=True)
class NoOptions:
    """The options of an offer that has none."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class OptionInfo:
    """One option, ready to be listed, parsed or checked.

    Attributes:
        name: The field's name, ``label_smoothing``.
        type: ``int``, ``float``, ``str`` or ``bool``.
        optional: Whether ``None`` is a value (written ``none`` on the command line).
        default: The value when nothing is said; `required` when there is none.
        required: Whether there is no default.
        choices: The values allowed, or empty for any.
        minimum: The lowest value allowed, or None.
        maximum: The highest value allowed, or None.
        help: One line.
        group: A heading under which the command line lists the option.
        words: Values besides those of the type: ``"auto"``.
    """

    name: str
    type: type[Any]
    optional: bool
    default: Any
    required: bool
    choices: tuple[Any, ...]
    minimum: float | None
    maximum: float | None
    help: str
    group: str
    words: tuple[str, ...] = ()

    def describe(self) -> str:
        """Returns ``hidden (int >= 1, default 512): width of the hidden layer``."""
        kind = " | ".join(map(str, self.choices or (self.type.__name__, *self.words)))
        bounds = "".join(
            f" {sign} {bound:g}" for sign, bound in ((">=", self.minimum), ("<=", self.maximum)) if bound is not None
        )
        default = "required" if self.required else f"default {self.default}"
        return f"{self.name} ({kind}{bounds}, {default}): {self.help}"


def option(
    default: Any = _MISSING,
    *,
    help: str,
    minimum: float | None = None,
    maximum: float | None = None,
    group: str = "",
) -> Any:
    """Declares one field of an options dataclass, with its help text and bounds (both inclusive)."""
    return dataclasses.field(
        default=default, metadata={"help": help, "minimum": minimum, "maximum": maximum, "group": group}
    )


def describe_options(options: type[Any]) -> list[OptionInfo]:
    """Returns the options that a dataclass declares, in the order of its fields.

    Fields of other types than ``int``, ``float``, ``str``, ``bool``, ``Literal``, a number or words of a ``Literal``
    (``int | Literal["auto"]``), and their ``| None`` are left out: they are set in Python alone.
    """
    hints = typing.get_type_hints(options)
    infos = (_describe(field, hints[field.name]) for field in dataclasses.fields(options) if field.init)
    return [info for info in infos if info is not None]


def make_options(options: type[T], values: Mapping[str, Any], *, owner: str) -> T:
    """Builds an options dataclass from names and values; text is parsed, everything is checked.

    Args:
        options: The dataclass that declares the options.
        values: The options to set; text as it was typed (``{"hidden": "512"}``) or typed values.
        owner: Whose options these are, for messages: ``"head mlp"``.

    Raises:
        ConfigError: An unknown option, a wrong type or a value out of bounds; the message names the option. A
            ValueError from the dataclass itself becomes one.
    """
    known = {info.name: info for info in describe_options(options)}
    parsed: dict[str, Any] = {}
    for name, value in values.items():
        info = known.get(name.replace("-", "_"))
        if info is None:
            listing = "; ".join(i.describe() for i in known.values()) or "it has none"
            raise ConfigError(
                f"{owner} has no option '{name}'.", hint=f"{did_you_mean(name, known)} Its options: {listing}.".strip()
            )
        parsed[info.name] = check_value(info, value, owner=owner)
    for info in known.values():
        if info.required and info.name not in parsed:
            raise ConfigError(f"{owner} needs the option '{info.name}'.", hint=info.describe())
    try:
        return options(**parsed)
    except ValueError as error:  # from the dataclass's own __post_init__
        raise ConfigError(f"{owner}: {error}") from error


def check_value(info: OptionInfo, value: Any, *, owner: str) -> Any:
    """Returns `value` as the option's type.

    Raises:
        ConfigError: The value is of the wrong type, out of bounds or not among the choices.
    """
    if value is None or (isinstance(value, str) and info.optional and value.lower() == "none"):
        if info.optional:
            return None
        raise ConfigError(f"{owner}: option '{info.name}' cannot be none.", hint=info.describe())
    if isinstance(value, str) and value.lower() in info.words:
        return value.lower()
    try:
        parsed = _parse(info.type, value)
    except (ValueError, OverflowError):
        kinds = " or ".join((_word(info.type), *info.words))
        raise ConfigError(f"{owner}: option '{info.name}' is {value!r}, not a {kinds}.", hint=info.describe()) from None
    if info.choices and parsed not in info.choices:
        near = did_you_mean(str(parsed), [str(c) for c in info.choices])
        raise ConfigError(f"{owner}: option '{info.name}' is {value!r}.", hint=f"{near} {info.describe()}".strip())
    low, high = info.minimum, info.maximum
    if (low is not None and parsed < low) or (high is not None and parsed > high):
        raise ConfigError(f"{owner}: option '{info.name}' is {value!r}, out of bounds.", hint=info.describe())
    return parsed


def parse_pairs(pairs: tuple[str, ...], *, flag: str) -> dict[str, str]:
    """Splits ``("hidden=512", "depth=2")`` into a dict.

    Raises:
        ConfigError: A pair has no ``=`` or no name before it.
    """
    values: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.strip():
            raise ConfigError(f"{flag} {pair!r} is not of the form name=value.", hint=f"For example: {flag} hidden=512")
        values[name.strip()] = value.strip()
    return values


def _describe(field: dataclasses.Field[Any], hint: Any) -> OptionInfo | None:
    parts = typing.get_args(hint) if typing.get_origin(hint) in (Union, types.UnionType) else (hint,)
    kinds = [part for part in parts if part is not type(None)]
    words: tuple[str, ...] = ()
    if len(kinds) == 2 and kinds[0] in (int, float) and typing.get_origin(kinds[1]) is Literal:
        words = typing.get_args(kinds.pop())
    choices = typing.get_args(kinds[0]) if typing.get_origin(kinds[0]) is Literal else ()
    kind = type(choices[0]) if choices else kinds[0]
    if len(kinds) != 1 or kind not in (int, float, str, bool):
        return None
    made = field.default_factory() if field.default_factory is not _MISSING else field.default
    required = made is _MISSING
    return OptionInfo(
        name=field.name,
        type=kind,
        optional=type(None) in parts,
        default=None if required else made,
        required=required,
        choices=choices,
        minimum=field.metadata.get("minimum"),
        maximum=field.metadata.get("maximum"),
        help=field.metadata.get("help", ""),
        group=field.metadata.get("group", ""),
        words=words,
    )


def _parse(kind: type[Any], value: Any) -> Any:
    if kind is bool:
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in _BOOL_WORDS:
            return _BOOL_WORDS[value.lower()]
        raise ValueError
    if kind is str:
        if not isinstance(value, str):
            raise ValueError
        return value
    if isinstance(value, bool) or (kind is int and isinstance(value, float) and not value.is_integer()):
        raise ValueError
    if not isinstance(value, (int, float, str)):
        raise ValueError
    number = kind(value)
    if not math.isfinite(number):
        raise ValueError
    return number


def _word(kind: type[Any]) -> str:
    return {int: "whole number", float: "finite number", bool: "yes or no", str: "text"}[kind]
