"""The global random generators of Python, NumPy and torch: seeded, saved and restored together.

The zoo itself draws only from torch's (dropout); a plugin may draw from any.
"""

from __future__ import annotations

import random
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Iterator


def seed_all(seed: int) -> None:
    """Seeds all generators, those of devices included."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def torch_states(device: torch.device) -> dict[str, torch.Tensor]:
    """Returns the states of torch's generators for the CPU and for a device. torch stores both on the host."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "mps":
        states["mps"] = torch.mps.get_rng_state()  # there is a single MPS device
    elif device.type != "cpu":
        states[device.type] = torch.get_device_module(device).get_rng_state(device)
    return states


def set_torch_states(states: dict[str, torch.Tensor], device: torch.device) -> None:
    """Sets torch's generators to the result of `torch_states`, which may be that of another kind of device."""
    torch.set_rng_state(states["cpu"])
    if device.type == "mps" and "mps" in states:
        torch.mps.set_rng_state(states["mps"])
    elif device.type != "cpu" and device.type in states:
        torch.get_device_module(device).set_rng_state(states[device.type], device)


def random_states(device: torch.device) -> dict[str, Any]:
    """Returns the states of all generators as tensors and plain values, which torch can load without pickles."""
    numpy_state: Any = np.random.get_state()
    _, keys, position, has_gauss, gauss = numpy_state
    return {
        "torch": torch_states(device),
        "python": random.getstate(),
        "numpy": (torch.from_numpy(keys.astype(np.int64)), int(position), int(has_gauss), float(gauss)),
    }


def set_random_states(states: dict[str, Any], device: torch.device) -> None:
    """Sets all generators to the result of `random_states`."""
    set_torch_states(states["torch"], device)
    random.setstate(states["python"])
    keys, position, has_gauss, gauss = states["numpy"]
    np.random.set_state(("MT19937", keys.numpy().astype(np.uint32), position, has_gauss, gauss))


@contextmanager
def restore_random_states() -> Iterator[None]:
    """Restores all generators after a block or a function, whose caller then draws the same numbers as without it."""
    device = torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    states, seed = random_states(device), torch.initial_seed()
    cuda_states = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    try:
        yield
    finally:
        set_random_states(states, device)
        if cuda_states is not None:
            torch.cuda.set_rng_state_all(cuda_states)
        elif torch.cuda.is_available():  # not initialised before, because that takes time and memory
            torch.cuda.manual_seed_all(seed)
