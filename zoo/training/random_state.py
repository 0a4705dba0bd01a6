"""The global random generators: Python's, NumPy's and torch's, seeded, kept and brought back together.

The zoo itself draws from torch's alone (dropout); a plugin may draw from any.
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
    """Begins all generators, those of devices included, from a seed."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def torch_states(device: torch.device) -> dict[str, torch.Tensor]:
    """Returns the states of torch's generators: of the CPU and, kept on the host by torch, of a device."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "mps":
        states["mps"] = torch.mps.get_rng_state()  # there is but one
    elif device.type != "cpu":
        states[device.type] = torch.get_device_module(device).get_rng_state(device)
    return states


def set_torch_states(states: dict[str, torch.Tensor], device: torch.device) -> None:
    """Brings torch's generators back to what `torch_states` returned, be it for another kind of device."""
    torch.set_rng_state(states["cpu"])
    if device.type == "mps" and "mps" in states:
        torch.mps.set_rng_state(states["mps"])
    elif device.type != "cpu" and device.type in states:
        torch.get_device_module(device).set_rng_state(states[device.type], device)


def random_states(device: torch.device) -> dict[str, Any]:
    """Returns the states of all generators, as tensors and plain values: torch reads them back without pickles."""
    kept: Any = np.random.get_state()
    _, keys, place, has_gauss, gauss = kept
    return {
        "torch": torch_states(device),
        "python": random.getstate(),
        "numpy": (torch.from_numpy(keys.astype(np.int64)), int(place), int(has_gauss), float(gauss)),
    }


def set_random_states(states: dict[str, Any], device: torch.device) -> None:
    """Brings all generators back to what `random_states` returned."""
    set_torch_states(states["torch"], device)
    random.setstate(states["python"])
    keys, place, has_gauss, gauss = states["numpy"]
    np.random.set_state(("MT19937", keys.numpy().astype(np.uint32), place, has_gauss, gauss))


@contextmanager
def restore_random_states() -> Iterator[None]:
    """Restores the global generators after a block: a caller's draws do not depend on what was trained in between."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    states = random_states(device)
    try:
        yield
    finally:
        set_random_states(states, device)
