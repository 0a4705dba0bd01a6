"""What was measured on this machine is kept in the cache folder, so that it is measured once."""

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
    """Returns what decides how fast a device is: its model, the threads, torch's version."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}"
    features = [torch.backends.cpu.get_cpu_capability(), *(["AMX"] if torch.cpu._is_amx_tile_supported() else [])]
    return f"{_cpu_model()} {'+'.join(features)}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def recall(key: str) -> Mapping[str, str] | None:
    """Returns what was kept under a key; None where there is nothing, or nothing readable."""
    verdict = _read().get(key)
    return verdict if isinstance(verdict, dict) and all(isinstance(value, str) for value in verdict.values()) else None


def keep(key: str, verdict: Mapping[str, str]) -> None:
    """Keeps a verdict. Where the cache folder cannot be written to, it is measured anew the next time."""
    # Of two processes that write at a time the later one wins; what the other kept is measured once more.
    with suppress(OSError, RunError):
        home().mkdir(parents=True, exist_ok=True)
        with atomic_write(home() / _FILE) as aside:
            aside.write_text(json.dumps({**_read(), key: dict(verdict)}, indent=2) + "\n", encoding="utf-8")


def _read() -> dict[str, object]:
    try:
        content = json.loads((home() / _FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):  # missing, or cut off or edited: measured anew
        return {}
    return content if isinstance(content, dict) else {}


def _cpu_model() -> str:
    with suppress(OSError):  # Linux alone has this file
        for line in _CPU.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
