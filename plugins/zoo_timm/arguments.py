"""The arguments of timm's networks as options: ``pad_type=same``. Imports timm."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import types
import typing
from typing import TYPE_CHECKING, Any, Literal

import timm
import torch
from timm.models import model_entrypoint
from torch import nn

from zoo.errors import ConfigError
from zoo.plugins.options import option
from zoo_timm.options import TimmOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

# Arguments that the contract of a backbone decides, or that the zoo has an option for, each with what to do.
_REFUSED = {
    "num_classes": "The head computes the outputs, one for each class.",
    "global_pool": "The head pools the features: see --head-option pooling=...",
    "in_chans": "Photos have three channels.",
    "features_only": "A backbone returns pooled features and a map.",
    "out_indices": "A backbone returns pooled features and a map.",
    "patch_drop_rate": "A feature map has no gaps.",
    "img_size": "Pass --image-size.",
    "drop_rate": "Pass --dropout.",
    "drop_path_rate": "Pass --backbone-option drop_path=...",
    "pretrained": "Pass --weights.",
    "checkpoint_path": "Pass --weights FILE.",
    "pretrained_cfg": "Pass --weights.",
    "pretrained_cfg_overlay": "Pass --weights.",
    "cache_dir": "Set HF_HUB_CACHE.",
    "device": "Pass --device.",
    "dtype": "Pass --precision.",
    "scriptable": "'zoo export' exports a run.",
    "exportable": "'zoo export' exports a run.",
    "no_jit": "'zoo export' exports a run.",
}
# timm takes any other value for the default, or rounds it.
_CHOICES: dict[str, tuple[Any, ...]] = {"pad_type": ("", "same", "valid"), "output_stride": (8, 16, 32)}
_PLAIN = (bool, int, float, str)


def all_options(name: str, given: Collection[str]) -> type[TimmOptions]:
    """Returns the options of one of timm's networks: those of all networks, and the arguments of its class.

    Args:
        name: timm's name of the network.
        given: The names of the options that the user passes.

    Raises:
        ConfigError: One of them is an argument that would break the contract of a backbone.
    """
    if refused := sorted(_REFUSED.keys() & given):
        raise ConfigError(f"backbone {name} does not take timm's argument '{refused[0]}'.", hint=_REFUSED[refused[0]])
    return _make_options(name.partition(".")[0])


def given_arguments(options: TimmOptions) -> dict[str, Any]:
    """Returns the arguments that the user passes, out of an instance of `all_options`."""
    own = {field.name for field in dataclasses.fields(TimmOptions)}
    values = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
    return {name: value for name, value in values.items() if name not in own and value is not None}


@functools.cache
def _make_options(architecture: str) -> type[TimmOptions]:
    network = _find_class(architecture)
    help_text = f"argument of timm's {network.__name__}; none: that of {architecture}"
    fields = [
        (name, typing.Optional[kind], option(None, help=help_text))  # noqa: UP045  `|` takes no Literal of choices
        for name, kind in _arguments(network)
        if name not in _REFUSED
    ]
    made: type[TimmOptions] = dataclasses.make_dataclass(
        "TimmArguments", fields, bases=(TimmOptions,), frozen=True, slots=True, kw_only=True
    )
    return made


def _find_class(architecture: str) -> type[nn.Module]:
    """Returns the class of a network: the annotated one, without building the network, if there is one."""
    annotated = typing.get_type_hints(model_entrypoint(architecture)).get("return")
    if isinstance(annotated, type) and issubclass(annotated, nn.Module):
        return annotated
    try:
        with torch.device("meta"):
            return type(timm.create_model(architecture))
    except RuntimeError:  # some networks read values while they are built, which meta tensors lack
        return type(timm.create_model(architecture))


def _arguments(network: type[nn.Module]) -> Iterator[tuple[str, Any]]:
    """Yields the arguments of a class that text can express, with their types; those of its configuration, too."""
    seen = set[str]()
    for initialise in _initialisers(network):
        for name, hint in _describe_arguments(initialise):
            kind = _plain_type(name, hint)
            if name not in seen and kind is not None:
                seen.add(name)
                yield name, kind


def _initialisers(network: type[nn.Module]) -> Iterator[Callable[..., None]]:
    """Yields the ``__init__`` of a class, and those of its base classes as long as each passes on what is unknown."""
    for owner in network.__mro__[: network.__mro__.index(nn.Module)]:
        if (initialise := vars(owner).get("__init__")) is not None:
            yield initialise
            parameters = inspect.signature(initialise).parameters.values()
            if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
                return


def _describe_arguments(initialise: Callable[..., None]) -> Iterator[tuple[str, Any]]:
    hints = typing.get_type_hints(initialise)
    for name in inspect.signature(initialise).parameters:
        hint = hints.get(name)
        if name == "cfg" and isinstance(hint, type) and dataclasses.is_dataclass(hint):
            yield from typing.get_type_hints(hint).items()  # timm overlays other arguments onto it
        else:
            yield name, hint


def _plain_type(name: str, hint: Any) -> Any:
    """Returns the type of an argument as that of an option; None if text cannot express it."""
    if name in _CHOICES:
        return Literal[_CHOICES[name]]
    parts = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    literals = [part for part in parts if typing.get_origin(part) is Literal]
    return next((part for part in (*literals, *_PLAIN) if part in parts), None)
