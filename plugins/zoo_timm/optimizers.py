"""The family of timm's optimizers. Imports neither torch nor, once the names are cached, timm.

https://huggingface.co/docs/timm/reference/optimizers
"""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from typing import TYPE_CHECKING, Any

from zoo.errors import ConfigError
from zoo.plugins.calls import lazy
from zoo.plugins.options import option
from zoo.plugins.specs import OptimizerSpec
from zoo_timm.name_cache import find_names, read_names

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

    from zoo.plugins.specs import OptimizerRequest

_FILE = "timm-optimizers.json"
# Arguments that are options of every training, or that torch chooses well.
_LEFT_OUT = (
    *("self", "params", "lr", "weight_decay", "momentum", "betas"),
    *("foreach", "fused", "maximize", "capturable", "differentiable"),
)
_PLAIN = {"bool": bool, "float": float, "int": int, "str": str}


def list_names() -> list[str]:
    """Returns all names, sorted."""
    return list(_entries())


def list_known_names() -> list[str]:
    """Returns all names if the cache folder holds them, otherwise none. Never imports timm."""
    return list(read_names(_FILE) or ())


def resolve(name: str) -> OptimizerSpec | None:
    """Returns the spec of one of timm's optimizers, or None."""
    entry = _entries().get(name)
    if entry is None:
        return None
    return OptimizerSpec(
        name=name,
        summary=f"timm's {name}: {entry['summary']}",
        build=lazy("zoo_timm.optimizers:build", name),
        options=_make_options(entry),
        rate_growth="linear" if any(word in name for word in ("sgd", "momentum", "nesterov")) else "sqrt",
    )


def build(name: str, request: OptimizerRequest) -> torch.optim.Optimizer:
    """Builds one of timm's optimizers.

    Raises:
        ConfigError: It does not work on this machine, or refuses an option.
    """
    from timm.optim import create_optimizer_v2

    values = {field.name: getattr(request.options, field.name) for field in dataclasses.fields(request.options)}
    given = {name: value for name, value in values.items() if value is not None}
    defaults = _entries()[name]["betas"]
    betas = [given.pop(f"beta{number}", default) for number, default in enumerate(defaults, start=1)]
    arguments = given | ({"betas": tuple(betas)} if betas != defaults else {})
    try:
        optimizer: torch.optim.Optimizer = create_optimizer_v2(
            request.groups, opt=name, lr=request.lr, momentum=request.momentum, **arguments
        )
    except (ImportError, AssertionError, TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(f"finetune: the optimizer '{name}' does not work here: {error}.") from error
    return optimizer


def _entries() -> dict[str, Any]:
    """Returns summary, options and betas by name."""
    return find_names(_FILE, _list_with_timm)


def _list_with_timm() -> dict[str, Any]:
    from timm.optim import get_optimizer_class, get_optimizer_info, list_optimizers

    entries = {}
    for name in sorted(map(str, list_optimizers())):
        info = get_optimizer_info(name)
        if info.second_order:  # needs second derivatives, which the training loop does not compute
            continue
        try:
            arguments = [*_arguments(get_optimizer_class(name, bind_defaults=False), info.defaults or {})]
        except (ImportError, AttributeError, AssertionError):  # of a library that is missing, as its build will say
            arguments = []
        betas = next((list(default) for argument, _, default in arguments if argument == "betas"), [])
        plain = [each for each in arguments if each[0] != "betas"]
        entries[name] = {"summary": info.description, "options": plain, "betas": betas}
    return entries


def _arguments(kind: Any, overrides: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Yields the name, the type and the default of each argument of a class that text can express, and its betas."""
    hints = typing.get_type_hints(kind.__init__)
    for name, parameter in inspect.signature(kind).parameters.items():
        default = overrides.get(name, parameter.default)
        if name == "betas" and isinstance(default, tuple):
            yield name, "", default
        elif name not in _LEFT_OUT and default is not parameter.empty:
            plain = _plain_type(hints.get(name), default)
            if plain:
                yield name, plain, default


def _plain_type(hint: Any, default: Any) -> str:
    """Returns the type of an argument as that of an option; empty if text cannot express it."""
    if default is not None and type(default) not in _PLAIN.values():
        return ""
    parts = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    found = next((name for name, kind in _PLAIN.items() if kind in parts), "")
    return found or ("" if default is None else type(default).__name__)


def _make_options(entry: dict[str, Any]) -> type[Any]:
    betas = [(f"beta{number}", "float", default) for number, default in enumerate(entry["betas"], start=1)]
    fields = [
        (name, typing.Optional[_PLAIN[kind]], option(None, help=f"argument of timm; none: {default}"))  # noqa: UP045
        for name, kind, default in (*betas, *entry["options"])
    ]
    return dataclasses.make_dataclass("TimmOptimizerOptions", fields, frozen=True, slots=True, kw_only=True)
