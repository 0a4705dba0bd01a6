"""Copies tensors to a device without waiting for what the device is still doing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Returns a tensor of main memory on a device.

    ``torch.tensor(values, device="cuda")`` and ``tensor.to("cuda")`` wait for all work that was given to the device,
    of which there should always be some (https://github.com/pytorch/pytorch/issues/120996). Here nothing is waited for:
    CUDA has read the tensor when this returns, or torch keeps it for as long as it is read (pinned memory). Not so MPS,
    which then copies what others write there (https://github.com/pytorch/pytorch/issues/189690): it is waited for.
    """
    return tensor.to(device, non_blocking=device.type == "cuda")
