"""Finds NaN and infinity in networks: in their weights, and in what their layers return. Imports torch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch.utils.hooks import RemovableHandle


def find_bad_entries(entries: Mapping[str, Tensor], network: nn.Module) -> list[str]:
    """Returns the names of the entries of a state dict that are not finite. Waits for the device once.

    Args:
        entries: Some or all of the entries of `network`, by name, on one device.
        network: Tells what the entries are. Buffers may be infinite, because some networks store attention masks, but
            not the statistics of normalisations.
    """
    must_be_finite = {name for name, _ in network.named_parameters()}
    for path, module in network.named_modules():
        if isinstance(module, nn.modules.batchnorm._NormBase):
            must_be_finite |= {f"{path}.{name}".lstrip(".") for name, _ in module.named_buffers(recurse=False)}
    floats = {name: each for name, each in entries.items() if each.is_floating_point() and each.numel()}
    if not floats:
        return []
    # NaN if any value is: ten times as fast as looking at each value with isfinite().
    extremes = torch.stack([torch.stack(torch.aminmax(tensor.detach())).float() for tensor in floats.values()]).tolist()
    return [
        name
        for name, (low, high) in zip(floats, extremes, strict=True)
        if math.isnan(low) or (name in must_be_finite and (math.isinf(low) or math.isinf(high)))
    ]


def mark_overflow(probabilities: Tensor, logits: Tensor) -> Tensor:
    """Returns probabilities ``(N, classes)`` that are NaN for the images whose logits are not all finite.

    A sigmoid of infinity is 1: without the logits, an overflow looks like certainty.
    """
    return probabilities + 0 * logits.float().sum(dim=1, keepdim=True)


@torch.no_grad()
def find_source(network: nn.Module, images: Any) -> str:
    """Returns where NaN or infinity begins: ``", first in the output of backbone.layer1.0.conv1"``.

    Args:
        network: The network, in the mode in which it returned NaN.
        images: Its input. The network runs once more, and the output of every module is checked.

    Returns:
        Text for the end of a message; empty if this time all outputs are finite.
    """
    if not _is_finite(images):
        return ", because its input is not finite"
    found: list[str] = []

    def check(place: str, value: Any) -> None:
        if not found and not _is_finite(value):
            found.append(place)

    def add_hooks(name: str, module: nn.Module) -> Iterator[RemovableHandle]:
        # Inputs too: code between modules may fail.
        yield module.register_forward_pre_hook(lambda module, inputs: check(f"input of {name}", inputs))
        yield module.register_forward_hook(lambda module, inputs, output: check(f"output of {name}", output))

    hooks = [hook for name, module in network.named_modules() if name for hook in add_hooks(name, module)]
    try:
        network(images)
    finally:
        for hook in hooks:
            hook.remove()
    return f", first in the {found[0]}" if found else ""


def _is_finite(value: Any) -> bool:
    return all(bool(tensor.isfinite().all()) for tensor in _floats(value))


def _floats(output: Any) -> Iterator[Tensor]:
    """Yields the tensors in what a module returned, which may be anything."""
    if isinstance(output, Tensor):
        if output.is_floating_point():
            yield output
    elif isinstance(output, tuple | list | dict):
        for part in output.values() if isinstance(output, dict) else output:
            yield from _floats(part)
