"""Typed options: the fields of a frozen dataclass are options, in Python and on the command line.

The type of a field determines how its text is parsed and which choices there are; `option(...)` adds the help text and
the bounds. `FinetuneConfig` and the options of backbones, heads and datasets all work this way.
"""

from __future__ import annotations

import dataclasses
import math
import os
import types
import typing
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union

from zoo.errors import ConfigError, did_you_mean
from zoo.utils.text import article, short_repr

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

T = TypeVar("T")
_MISSING = dataclasses.MISSING
# What the flag of `option_flag` begins with, where it is not the name of the kind.
_FLAG_WORDS = {"dataset": "data", "augmentation": "augment", "export target": "target"}
_TYPES = (int, float, str, bool)
_MAX_DESCRIBED = 12  # options in a hint; of more only the names
_BOOLS = dict.fromkeys(("true", "yes", "on", "1"), True) | dict.fromkeys(("false", "no", "off", "0"), False)


@dataclasses.dataclass(frozen=True, slots=True)
class NoOptions:
    """No options."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class OptionInfo:
    """The description of one option.

    Attributes:
        name: Name of the field: ``label_smoothing``.
        type: ``int``, ``float``, ``str`` or ``bool``.
        optional: Whether the value may be ``None`` (``none`` on the command line).
        default: The default; None if the option is `required`.
        required: Whether there is no default.
        choices: The allowed values; empty if any value of the type is allowed.
        minimum: The lowest allowed value, or None.
        maximum: The highest allowed value, or None.
        help: One line.
        group: The heading under which the command line lists the option.
        literals: Allowed words besides the values of the type: ``"auto"``.
        objects: Classes whose instances are allowed besides, in Python only.
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
    literals: tuple[str, ...] = ()
    objects: tuple[Any, ...] = ()

    def describe(self) -> str:
        """Returns ``hidden (int >= 1, default 512): width of the hidden layer``."""
        kind = " | ".join(map(str, self.choices or (self.type.__name__, *self.literals)))
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
    """Declares a field of an options dataclass.

    Args:
        default: The default; without one, the option is required.
        help: One line.
        minimum: The lowest allowed value.
        maximum: The highest allowed value.
        group: The heading under which the command line lists the option.
    """
    return dataclasses.field(
        default=default, metadata={"help": help, "minimum": minimum, "maximum": maximum, "group": group}
    )


def describe_options(options: type[Any]) -> list[OptionInfo]:
    """Returns the options of a dataclass, in the order of its fields.

    An option has the type ``int``, ``float``, ``str``, ``bool``, ``Literal[...]`` or ``int | Literal["auto"]``, each of
    them with or without ``| None`` and other classes, whose instances can be passed in Python only. So can fields that
    have no such type.
    """
    hints = typing.get_type_hints(options)
    infos = (_describe(field, hints[field.name]) for field in dataclasses.fields(options) if field.init)
    return [info for info in infos if info is not None]


def needs_options(options: type[Any]) -> bool:
    """Returns whether one of the options has no default, so that nothing can be chosen without asking the user."""
    return any(info.required for info in describe_options(options))


def find_unsettable(options: type[Any]) -> str:
    """Returns a field that needs a value but has a type that no user can set, or an empty string."""
    described = {info.name for info in describe_options(options)}
    required = (
        field.name
        for field in dataclasses.fields(options)
        if field.init and field.default is _MISSING and field.default_factory is _MISSING
    )
    return next((name for name in required if name not in described), "")


def make_options(options: type[T], values: Mapping[str, Any], *, owner: str) -> T:
    """Creates an instance of an options dataclass. Parses and validates the values.

    Args:
        options: The dataclass.
        values: Values by name, as typed by the user (``{"hidden": "512"}``) or of the right type.
        owner: The owner of the options, for messages: ``"head mlp"``.

    Raises:
        ConfigError: An option is unknown or missing, or its value has the wrong type or is out of bounds; the message
            names the option. A ValueError from the dataclass becomes a ConfigError, too.
    """
    parsed: dict[str, Any] = {}
    for name, value in values.items():
        info = find_option(options, name, owner=owner)
        parsed[info.name] = check_value(info, value, owner=owner)
    for info in describe_options(options):
        if info.required and info.name not in parsed:
            raise ConfigError(f"{owner} requires the option '{info.name}'.", hint=_how_to_set(info, owner))
    try:
        return options(**parsed)
    except ValueError as error:  # from the dataclass's own __post_init__
        raise ConfigError(f"{owner}: {error}") from error


def find_option(options: type[Any], name: str, *, owner: str) -> OptionInfo:
    """Returns the description of one option; arguments as in `make_options`.

    Raises:
        ConfigError: There is no such option; the hint lists those that there are.
    """
    known = {info.name: info for info in describe_options(options)}
    if (info := known.get(name.replace("-", "_"))) is not None:
        return info
    many = len(known) > _MAX_DESCRIBED
    listing = ", ".join(known) if many else "; ".join(each.describe() for each in known.values())
    listing = f"Its options: {listing.removesuffix('.')}." if listing else "It has no options."
    raise ConfigError(f"{owner} has no option '{name}'.", hint=f"{did_you_mean(name, known)} {listing}".strip())


def check_value(info: OptionInfo, value: Any, *, owner: str) -> Any:
    """Returns a value converted to the type of its option; arguments as in `make_options`.

    Raises:
        ConfigError: The value has the wrong type, is out of bounds or is not one of the choices.
    """
    if value is None or (isinstance(value, str) and info.optional and value.lower() == "none"):
        if info.optional:
            return None
        raise ConfigError(f"{owner}: option '{info.name}' cannot be none.", hint=info.describe())
    if isinstance(value, str) and value.lower() in info.literals:
        return value.lower()
    if info.objects and isinstance(value, info.objects):
        return value
    given = f"{owner}: option '{info.name}' is {short_repr(value)}"
    try:
        parsed = _parse(info.type, value)
    except (ValueError, OverflowError):
        kinds = " or ".join((_describe_type(info.type), *info.literals, *(each.__name__ for each in info.objects)))
        raise ConfigError(f"{given}, not {kinds}.", hint=info.describe()) from None
    if info.choices and parsed not in info.choices:
        near = did_you_mean(str(parsed), [str(c) for c in info.choices])
        raise ConfigError(f"{given}.", hint=f"{near} {info.describe()}".strip())
    low, high = info.minimum, info.maximum
    if (low is not None and parsed < low) or (high is not None and parsed > high):
        raise ConfigError(f"{given}, out of bounds.", hint=info.describe())
    return parsed


def parse_pairs(pairs: tuple[str, ...], *, flag: str) -> dict[str, str]:
    """Splits ``("hidden=512", "depth=2")`` into a dict.

    Args:
        pairs: Texts of the form ``name=value``.
        flag: The command-line option that they were passed with, for messages.

    Raises:
        ConfigError: A pair has no ``=``, or no name before it.
    """
    values: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.strip():
            raise ConfigError(f"{flag} {pair!r} is not of the form NAME=VALUE.", hint=f"Example: {flag} hidden=512")
        values[name.strip()] = value.strip()
    return values


def split_options(kind: str, names: Sequence[str], values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Divides values of options among offers of a kind: with several, ``cutmix.alpha`` is the ``alpha`` of ``cutmix``.

    Args:
        kind: Name of the kind: ``"augmentation"``.
        names: Names of the offers, as the user gave them.
        values: Values by name.

    Raises:
        ConfigError: It is unclear or unknown which offer a value is for.
    """
    own: dict[str, dict[str, Any]] = {name: {} for name in names}
    for key, value in values.items():
        name, dot, bare = key.rpartition(".")
        if dot and name in own:
            own[name][bare] = value
        elif len(names) == 1 and not dot:
            own[names[0]][key] = value
        else:
            example = f"{option_flag(kind)} {names[0]}.{bare}=VALUE" if names else f"Choose {article(kind)} as well."
            raise ConfigError(
                f"{option_flag(kind)} {key}: it is unclear which {kind} this is for.",
                hint=f"Put its name before a dot: {example}" if names else example,
            )
    return own


def option_flag(kind: str) -> str:
    """Returns the flag that sets the options of an offer: ``--data-option`` for the kind ``"dataset"``."""
    return f"--{_FLAG_WORDS.get(kind, kind)}-option"


def _how_to_set(info: OptionInfo, owner: str) -> str:
    kind, named, _ = owner.rpartition(" ")
    return f"Set it with {option_flag(kind)} {info.name}=VALUE. {info.describe()}" if named else info.describe()


def _describe(field: dataclasses.Field[Any], hint: Any) -> OptionInfo | None:
    parts = typing.get_args(hint) if typing.get_origin(hint) in (Union, types.UnionType) else (hint,)
    kinds = [part for part in parts if part in _TYPES or typing.get_origin(part) is Literal]
    objects = tuple(part for part in parts if part not in kinds and isinstance(part, type) and part is not type(None))
    literals: tuple[str, ...] = ()
    if len(kinds) == 2 and kinds[0] in (int, float) and typing.get_origin(kinds[1]) is Literal:
        literals = typing.get_args(kinds.pop())
    if not kinds:
        return None
    choices = typing.get_args(kinds[0]) if typing.get_origin(kinds[0]) is Literal else ()
    kind = type(choices[0]) if choices else kinds[0]
    if len(kinds) != 1 or kind not in _TYPES:
        return None
    default = field.default_factory() if field.default_factory is not _MISSING else field.default
    required = default is _MISSING
    return OptionInfo(
        name=field.name,
        type=kind,
        optional=type(None) in parts,
        default=None if required else default,
        required=required,
        choices=choices,
        minimum=field.metadata.get("minimum"),
        maximum=field.metadata.get("maximum"),
        help=field.metadata.get("help", ""),
        group=field.metadata.get("group", ""),
        literals=literals,
        objects=objects,
    )


def _parse(kind: type[Any], value: Any) -> Any:
    if kind is bool:
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in _BOOLS:
            return _BOOLS[value.lower()]
        raise ValueError
    if kind is str:
        value = os.fspath(value) if isinstance(value, os.PathLike) else value
        if not isinstance(value, str):
            raise ValueError
        return value
    if isinstance(value, Real) and not isinstance(value, bool):  # numbers of NumPy, too
        value = float(value) if kind is float or not isinstance(value, Integral) else int(value)
    if isinstance(value, bool) or (kind is int and isinstance(value, float) and not value.is_integer()):
        raise ValueError
    if not isinstance(value, (int, float, str)):
        raise ValueError
    number = kind(value)
    if not math.isfinite(number):
        raise ValueError
    return number


def _describe_type(kind: type[Any]) -> str:
    return {int: "a whole number", float: "a finite number", bool: "yes or no", str: "text"}[kind]
