"""Describes the machine: processor, memory, GPU, versions."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

_CPUINFO = Path("/proc/cpuinfo")
_PACKAGES = ("torch", "torchvision", "timm", "numpy", "pillow")


def describe_machine(packages: tuple[str, ...] = _PACKAGES) -> dict[str, Any]:
    """Returns everything about the machine that the figures depend on, as plain values.

    Args:
        packages: Distributions whose versions to include; missing ones are left out.
    """
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "amx": "amx_tile" in _cpu_flags(),
        "memory_gib": round(_memory() / 2**30, 1),
        "gpu": _gpu(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: version for name in packages if (version := _version(name))},
    }


def format_machine(machine: dict[str, Any]) -> str:
    """Formats the machine as the line above a table."""
    cpu = f"{machine['cores']} cores of {machine['cpu']}{' (AMX)' if machine['amx'] else ''}"
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
