"""Describes the machine: processor, memory, GPU, versions."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

_CPUINFO = Path("/proc/cpuinfo")
# They hold torch and its libraries to fewer instructions or cores than the processor has.
_LIMITS = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "ONEDNN_DEFAULT_FPMATH_MODE", "OMP_NUM_THREADS")
_PACKAGES = ("torch", "torchvision", "timm", "numpy", "pillow")


def describe_machine(packages: tuple[str, ...] = _PACKAGES, *, ask_torch: bool = False) -> dict[str, Any]:
    """Returns everything about the machine that the figures depend on, as plain values.

    Args:
        packages: Distributions whose versions to include; missing ones are left out.
        ask_torch: Whether to ask a new process for the instruction set that torch uses, if torch is not imported here.
    """
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "amx": "amx_tile" in _cpu_flags(),
        "torch_capability": _torch_capability(ask=ask_torch),
        "limits": {name: os.environ[name] for name in _LIMITS if name in os.environ},
        "memory_gib": round(_memory() / 2**30, 1),
        "gpu": _gpu(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: version for name in packages if (version := _version(name))},
    }


def format_machine(machine: dict[str, Any]) -> str:
    """Formats the machine as the line above a table."""
    cpu = f"{machine['cores']} cores of {machine['cpu']}{' (AMX)' if machine['amx'] else ''}"
    limits = ", ".join(f"{name}={value}" for name, value in machine["limits"].items())
    cpu += f", torch uses {machine['torch_capability']}" if machine["torch_capability"] else ""
    cpu += f" ({limits})" if limits else ""
    versions = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    gpu = machine["gpu"] or "no GPU"
    return f"{cpu}, {machine['memory_gib']} GiB; {gpu}; Python {machine['python']}, {versions}"


def _cpu_model() -> str:
    models = [line.partition(":")[2].strip() for line in _cpu_lines() if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def _cpu_flags() -> set[str]:
    return {flag for line in _cpu_lines() if line.startswith("flags") for flag in line.split()}


def _cpu_lines() -> list[str]:
    return _CPUINFO.read_text("utf-8").splitlines() if _CPUINFO.exists() else []


def _torch_capability(*, ask: bool) -> str:
    """Returns the instruction set of torch's own kernels, or an empty text where it is not known."""
    torch: Any = sys.modules.get("torch")
    if torch is not None:
        return str(torch.backends.cpu.get_cpu_capability())
    if not ask:
        return ""
    command = [sys.executable, "-c", "import torch; print(torch.backends.cpu.get_cpu_capability())"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def _memory() -> int:
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return 0
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _gpu() -> str:
    """Asks the driver's own tool, because importing torch would warm up what some benchmarks measure cold."""
    command = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return "; ".join(done.stdout.strip().splitlines())


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
