"""Tensors in tuples: what networks return, and what is cached of images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable


def flatten_tensors(value: Any) -> list[Tensor]:
    """Returns the tensors of a value, which is a tensor, or a tuple or a named tuple of such values."""
    return [value] if isinstance(value, Tensor) else [tensor for part in value for tensor in flatten_tensors(part)]


def count_changes(value: Any) -> list[int]:
    """Returns how often each tensor of a value has been changed in place; 0 in inference mode, which does not count."""
    return [0 if tensor.is_inference() else tensor._version for tensor in flatten_tensors(value)]


def map_tensors(function: Callable[..., Tensor], first: Any, *others: Any) -> Any:
    """Applies a function to each tensor of a value; with several values of one form, to those in the same place."""
    if isinstance(first, Tensor):
        return function(first, *others)
    results = [map_tensors(function, *each) for each in zip(first, *others, strict=True)]
    return tuple(results) if type(first) is tuple else type(first)(*results)
