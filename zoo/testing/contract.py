"""Shared by all checks: violations as AssertionErrors, fixed seeds, and the check of options."""

from __future__ import annotations

import contextlib
import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from zoo.errors import ConfigError
from zoo.models.random_state import restore_random_states, seed_all
from zoo.plugins.calls import resolve_callable
from zoo.plugins.options import check_value, describe_options, make_options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from zoo.plugins.specs import Spec


@dataclass(frozen=True, slots=True)
class Contract:
    """The contract of one object. Each violation is an AssertionError that starts with the name of the object.

    Attributes:
        name: The object, for messages: ``"backbone tinynet"``.
    """

    name: str

    def require(self, condition: bool, sentence: str) -> None:
        """Raises an AssertionError with the sentence, which says what the contract requires, unless it is met."""
        __tracebackhide__ = True
        if not condition:
            raise AssertionError(f"{self.name}: {sentence}")

    @contextlib.contextmanager
    def calling(self, what: str) -> Iterator[None]:
        """Turns an exception of the plugin into an AssertionError that says what was called."""
        try:
            yield
        except AssertionError:
            raise
        except Exception as error:
            raise AssertionError(f"{self.name}: {what} raised {type(error).__name__}: {error}") from error


@contextlib.contextmanager
def seeded() -> Iterator[None]:
    """Seeds all generators inside the block, and restores those of the caller afterwards."""
    with restore_random_states():
        seed_all(0)
        yield


def check_options(contract: Contract, options: type[Any], values: Mapping[str, Any]) -> Any:
    """Checks an options dataclass, and returns an instance with `values`."""
    contract.require(
        isinstance(options, type) and dataclasses.is_dataclass(options) and _is_frozen(options),
        "its options must be a frozen dataclass (zoo.NoOptions if there are none)",
    )
    with contract.calling("reading its options"):
        infos = describe_options(options)
    for info in infos:
        contract.require(bool(info.help), f"the option '{info.name}' must have a line of help: zoo.option(help=...)")
        if not info.required:
            with contract.calling(f"checking the default of the option '{info.name}' against its own type and bounds"):
                check_value(info, info.default, owner=contract.name)
    with contract.calling(f"creating its options from {dict(values)}"):
        instance = make_options(options, values, owner=contract.name)
    try:
        make_options(options, {**values, "no_such_option": "1"}, owner=contract.name)
    except ConfigError:
        return instance
    raise AssertionError(f"{contract.name}: it must refuse an unknown option")


def check_spec(spec: Spec, *, kind: str) -> None:
    """Checks the options of a spec of any kind: each has a line of help, and a default of its type and bounds."""
    required = {
        info.name: info.choices[0] if info.choices else info.type()
        for info in describe_options(spec.options)
        if info.required
    }
    check_options(Contract(f"{kind} {spec.name}"), spec.options, required)


def check_local(contract: Contract, is_local: Callable[..., bool] | str, *arguments: Any) -> None:
    """Checks the callable of a spec that says whether something is on this machine."""
    with contract.calling("is_local()"):
        local: object = resolve_callable(is_local)(*arguments)
    contract.require(isinstance(local, bool), f"is_local() must return True or False, not {local!r}")


def perturb(module: nn.Module) -> None:
    """Changes every parameter a little, so that no parameter that is initialised to zero hides what lies behind it."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * (0.1 * parameter.abs().mean() + 0.01))


def is_close(a: Tensor, b: Tensor) -> bool:
    """Returns whether two tensors are equal, except for rounding in another order of summation."""
    return a.shape == b.shape and bool(torch.allclose(a, b, rtol=1e-3, atol=1e-4 * float(b.abs().max())))


def reload_state(module: nn.Module, fresh: nn.Module) -> None:
    """Loads the state of `module` into `fresh`, by way of the bytes of a safetensors file."""
    from safetensors.torch import load, save

    state = {name: tensor.detach().clone().contiguous() for name, tensor in module.state_dict().items()}
    fresh.load_state_dict(load(save(state)))


def _is_frozen(options: type[Any]) -> bool:
    return bool(vars(options)["__dataclass_params__"].frozen)
