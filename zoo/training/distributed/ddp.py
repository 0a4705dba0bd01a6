"""A network that learns in several processes at once: `DistributedDataParallel`, and what it asks of a network."""

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
    from zoo.training.mixup import MixedBatch

# torch 2.15 has a new name for it, and warns of the old one.
_NAMES = inspect.signature(DistributedDataParallel).parameters
_FORWARD_BUFFERS = "forward_sync_buffers" if "forward_sync_buffers" in _NAMES else "broadcast_buffers"
_BatchNorm = nn.modules.batchnorm._BatchNorm
_PLAIN_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def wrap_ddp(network: nn.Module, batch: MixedBatch, precision: Precision) -> DistributedDataParallel:
    """Wraps a network so that its gradients are the mean over all processes, exchanged while backward still runs.

    Li et al. 2020, https://arxiv.org/abs/2006.15704.

    Args:
        network: In train mode, on its device.
        batch: The first that it will be given.
        precision: Of forward passes.
    """
    # DistributedDataParallel waits for the gradient of everything that learns. What has none stays as it is in a single
    # process too, where the optimiser passes over it.
    for parameter in without_gradient(network, batch, precision):
        parameter.requires_grad_(False)
    # Buffers need not be the same in forward passes; `zoo.training.loop` makes them so before an evaluation.
    options: dict[str, Any] = {_FORWARD_BUFFERS: False, "gradient_as_bucket_view": True}
    return DistributedDataParallel(network, **options)


def gradient_sync(network: object, *, last: bool) -> AbstractContextManager[object]:
    """Returns the context for forward and backward: gradients are exchanged with the `last` part of a step alone."""
    return network.no_sync() if isinstance(network, DistributedDataParallel) and not last else nullcontext()


def without_gradient(network: nn.Module, batch: MixedBatch, precision: Precision) -> list[nn.Parameter]:
    """Returns the parameters that ought to learn, but that no loss depends on; some networks of timm have them.

    Found by a step of a copy with two images, so that neither statistics nor random numbers move.
    """
    few = batch.part(slice(0, 2))
    twin: Any = copy.deepcopy(network)
    with torch.random.fork_rng(devices=[precision.device] if precision.device.type == "cuda" else []):
        with precision.autocast():
            logits = twin(few.images)
        few.loss(twin.head, logits).backward()
    pairs = zip(network.parameters(), twin.parameters(), strict=True)
    return [parameter for parameter, other in pairs if parameter.requires_grad and other.grad is None]


def sync_batch_norm(network: nn.Module) -> int:
    """Has batch normalisation in train mode take its statistics from the images of all processes, on CUDA.

    The modules are replaced in place; parameters and the names in the state dict stay.

    Args:
        network: With the modules that will learn in train mode.

    Returns:
        How many batch normalisations in train mode still look at the images of their own process alone: torch has a
        synchronised one for GPUs only, and a plugin's own kinds cannot be replaced.
    """
    left = 0
    for parent in list(network.modules()):
        for name, module in parent.named_children():
            if isinstance(module, _BatchNorm) and module.training and not isinstance(module, nn.SyncBatchNorm):
                synchronised = _synchronised(module)
                left += synchronised is None
                if synchronised is not None:
                    setattr(parent, name, synchronised)
    return left


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
