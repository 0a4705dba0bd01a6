"""The device of each of several processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from zoo.errors import ConfigError
from zoo.models.precision import choose_device

if TYPE_CHECKING:
    from zoo.training.distributed.process_group import ProcessGroup


def device_for(name: str, processes: ProcessGroup) -> torch.device:
    """Returns the device of this process: a GPU of its own, or the CPU that all share.

    Args:
        name: The name, as in `FinetuneConfig.device`.
        processes: The processes that train together; for a single one the result is that of `choose_device`.

    Raises:
        ConfigError: This machine has no such device, or too few GPUs.
    """
    if processes.is_single:
        return choose_device(name)
    if name == "auto":
        name = choose_device(name).type
    if name == "cpu":
        return torch.device(name)
    if name != "cuda":
        raise ConfigError(
            f"finetune: option 'device' is {name!r}, a single device, for {processes.local_count} processes.",
            hint="Pass --device cuda or --device cpu, or leave --devices out.",
        )
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count < processes.local_count:
        raise ConfigError(
            f"finetune: {processes.local_count} processes need a GPU each, but torch {torch.__version__} sees "
            f"{count} CUDA devices.",
            hint=f"Pass --devices {count} or --device cpu." if count else "Pass --device cpu.",
        )
    return torch.device("cuda", processes.local_rank)
