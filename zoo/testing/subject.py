"""What the checks share: the subject that messages speak of, seeds, and the check of options."""

from __future__ import annotations

import contextlib
import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from zoo.errors import ConfigError
from zoo.plugins.options import check_value, describe_options, make_options

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from zoo.plugins.specs import Spec


@dataclass(frozen=True, slots=True)
class Subject:
    """What is being checked.

    Attributes:
        name: As messages name it: ``"backbone tinynet"``.
    """

    name: str

    def want(self, kept: bool, sentence: str) -> None:
        """Raises an AssertionError with `sentence`, what the contract wants, unless it is kept."""
        __tracebackhide__ = True
        if not kept:
            raise AssertionError(f"{self.name}: {sentence}")

    @contextlib.contextmanager
    def calling(self, what: str) -> Iterator[None]:
        """Turns an exception of the plugin's own code into an AssertionError that says what was called."""
        try:
            yield
        except AssertionError:
            raise
        except Exception as error:
            raise AssertionError(f"{self.name}: {what} raised {type(error).__name__}: {error}") from error


@contextlib.contextmanager
def seeded() -> Iterator[None]:
    """Makes weights and inputs the same in every run, and leaves the caller's random state as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def check_options(subject: Subject, options: type[Any], values: Mapping[str, Any]) -> Any:
    """Checks an options dataclass and returns it with `values` set."""
    subject.want(
        isinstance(options, type) and dataclasses.is_dataclass(options) and _is_frozen(options),
        "its options must be a frozen dataclass (zoo.plugins.options.NoOptions where there are none)",
    )
    with subject.calling("reading its options"):
        infos = describe_options(options)
    for info in infos:
        subject.want(
            bool(info.help), f"the option '{info.name}' must have a line of help: zoo.plugins.options.option(help=...)"
        )
        if not info.required:
            with subject.calling(f"checking the default of the option '{info.name}' against its own type and bounds"):
                check_value(info, info.default, owner=subject.name)
    with subject.calling(f"making its options from {dict(values)}"):
        made = make_options(options, values, owner=subject.name)
    try:
        make_options(options, {**values, "no_such_option": "1"}, owner=subject.name)
    except ConfigError:
        return made
    raise AssertionError(f"{subject.name}: an option that it does not have must be refused")


def check_spec(spec: Spec) -> None:
    """Checks what every spec has: its options, all of which have a line of help and a default that fits."""
    required = {
        info.name: info.choices[0] if info.choices else info.type()
        for info in describe_options(spec.options)
        if info.required
    }
    check_options(Subject(f"{type(spec).__name__} {spec.name}"), spec.options, required)


def jitter(module: nn.Module) -> None:
    """Moves every parameter a little, so that none that starts at zero hides what lies behind it."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * (0.1 * parameter.abs().mean() + 0.01))


def close(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are equal but for the rounding of another order of summation."""
    return a.shape == b.shape and bool(torch.allclose(a, b, rtol=1e-3, atol=1e-4 * float(b.abs().max())))


def saved_and_loaded(module: nn.Module, fresh: nn.Module) -> None:
    """Passes the state of `module` through the bytes of a safetensors file into `fresh`."""
    from safetensors.torch import load, save

    state = {name: tensor.detach().clone().contiguous() for name, tensor in module.state_dict().items()}
    fresh.load_state_dict(load(save(state)))


def _is_frozen(options: type[Any]) -> bool:
    return bool(vars(options)["__dataclass_params__"].frozen)
