"""Trains a network in several processes at once: `DistributedDataParallel`, and what it requires of a network."""

from __future__ import annotations

import copy
import inspect
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from zoo.models.precision import Precision
    from zoo.training.mixing import MixedBatch

# torch 2.15 renamed it, and warns about the old name.
_NAMES = inspect.signature(DistributedDataParallel).parameters
_FORWARD_BUFFERS = "forward_sync_buffers" if "forward_sync_buffers" in _NAMES else "broadcast_buffers"
_BatchNorm = nn.modules.batchnorm._BatchNorm
_PLAIN_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def wrap_ddp(network: nn.Module, batch: MixedBatch, precision: Precision) -> DistributedDataParallel:
    """Wraps a network so that its gradients are averaged over all processes, while the backward pass still runs.

    Li et al. 2020, https://arxiv.org/abs/2006.15704.

    Args:
        network: The network in train mode, on its device.
        batch: The first batch that it will be trained on.
        precision: The precision of forward passes.
    """
    # DistributedDataParallel waits for the gradient of every trainable parameter. In a single process, the optimizer
    # skips parameters without one, so they may be frozen here.
    for parameter in unused_parameters(network, batch, precision):
        parameter.requires_grad_(False)
    # Forward passes need no equal buffers; `zoo.training.loop` synchronises them before an evaluation.
    options: dict[str, Any] = {_FORWARD_BUFFERS: False, "gradient_as_bucket_view": True}
    return DistributedDataParallel(network, **options)


def gradient_sync(network: object, *, last: bool) -> AbstractContextManager[object]:
    """Returns a context for forward and backward that exchanges gradients in the `last` micro-batch of a step only."""
    return network.no_sync() if isinstance(network, DistributedDataParallel) and not last else nullcontext()


def unused_parameters(network: nn.Module, batch: MixedBatch, precision: Precision) -> list[nn.Parameter]:
    """Returns the trainable parameters that the loss does not depend on; some networks of timm have them.

    Takes the gradient of a copy on two images, so that neither statistics nor random generators change.
    """
    few = batch.select(slice(0, 2))
    duplicate: Any = copy.deepcopy(network)
    with torch.random.fork_rng(devices=[precision.device] if precision.device.type == "cuda" else []):
        with precision.autocast():
            logits = duplicate(few.images)
        few.loss(duplicate.head, logits).backward()
    pairs = zip(network.parameters(), duplicate.parameters(), strict=True)
    return [parameter for parameter, other in pairs if parameter.requires_grad and other.grad is None]


def sync_batch_norm(network: nn.Module) -> int:
    """Makes batch normalisations in train mode compute statistics over the images of all processes, on CUDA.

    Replaces the modules in place; parameters and the names in the state dict stay the same.

    Args:
        network: A network whose modules are in train mode unless they are frozen.

    Returns:
        How many batch normalisations in train mode still see the images of one process only: torch has a synchronised
        one for GPUs only, and classes of a plugin's own cannot be replaced.
    """
    unsynchronised = 0
    for parent in list(network.modules()):
        for name, module in parent.named_children():
            if isinstance(module, _BatchNorm) and module.training and not isinstance(module, nn.SyncBatchNorm):
                synchronised = _synchronised(module)
                unsynchronised += synchronised is None
                if synchronised is not None:
                    setattr(parent, name, synchronised)
    return unsynchronised


def _synchronised(norm: nn.Module) -> nn.Module | None:
    on_cuda = any(buffer.is_cuda for buffer in norm.buffers())
    if not on_cuda:
        return None
    if type(norm) in _PLAIN_NORMS:
        plain: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(norm)
        return plain
    if type(norm).__module__.startswith("timm."):
        from timm.layers import convert_sync_batchnorm

        converted: nn.Module = convert_sync_batchnorm(norm)
        return converted
    return None
