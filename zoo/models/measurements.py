"""Stores measurements of this machine in the cache folder, so that each is made only once."""

from __future__ import annotations

import json
import platform
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from zoo.errors import RunError
from zoo.utils.files import atomic_write
from zoo.utils.paths import home

if TYPE_CHECKING:
    from collections.abc import Mapping

_FILE = "measured.json"
_CPU = Path("/proc/cpuinfo")


def machine_key(device: torch.device) -> str:
    """Returns what the speed of a device depends on: its model, the number of threads, the version of torch."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}"
    features = [torch.backends.cpu.get_cpu_capability(), *(["AMX"] if torch.cpu._is_amx_tile_supported() else [])]
    return f"{_cpu_model()} {'+'.join(features)}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def read_cached(key: str) -> Mapping[str, str] | None:
    """Returns the measurement that is stored under a key; None if there is none, or none that is readable."""
    values = _read().get(key)
    return values if isinstance(values, dict) and all(isinstance(value, str) for value in values.values()) else None


def write_cached(key: str, values: Mapping[str, str]) -> None:
    """Stores a measurement. If the cache folder is not writable, it does nothing, and the next run measures again."""
    # Of two processes that write at the same time, the later one wins; the other measurement is made once more.
    with suppress(OSError, RunError):
        home().mkdir(parents=True, exist_ok=True)
        with atomic_write(home() / _FILE) as aside:
            aside.write_text(json.dumps({**_read(), key: dict(values)}, indent=2) + "\n", encoding="utf-8")


def _read() -> dict[str, object]:
    try:
        content = json.loads((home() / _FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):  # missing, truncated or edited
        return {}
    return content if isinstance(content, dict) else {}


def _cpu_model() -> str:
    with suppress(OSError):  # only Linux has this file
        for line in _CPU.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
