"""Puts off the import of torch's compiler, which takes longer than that of torch itself, until something is compiled.

Every optimiser of torch imports ``torch._dynamo`` at its first step, and torchvision imports ``torch._dynamo.utils``
for an operation of detectors; outside compiled code they ask of it nothing but that it stay out of the way. So
stand-ins answer these few questions as it would, and give way to the real modules as soon as anything else is asked:
by `torch.compile`, an export to ONNX, a process group. Whatever a version of torch asks that is not foreseen here costs
the time of the import and no more. Imports no torch.
"""

from __future__ import annotations

import functools
import importlib
import sys
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

COMPILER = "torch._dynamo"
_UTILS = "torch._dynamo.utils"


def put_off_compiler() -> None:
    """Lets ``import torch._dynamo`` cost nothing until something is compiled; does nothing where it is imported."""
    if COMPILER not in sys.modules and _UTILS not in sys.modules:
        sys.modules[COMPILER] = _StandIn(COMPILER, {"graph_break": _graph_break, "disable": _disable})
        sys.modules[_UTILS] = _StandIn(_UTILS, {"is_compile_supported": _is_compile_supported})


class _StandIn(ModuleType):
    """A module of which a few functions are there, and which is imported when another is asked for."""

    def __init__(self, name: str, functions: dict[str, Callable[..., Any]]) -> None:
        super().__init__(name)
        self.__dict__.update(functions)

    def __getattr__(self, name: str) -> Any:
        # Whoever looks through sys.modules (inspect does) asks for __file__ and the like. Only a package has __path__,
        # and the import of a submodule begins by asking for it.
        if name.startswith("__") and (name, self.__name__) != ("__path__", COMPILER):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        return getattr(_real(self.__name__), name)


def _real(name: str) -> ModuleType:
    for standing in (COMPILER, _UTILS):
        if isinstance(sys.modules.get(standing), _StandIn):
            del sys.modules[standing]
    return importlib.import_module(name)


def _graph_break(msg: str = "") -> None:
    """Stands for `torch._dynamo.graph_break`, which does nothing outside compiled code."""


def _disable(fn: Any = None, recursive: bool = True, **more: Any) -> Any:
    """Stands for `torch._dynamo.disable`: calls the function `fn`, through the real `disable` once that is there."""
    if not isinstance(fn, FunctionType):
        return _real(COMPILER).disable(fn, recursive, **more)

    @functools.cache
    def disabled() -> Callable[..., Any]:
        wrapped: Callable[..., Any] = _real(COMPILER).disable(fn, recursive, **more)
        return wrapped

    @functools.wraps(fn)
    def call(*args: Any, **kwargs: Any) -> Any:
        return (fn if isinstance(sys.modules.get(COMPILER), _StandIn) else disabled())(*args, **kwargs)

    return call


def _is_compile_supported(device_type: Any) -> bool:
    """Stands for `torch._dynamo.utils.is_compile_supported`; asked only by operations that want to compile."""
    supported: bool = _real(_UTILS).is_compile_supported(device_type)
    return supported
