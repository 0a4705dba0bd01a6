"""Finds out whether ONNX Runtime can really compute on CUDA here, and if not, why and what to do about it.

`onnxruntime.get_available_providers` lists what a build supports. What this machine supports takes an attempt: the
driver, then the libraries that the CUDA provider links to, then a session (`zoo_export.runtime.session`).
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.metadata
import io
import sys
from dataclasses import dataclass
from pathlib import Path

import onnxruntime

from zoo.utils.installer import pip_command
from zoo.utils.machine import nvidia_gpus

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
PACKAGES = ("onnxruntime-gpu", "onnxruntime")


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why ONNX Runtime does not compute on CUDA.

    Attributes:
        reason: A clause: ``"there is no NVIDIA driver (libcuda.so.1)"``.
        advice: What to do about it, in one sentence.
        expected: Whether this is normal: the machine has no NVIDIA GPU.
    """

    reason: str
    advice: str
    expected: bool = False


def _reinstall() -> str:
    """Returns the advice to replace both packages by that for CUDA."""
    remove = pip_command("uninstall", "-y", *reversed(PACKAGES))
    return f"Run: {remove} && {pip_command('install', 'onnxruntime-gpu[cuda,cudnn]')}"


@functools.cache
def cuda_obstacle() -> Obstacle | None:
    """Returns why no session can run on CUDA, or None if nothing is known to prevent it.

    Loads the CUDA libraries of the torch and NVIDIA packages, once per process.
    """
    devices = nvidia_gpus()
    if isinstance(devices, str):
        return Obstacle(
            devices, "Install the NVIDIA driver ('nvidia-smi' must list the GPU), or use --device cpu.", expected=True
        )
    if devices == 0:
        return Obstacle(
            "the NVIDIA driver sees no GPU", "Check CUDA_VISIBLE_DEVICES and 'nvidia-smi', or use --device cpu."
        )
    if CUDA not in onnxruntime.get_available_providers():
        return Obstacle(f"this ONNX Runtime is built without CUDA ({describe_packages()})", _reinstall())
    output = preload_libraries()
    missing = missing_library()
    if missing:
        details = f" {output}" if output else ""
        return Obstacle(f"its CUDA libraries cannot be loaded: {missing}.{details}", _reinstall())
    return None


def preload_libraries() -> str:
    """Loads the CUDA libraries that Python packages install; returns what ONNX Runtime prints about missing ones."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        onnxruntime.preload_dlls()
    return " ".join(output.getvalue().split())


def missing_library() -> str:
    """Returns the loader's message about the first library that the CUDA provider lacks, or an empty string."""
    folder = Path(onnxruntime.__file__).parent / "capi"
    suffix = "dll" if sys.platform == "win32" else "so"
    prefix = "" if sys.platform == "win32" else "lib"
    for library in ("shared", "cuda"):
        try:
            # Global, because the CUDA provider finds its host through the shared one.
            ctypes.CDLL(str(folder / f"{prefix}onnxruntime_providers_{library}.{suffix}"), mode=ctypes.RTLD_GLOBAL)
        except OSError as error:
            return str(error)
    return ""


def installed_packages() -> dict[str, str]:
    """Returns the version of each installed distribution that provides ONNX Runtime; there should be exactly one."""
    versions = {}
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return versions


def package_conflict() -> Obstacle | None:
    """Returns what is wrong with the installed packages, or None.

    ``onnxruntime`` and ``onnxruntime-gpu`` install into the same folder ``onnxruntime/``: the later one silently
    overwrites the earlier, and uninstalling either breaks the other.
    """
    versions = installed_packages()
    if len(versions) > 1:
        return Obstacle(
            f"{describe_packages()} are both installed, and each overwrites the other's files", _reinstall()
        )
    if versions and {version.partition("+")[0] for version in versions.values()} != {onnxruntime.__version__}:
        return Obstacle(
            f"{describe_packages()} is installed, but its files belong to version {onnxruntime.__version__}",
            _reinstall(),
        )
    if "onnxruntime-gpu" in versions and CUDA not in onnxruntime.get_available_providers():
        return Obstacle("onnxruntime-gpu is installed, but its files belong to a CPU build", _reinstall())
    return None


def describe_packages() -> str:
    """Returns ``onnxruntime-gpu 1.31.1``, or both packages if both are installed."""
    versions = installed_packages() or {"onnxruntime": onnxruntime.__version__}
    return " and ".join(f"{package} {version}" for package, version in versions.items())
