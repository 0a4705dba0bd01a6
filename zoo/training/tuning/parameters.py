"""What a study searches: options with a range or a list of values, parsed and checked against the options themselves.

The text is that of ``zoo tune --search NAME=VALUES``: ``lr=1e-5..1e-2:log``, ``epochs=2..8:step=2``,
``head-lr-multiplier=1,10``, ``probe=yes,no``, ``augment=none,blur,mixup+blur``, ``optimizer-option.beta2=0.9..0.99``.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo.config import NAMES_OF, OPTIONS_OF, FinetuneConfig
from zoo.display.formatting import format_option
from zoo.errors import ConfigError, did_you_mean
from zoo.models.offers import find_options
from zoo.plugins.kinds import BACKBONE, KINDS
from zoo.plugins.options import OptionInfo, check_value, describe_options, find_option, option_flag
from zoo.utils.arguments import LIST
from zoo.utils.text import short_repr

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from zoo.plugins.registry import Registry

OWNER = "tune"
Value = bool | int | float | str | None
RANGE, LOG, STEP, TOGETHER = "..", "log", "step=", "+"
_DECIDES_PHOTOS = "It decides which photos are used, so that trials could not be compared."
_DECIDES_VALUE = "It decides what is measured, so that trials could not be compared."
_NO_EFFECT = "It has no effect on the result."
# Fields that are the same for all trials, and why.
FIXED = {
    **dict.fromkeys(("data", "data_options", "val_fraction", "test_fraction", "limit", "exclude"), _DECIDES_PHOTOS),
    "labels": "It decides the labels, so that trials could not be compared.",
    "seed": "It decides which photos validate, so that trials could not be compared.",
    **dict.fromkeys(("monitor", "metric", "metric_options"), _DECIDES_VALUE),
    **dict.fromkeys(("device", "devices", "workers", "cache", "cache_size", "save_every"), _NO_EFFECT),
    **dict.fromkeys(("tracker", "tracker_options"), _NO_EFFECT),
}
_EXAMPLE = "For example: lr=1e-5..1e-2:log, epochs=2..8:step=2, head-lr-multiplier=1,10 or probe=yes,no."


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One option that is searched: a range of numbers, or a list of values.

    Attributes:
        name: As on the command line: ``"head-lr-multiplier"``, ``"optimizer-option.beta2"``.
        field: The field of `FinetuneConfig` that it sets, or adds an option to.
        key: The name of that option: ``"beta2"``, ``"cutmix.alpha"``; empty for a field itself.
        choices: The values; empty for a range. Several augmentations at once are joined by a plus sign.
        low: The lowest value of a range.
        high: The highest one.
        step: The distance between two values of a range, from `low` on; None for any value, or any whole number.
        log: Whether values are drawn evenly from the logarithms.
    """

    name: str
    field: str
    key: str = ""
    choices: tuple[Value, ...] = ()
    low: int | float = 0
    high: int | float = 0
    step: int | float | None = None
    log: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether it is a range of whole numbers."""
        return not self.choices and isinstance(self.low, int)

    def describe(self) -> str:
        """Returns the values as on the command line: ``1e-05..0.01:log``, ``yes,no``."""
        if self.choices:
            return ",".join(map(format_option, self.choices))
        suffix = ":log" if self.log else f":{STEP}{format_option(self.step)}" if self.step is not None else ""
        return f"{format_option(self.low)}{RANGE}{format_option(self.high)}{suffix}"

    def contains(self, value: object) -> bool:
        """Returns whether a value is one of those that are searched."""
        if self.choices:
            return any(value == each and isinstance(value, bool) == isinstance(each, bool) for each in self.choices)
        if not isinstance(value, int | float) or isinstance(value, bool) or not self.low <= value <= self.high:
            return False
        steps = (value - self.low) / self.step if self.step else 0.0
        return abs(steps - round(steps)) < 1e-8

    def to_field(self, value: Value) -> Any:
        """Returns what the field takes, or the option of its plugin, for one of the values."""
        if self.key or self.field not in NAMES_OF:
            return value
        return () if value == "none" else tuple(str(value).split(TOGETHER))


def parse_search(
    search: Mapping[str, str | Sequence[Any]], base: FinetuneConfig, registry: Registry
) -> tuple[Parameter, ...]:
    """Returns what is searched.

    Args:
        search: The text of the command line by name, or a list of values. Names may be written with underscores.
        base: The configuration of all trials: its optimizer, head and so on have the options of plugins that are
            searched, unless these are searched themselves.
        registry: The plugins.

    Raises:
        ConfigError: There is no such option, it cannot be searched, or its values are wrong; the message names it.
        UnknownNameError: No plugin offers one of the values.
    """
    if not search:
        raise ConfigError("There is nothing to search.", hint=f"Name an option and its values. {_EXAMPLE}")
    names = {}
    for given, values in search.items():
        field, key = find_field(given)
        name = f"{_prefix(field)}.{key}" if key else field.replace("_", "-")
        if name in names:
            raise ConfigError(f"{OWNER}: '{name}' is searched twice.")
        names[name] = field, key, values
    parsed: dict[str, Parameter] = {}
    for name, (field, key, values) in sorted(names.items(), key=lambda each: bool(each[1][1])):  # options last
        info = _find_info(name, field, key, parsed, base, registry)
        parsed[name] = _parse(name, field, key, info, values)
        _check_offers(parsed[name], registry)
    return tuple(parsed[name] for name in names)


def to_values(parameters: Sequence[Parameter], params: Mapping[str, Value]) -> dict[str, Any]:
    """Returns the values of a trial as fields of `FinetuneConfig`; options of the same kind of plugin are one dict."""
    values: dict[str, Any] = {}
    for parameter in parameters:
        value = parameter.to_field(params[parameter.name])
        if parameter.key:
            values.setdefault(parameter.field, {})[parameter.key] = value
        else:
            values[parameter.field] = value
    return values


def find_default(parameter: Parameter, base: FinetuneConfig, registry: Registry) -> Value:
    """Returns the value that the trials would have if it were not searched; None for an option that no one names."""
    given = getattr(base, parameter.field)
    if parameter.key:
        if parameter.key in given:
            return given[parameter.key]  # type: ignore[no-any-return]
        info = _find_info(parameter.name, parameter.field, parameter.key, {}, base, registry, strict=False)
        return None if info is None else info.default
    if parameter.field in NAMES_OF:
        return TOGETHER.join(given) or "none"
    return given  # type: ignore[no-any-return]


def drop_unused(config: FinetuneConfig, parameters: Sequence[Parameter], registry: Registry) -> dict[str, Any]:
    """Returns the options of plugins of a trial without searched ones that its plugins do not have, by field.

    With ``optimizer=adamw,sgd`` and ``optimizer-option.beta2``, a trial with sgd has no ``beta2``.
    """
    changed: dict[str, Any] = {}
    for parameter in parameters:
        if not parameter.key:
            continue
        if _find_info(parameter.name, parameter.field, parameter.key, {}, config, registry, strict=False) is None:
            left = changed.setdefault(parameter.field, dict(getattr(config, parameter.field)))
            left.pop(parameter.key, None)
    return changed


def _prefix(field: str) -> str:
    """Returns ``optimizer-option`` for ``optimizer_options``."""
    return option_flag(OPTIONS_OF[field]).removeprefix("--")


def find_field(given: str) -> tuple[str, str]:
    """Returns the field of the name of an option, and the option of a plugin if it is one.

    Raises:
        ConfigError: There is no such option, or it cannot be searched.
    """
    first, dot, key = given.strip().lstrip("-").partition(".")
    prefixes = {_prefix(field): field for field in OPTIONS_OF} | {
        field.replace("_", "-"): field for field in OPTIONS_OF
    }
    fields = [field.name for field in dataclasses.fields(FinetuneConfig) if field.name not in OPTIONS_OF]
    name = first.replace("_", "-")
    field = prefixes.get(name) if dot or name in prefixes else first.replace("-", "_")
    if field is None or field not in (*fields, *OPTIONS_OF):
        known = [each.replace("_", "-") for each in fields if each not in FIXED]
        known += [prefix for prefix, owner in prefixes.items() if prefix == _prefix(owner) and owner not in FIXED]
        hint = f"{did_you_mean(first, known)} 'zoo finetune --help' lists all options.".strip()
        raise ConfigError(f"{OWNER}: there is no option '{given}' to search.", hint=hint)
    if field in FIXED:
        raise ConfigError(f"{OWNER}: '{given}' cannot be searched.", hint=FIXED[field])
    if field in OPTIONS_OF and not key:
        hint = f"Name an option of the {OPTIONS_OF[field]}: {_prefix(field)}.NAME=VALUES"
        raise ConfigError(f"{OWNER}: '{given}' names no option.", hint=hint)
    part, dot, option = key.rpartition(".")  # names of plugins' offers keep their hyphens: random-erasing.probability
    return field, f"{part}{dot}{option.replace('-', '_')}"


def _find_info(
    name: str,
    field: str,
    key: str,
    parsed: Mapping[str, Parameter],
    base: FinetuneConfig,
    registry: Registry,
    *,
    strict: bool = True,
) -> OptionInfo | None:
    """Returns the description of an option; None for names of plugins, and for what no plugin has if not `strict`."""
    if not key:
        infos = {info.name: info for info in describe_options(FinetuneConfig)}
        return infos.get(field)
    kind = next(kind for kind in KINDS if kind.name == OPTIONS_OF[field])
    owners = list(_owners(field, parsed, base))
    wanted, dot, bare = key.rpartition(".")
    owners = [owner for owner in owners if not dot or owner == wanted]
    if not owners and strict:
        chosen = f"'{wanted}' is not chosen" if dot else f"no {kind.name} is chosen"
        raise ConfigError(f"{OWNER}: '{name}': {chosen}.", hint=f"Search or set the {kind.name} as well.")
    error: ConfigError | None = None
    for owner in owners:
        offer = registry.find(kind, owner)
        options = find_options(offer, {bare}) if kind is BACKBONE else offer.spec.options
        try:
            return find_option(options, bare, owner=f"{kind.name} {owner}")
        except ConfigError as missing:
            error = error or missing
    if strict and error is not None:
        raise error
    return None


def _owners(field: str, parsed: Mapping[str, Parameter], base: FinetuneConfig) -> Iterator[str]:
    """Yields the names of the plugins' offers whose options a field contains: all choices if they are searched."""
    named = field.removesuffix("_options")
    if (searched := parsed.get(named)) is not None:
        values = [searched.to_field(choice) for choice in searched.choices]
    else:
        values = [getattr(base, named)]
    names = [name for value in values for name in ((value,) if isinstance(value, str) else value)]
    yield from dict.fromkeys(names)


def _check_offers(parameter: Parameter, registry: Registry) -> None:
    """Checks that plugins offer all names among the values of a parameter."""
    kinds = {kind.name: kind for kind in KINDS}
    kind = kinds.get(NAMES_OF.get(parameter.field, parameter.field))
    if parameter.key or kind is None or parameter.field == "recipe":  # recipes may be files; make_config finds them
        return
    for choice in parameter.choices:
        value = parameter.to_field(choice)
        for name in (value,) if isinstance(value, str) else value:
            registry.find(kind, name)


def _parse(name: str, field: str, key: str, info: OptionInfo | None, values: str | Sequence[Any]) -> Parameter:
    numeric = info is not None and info.type in (int, float) and not info.choices
    if isinstance(values, str) and RANGE in values and not (info is not None and info.type is str):
        if not numeric or info is None:
            kind = info.describe() if info is not None else f"Names, for example {name}=none,mixup."
            raise ConfigError(f"{OWNER}: '{name}' is no number, and has no range {short_repr(values)}.", hint=kind)
        return _parse_range(name, field, key, info, values)
    if not isinstance(values, str) and not LIST.matches(values):
        raise ConfigError(
            f"{OWNER}: the values of '{name}' cannot be of type {type(values).__name__}.",
            hint="Pass text or a list of values: search={'lr': '1e-5..1e-2:log', 'probe': [True, False]}.",
        )
    given = [each.strip() for each in values.split(",")] if isinstance(values, str) else list(values)
    choices = tuple(_parse_choice(name, field, info, each) for each in given)
    if len(choices) < 2:
        shown = f"{name}={values if isinstance(values, str) else ','.join(map(str, values))}"
        raise ConfigError(
            f"{OWNER}: there is nothing to search in {short_repr(shown)}.",
            hint=f"A single value is an option of its own. {_EXAMPLE}",
        )
    if twice := next((each for number, each in enumerate(choices) if each in choices[:number]), None):
        raise ConfigError(
            f"{OWNER}: '{name}' has the value {format_option(twice)} twice.", hint="Give each value once."
        )
    return Parameter(name=name, field=field, key=key, choices=choices)


def _parse_choice(name: str, field: str, info: OptionInfo | None, value: Any) -> Value:
    if info is not None:
        return check_value(info, value, owner=OWNER)  # type: ignore[no-any-return]
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not all(isinstance(each, str) for each in names):
        raise ConfigError(f"{OWNER}: '{name}' has the value {short_repr(value)}, which is no name.")
    return TOGETHER.join(names) or "none"


def _parse_range(name: str, field: str, key: str, info: OptionInfo, text: str) -> Parameter:
    bounds, *suffixes = (each.strip() for each in text.split(":"))
    wrong = f"{OWNER}: '{name}' has the range {short_repr(text)}"
    low_text, _, high_text = bounds.partition(RANGE)
    low, high = (
        check_value(info, each.strip(), owner=f"{OWNER}: {short_repr(text)}") for each in (low_text, high_text)
    )
    if not all(isinstance(each, int | float) for each in (low, high)):  # "auto", none
        raise ConfigError(f"{wrong}, whose bounds are not numbers.", hint=info.describe())
    log, step = False, None
    for suffix in suffixes:
        if suffix == LOG:
            log = True
        elif suffix.startswith(STEP):
            step = _parse_step(suffix.removeprefix(STEP), info, wrong)
        else:
            raise ConfigError(f"{wrong}, and ':{suffix}' is unknown.", hint=f"It is :log or :step=X. {_EXAMPLE}")
    if low >= high:
        raise ConfigError(f"{wrong}, whose bounds are in the wrong order or equal.", hint=_EXAMPLE)
    if log and low <= 0:
        raise ConfigError(f"{wrong}, but a logarithm needs a lower bound above 0.", hint=_EXAMPLE)
    if log and step is not None:
        raise ConfigError(f"{wrong}, but a logarithmic range has no steps.", hint=_EXAMPLE)
    if step is not None:
        # The highest value that steps from the lowest one reach.
        high = low + int((high - low) / step + 1e-9) * step
        if high == low:
            raise ConfigError(f"{wrong}, whose step is larger than the range.", hint=_EXAMPLE)
    return Parameter(name=name, field=field, key=key, low=low, high=high, step=step, log=log)


def _parse_step(text: str, info: OptionInfo, wrong: str) -> int | float:
    try:
        step: int | float = info.type(text)
    except ValueError:
        step = 0
    if not 0 < step < float("inf"):
        kind = "whole number" if info.type is int else "number"
        raise ConfigError(f"{wrong}, whose step is {short_repr(text)}, not a {kind} above 0.", hint=_EXAMPLE)
    return step
