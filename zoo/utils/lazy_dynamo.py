"""Defers the import of torch's compiler, which takes longer than torch itself, until something is compiled.

Every torch optimizer imports ``torch._dynamo`` at its first step, and torchvision imports ``torch._dynamo.utils`` for
its detection operators. Outside compiled code both need only a few trivial functions. This module puts placeholders
with these functions into `sys.modules`; the use of anything else replaces them by the real modules, for instance by
`torch.compile`, an ONNX export or a process group. So whatever else a new version of torch needs costs the time of the
import, and nothing more. Imports no torch.

It saves 1.5 of 3.6 seconds and 146 MiB in a process that takes one optimizer step (torch 2.15, two cores).
``ZOO_LAZY_DYNAMO=0`` turns it off.
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

VARIABLE = "ZOO_LAZY_DYNAMO"
_DYNAMO = "torch._dynamo"
_UTILS = "torch._dynamo.utils"


def defer_dynamo_import() -> None:
    """Makes ``import torch._dynamo`` cost nothing until something is compiled.

    Does nothing if it is imported already, or if `VARIABLE` is ``0``.
    """
    if os.environ.get(VARIABLE) != "0" and _DYNAMO not in sys.modules and _UTILS not in sys.modules:
        sys.modules[_DYNAMO] = _Placeholder(_DYNAMO, {"graph_break": _graph_break, "disable": _disable})
        sys.modules[_UTILS] = _Placeholder(_UTILS, {"is_compile_supported": _is_compile_supported})


class _Placeholder(ModuleType):
    """A module with a few functions that imports the real module for any other attribute."""

    def __init__(self, name: str, functions: dict[str, Callable[..., Any]]) -> None:
        super().__init__(name)
        self.__dict__.update(functions)

    def __getattr__(self, name: str) -> Any:
        # Tools such as inspect read __file__ and the like of every module. Only a package has __path__, and the import
        # of a submodule begins by reading it.
        if name.startswith("__") and (name, self.__name__) != ("__path__", _DYNAMO):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        return getattr(_import_real(self.__name__), name)


def _import_real(name: str) -> ModuleType:
    for placeholder in (_DYNAMO, _UTILS):
        if isinstance(sys.modules.get(placeholder), _Placeholder):
            del sys.modules[placeholder]
    return importlib.import_module(name)


def _graph_break(msg: str = "") -> None:
    """Replaces `torch._dynamo.graph_break`, which does nothing outside compiled code."""


def _disable(fn: Any = None, recursive: bool = True, **options: Any) -> Any:
    """Replaces `torch._dynamo.disable`: calls `fn`, through the real `disable` once that is imported."""
    if not isinstance(fn, FunctionType):
        return _import_real(_DYNAMO).disable(fn, recursive, **options)

    @functools.cache
    def disabled() -> Callable[..., Any]:
        wrapped: Callable[..., Any] = _import_real(_DYNAMO).disable(fn, recursive, **options)
        return wrapped

    @functools.wraps(fn)
    def call(*args: Any, **kwargs: Any) -> Any:
        return (fn if isinstance(sys.modules.get(_DYNAMO), _Placeholder) else disabled())(*args, **kwargs)

    return call


def _is_compile_supported(device_type: Any) -> bool:
    """Replaces `torch._dynamo.utils.is_compile_supported`, which only operators that want to compile call."""
    supported: bool = _import_real(_UTILS).is_compile_supported(device_type)
    return supported
