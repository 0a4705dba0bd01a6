"""The core's own checks of the set-up: the machine, torch, the cache folder, the plugins."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.plugins.specs import CheckSpec, Finding
from zoo.utils.machine import available_memory, nvidia_gpus, usable_cpus
from zoo.utils.paths import HOME_VARIABLE, home

if TYPE_CHECKING:
    import torch

    from zoo.plugins.registry import Registry

_LOW_MEMORY = 2 << 30
_LOW_DISK = 2 << 30  # weights and photos of a first run, some times over
_GET_TORCH = "Install torch and torchvision together, for this machine: https://pytorch.org/get-started/locally"


def check_machine() -> list[Finding]:
    """Looks at Python, processors and memory."""
    cpus, memory = usable_cpus(), available_memory()
    python = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    findings = [
        Finding(about="Python", status="ok", text=python),
        Finding(about="processors", status="ok", text=f"{cpus} of {os.cpu_count()} for this process"),
    ]
    if memory is not None:
        low = memory < _LOW_MEMORY
        findings.append(
            Finding(
                about="memory",
                status="warning" if low else "ok",
                text=f"{memory / 2**30:.1f} GiB available",
                advice="Close other programs, or train with a smaller --batch-size." if low else "",
            )
        )
    return findings


def check_torch() -> list[Finding]:
    """Multiplies matrices with torch, on the CPU and on every GPU."""
    try:
        import torch
    except ModuleNotFoundError as error:
        if error.name != "torch":
            return [_broken_torch(error)]
        text, advice = "not installed: exported files can be used, and nothing trained", "To train, install torch."
        return [Finding(about="torch", status="warning", text=text, advice=advice)]
    except (ImportError, OSError, RuntimeError) as error:
        return [_broken_torch(error)]
    reason = _miscounts(torch.device("cpu"))
    if reason:
        return [Finding(about="torch", status="problem", text=f"{torch.__version__}: {reason}", advice=_GET_TORCH)]
    text = f"{torch.__version__}, {torch.get_num_threads()} threads"
    return [Finding(about="torch", status="ok", text=text), *_gpus(), _precision()]


def check_cache() -> list[Finding]:
    """Writes to the cache folder, and looks at the space that is left."""
    folder = home()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"zoo")
        free = shutil.disk_usage(folder).free
    except OSError as error:
        text = f"{folder} cannot be written to: {error.strerror or error}"
        advice = f"Put its permissions right, or name another folder with {HOME_VARIABLE}=DIR."
        return [Finding(about="cache folder", status="problem", text=text, advice=advice)]
    low = free < _LOW_DISK
    advice = f"Make room, or name another folder with {HOME_VARIABLE}=DIR." if low else ""
    text = f"{_short(folder)}, {free / 2**30:.1f} GiB free"
    return [Finding(about="cache folder", status="warning" if low else "ok", text=text, advice=advice)]


def check_plugins(registry: Registry) -> list[Finding]:
    """Tells which plugins failed."""
    failed = [
        Finding(
            about=plugin.key,
            status="problem",
            text=f"The plugin failed: {plugin.error}",
            advice=f"'zoo plugins --verbose' shows where; ZOO_BLOCK_PLUGINS={plugin.key} leaves it out.",
        )
        for plugin in registry.failures
    ]
    blocked = ", ".join(plugin.key for plugin in registry.plugins if plugin.blocked)
    used = sum(plugin.error is None for plugin in registry.plugins)
    text = f"{used} loaded" + (f"; left out by ZOO_BLOCK_PLUGINS: {blocked}" if blocked else "")
    return [Finding(about="plugins", status="ok", text=text), *failed]


def _broken_torch(error: Exception) -> Finding:
    text = f"cannot be imported: {type(error).__name__}: {error}"
    return Finding(about="torch", status="problem", text=text, advice=_GET_TORCH)


def _gpus() -> list[Finding]:
    import torch

    if torch.backends.mps.is_available():
        return [_gpu("GPU", torch.device("mps"), "Apple's")]
    if torch.cuda.is_available():
        devices = [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
        return [_gpu(f"GPU {device.index}", device, torch.cuda.get_device_name(device)) for device in devices]
    seen = nvidia_gpus()
    if isinstance(seen, str):
        return [Finding(about="GPU", status="ok", text=f"none that torch can use: {seen}")]
    if seen == 0:
        advice = "Check CUDA_VISIBLE_DEVICES and 'nvidia-smi'."
        return [Finding(about="GPU", status="warning", text="the NVIDIA driver sees none", advice=advice)]
    built = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPUs alone"
    text = f"the NVIDIA driver sees {seen}, and torch, built for {built}, cannot use it"
    advice = f"If the driver is too old, bring it up to date. Else: {_GET_TORCH}"
    return [Finding(about="GPU", status="problem", text=text, advice=advice)]


def _gpu(about: str, device: torch.device, name: str) -> Finding:
    reason = _miscounts(device)
    if reason:
        return Finding(about=about, status="problem", text=f"{name}: {reason}", advice=_GET_TORCH)
    import torch

    if device.type != "cuda":
        return Finding(about=about, status="ok", text=name)
    free, total = torch.cuda.mem_get_info(device)
    low = free < _LOW_MEMORY
    return Finding(
        about=about,
        status="warning" if low else "ok",
        text=f"{name}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free, CUDA {torch.version.cuda}",
        advice="'nvidia-smi' tells which programs use its memory." if low else "",
    )


def _miscounts(device: torch.device) -> str:
    """Returns why a product of matrices is not to be had on a device, or an empty string."""
    import torch

    try:
        product = torch.full((64, 64), 2.0, device=device) @ torch.full((64, 64), 3.0, device=device)
        right = bool((product == 64 * 6).all())
    except RuntimeError as error:  # no kernel for this GPU, no memory left, a broken driver
        return f"it cannot compute: {str(error).strip().partition(chr(10))[0]}"
    return "" if right else "it computes wrongly"


def _precision() -> Finding:
    from zoo.models.precision import choose_device, choose_precision

    device = choose_device("auto")
    chosen = choose_precision("auto", device)
    return Finding(about="precision", status="ok", text=f"{chosen.name} on {device}: {chosen.reason}")


def _short(folder: Path) -> str:
    try:
        return f"~/{folder.relative_to(Path.home())}"
    except (ValueError, RuntimeError):
        return str(folder)


CHECKS = (
    CheckSpec(name="machine", run=check_machine),
    CheckSpec(name="torch", run=check_torch),
    CheckSpec(name="cache", run=check_cache),
)
