"""Shared by all checks: violations as AssertionErrors, fixed seeds, and the check of options."""

from __future__ import annotations

import contextlib
import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from zoo.errors import ConfigError
from zoo.models.random_state import random_states, restore_random_states, seed_all
from zoo.plugins.calls import call_within, describe_exception, resolve_callable
from zoo.plugins.options import check_value, describe_options, make_options
from zoo.plugins.process_state import read_settings, restore_settings
from zoo.plugins.supervision import describe_task, exit_refused, find_running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from zoo.plugins.specs import Spec

T = TypeVar("T")
LOCAL_SECONDS = 5.0  # for what should take milliseconds, on a busy machine


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
        """Turns an exception of the plugin into an AssertionError that says what was called.

        So does what the plugin does to the process: settings that it changes, threads and processes that it leaves.
        """
        settings, running = read_settings(), find_running()
        try:
            with exit_refused():
                yield
        except (AssertionError, KeyboardInterrupt):
            raise
        except BaseException as error:  # SystemExit, too
            raise AssertionError(f"{self.name}: {what} raised {describe_exception(error)}") from error
        finally:
            changed = restore_settings(settings)
        self.require(not changed, f"{what} must not change settings of the process; it changed {', '.join(changed)}")
        left = ", ".join(describe_task(task) for task in find_running() if task not in running)
        self.require(not left, f"{what} must end what it starts, or keep it from keeping the process alive: {left}")

    def call_within(self, seconds: float, what: str, function: Callable[[], T]) -> T:
        """Returns the result of a call that must not take longer than so many seconds."""
        with self.calling(what):
            call_within(seconds, function)
        # Again, in this thread: what a thread starts ends with the process if the thread does.
        with self.calling(what):
            return function()


@contextlib.contextmanager
def seeded() -> Iterator[None]:
    """Seeds all generators inside the block, and restores those of the caller afterwards."""
    with restore_random_states():
        seed_all(0)
        yield


def describe_random_states(device: torch.device) -> str:
    """Returns a text that differs if a global generator was seeded or drawn from."""
    states = random_states(device)
    numpy_keys, *numpy_rest = states["numpy"]
    keys = [hash(states["torch"]["cpu"].numpy().tobytes()), hash(numpy_keys.numpy().tobytes())]
    return repr((keys, numpy_rest, hash(states["python"])))


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
    missing = [info.name for info in infos if info.required and info.name not in values]
    contract.require(
        not missing,
        f"it requires the option '{missing[0] if missing else ''}': pass values for the test, to check_plugin() as "
        "options={NAME: {OPTION: VALUE}}",
    )
    with contract.calling(f"creating its options from {dict(values)}"):
        instance = make_options(options, values, owner=contract.name)
    try:
        make_options(options, {**values, "no_such_option": "1"}, owner=contract.name)
    except ConfigError:
        return instance
    raise AssertionError(f"{contract.name}: it must refuse an unknown option")


def option_variants(options: Any) -> list[Any]:
    """Returns variants of `options`: each changes one option to another of its choices."""
    infos = [info for info in describe_options(type(options)) if info.choices or info.type is bool]
    return [
        dataclasses.replace(options, **{info.name: choice})
        for info in infos
        for choice in (info.choices or (False, True))
        if choice != getattr(options, info.name)
    ]


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
    local: object = contract.call_within(LOCAL_SECONDS, "is_local()", lambda: resolve_callable(is_local)(*arguments))
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
