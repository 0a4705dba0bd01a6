"""Tells whether ONNX Runtime can really compute on CUDA here, and if not, why not and what to do.

`onnxruntime.get_available_providers` tells what a build could do; what this machine can do is found by trying: the
driver, then the libraries that the CUDA provider is linked to, then a session (`zoo_export.session`).
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

from zoo.utils.machine import nvidia_gpus

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
PACKAGES = ("onnxruntime-gpu", "onnxruntime")
_REINSTALL = "pip uninstall -y onnxruntime onnxruntime-gpu && pip install 'onnxruntime-gpu[cuda,cudnn]'"


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why ONNX Runtime does not compute on CUDA.

    Attributes:
        reason: A clause: ``"there is no NVIDIA driver (libcuda.so.1)"``.
        advice: What to do about it, in one sentence.
        expected: Whether that is as it should be: a machine without an NVIDIA GPU.
    """

    reason: str
    advice: str
    expected: bool = False


@functools.cache
def cuda_obstacle() -> Obstacle | None:
    """Returns why no session can run on CUDA, or None where nothing is known to stand against it.

    Loads the CUDA libraries that torch's and NVIDIA's packages carry, once a process.
    """
    devices = nvidia_gpus()
    if isinstance(devices, str):
        return Obstacle(
            devices, "Install NVIDIA's driver ('nvidia-smi' must list the GPU), or say --device cpu.", expected=True
        )
    if devices == 0:
        return Obstacle(
            "the NVIDIA driver sees no GPU", "Check CUDA_VISIBLE_DEVICES and 'nvidia-smi', or say --device cpu."
        )
    if CUDA not in onnxruntime.get_available_providers():
        return Obstacle(f"this ONNX Runtime is built without CUDA ({told_packages()})", f"Run: {_REINSTALL}")
    printed = preload()
    missing = missing_library()
    if missing:
        told = f" {printed}" if printed else ""
        return Obstacle(f"its CUDA libraries cannot be loaded: {missing}.{told}", f"Run: {_REINSTALL}")
    return None


def preload() -> str:
    """Loads the CUDA libraries that Python packages carry; returns what ONNX Runtime prints about missing ones."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        onnxruntime.preload_dlls()
    return " ".join(printed.getvalue().split())


def missing_library() -> str:
    """Returns the loader's message on the first library that the CUDA provider lacks, or an empty string."""
    folder = Path(onnxruntime.__file__).parent / "capi"
    ending = "dll" if sys.platform == "win32" else "so"
    prefix = "" if sys.platform == "win32" else "lib"
    for part in ("shared", "cuda"):
        try:
            # Global, because the CUDA provider finds its host through the shared one.
            ctypes.CDLL(str(folder / f"{prefix}onnxruntime_providers_{part}.{ending}"), mode=ctypes.RTLD_GLOBAL)
        except OSError as error:
            return str(error)
    return ""


def installed_packages() -> dict[str, str]:
    """Returns the version of each installed distribution that brings ONNX Runtime; one of them is right."""
    versions = {}
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return versions


def package_conflict() -> Obstacle | None:
    """Returns what is wrong with the installed packages, or None.

    ``onnxruntime`` and ``onnxruntime-gpu`` share the folder ``onnxruntime/``: the last installed wins without a word,
    and uninstalling either breaks the other.
    """
    versions = installed_packages()
    if len(versions) > 1:
        return Obstacle(
            f"{told_packages()} are both installed, and each overwrites the other's files", f"Run: {_REINSTALL}"
        )
    if versions and {version.partition("+")[0] for version in versions.values()} != {onnxruntime.__version__}:
        return Obstacle(
            f"{told_packages()} is installed, but the files are those of {onnxruntime.__version__}",
            f"Run: {_REINSTALL}",
        )
    if "onnxruntime-gpu" in versions and CUDA not in onnxruntime.get_available_providers():
        return Obstacle("onnxruntime-gpu is installed, but its files are those of a CPU build", f"Run: {_REINSTALL}")
    return None


def told_packages() -> str:
    """Returns ``onnxruntime-gpu 1.31.1``, or both packages where both are there."""
    versions = installed_packages() or {"onnxruntime": onnxruntime.__version__}
    return " and ".join(f"{package} {version}" for package, version in versions.items())
