"""Checks the installation by using it: the machine, torch, the cache folder, the plugins, and what plugins check."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from zoo.errors import PluginError
from zoo.plugins.calls import call_within, describe_exception, plugin_failure, resolve_callable
from zoo.plugins.distributions import complete_command
from zoo.plugins.faults import findings_fault
from zoo.plugins.kinds import CHECK
from zoo.plugins.registry import load_registry
from zoo.plugins.specs import CHECK_SECONDS, CheckSpec, Finding
from zoo.utils.machine import available_memory, nvidia_gpus, usable_cpus
from zoo.utils.paths import HOME_VARIABLE, home

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import torch

    from zoo.plugins.registry import Offer, Registry

_LOW_MEMORY = 2 << 30
_LOW_DISK = 2 << 30  # several times the weights and photos of a first run
_GET_TORCH = "Install torch and torchvision together, for this machine: https://pytorch.org/get-started/locally"


class CheckResult(NamedTuple):
    """A finding, and the check that made it.

    Attributes:
        check: ``"machine"`` for a check of the core, ``"export/onnxruntime"`` for one of a plugin.
        finding: What it found.
    """

    check: str
    finding: Finding


def run_checks(registry: Registry | None = None, *, problems: Sequence[tuple[str, str]] = ()) -> Iterator[CheckResult]:
    """Runs every check, those of the core first, and yields each finding as soon as it is made.

    A check that fails becomes a finding itself; the others still run.

    Args:
        registry: The plugins; by default those that are installed.
        problems: The keys of plugins that cannot add a command, each with the reason.
    """
    registry = registry or load_registry()
    for spec in (*CHECKS, CheckSpec(name="plugins", run=lambda: check_plugins(registry, problems))):
        yield from _run_check(spec.name, resolve_callable(spec.run))
    for offer in registry.offers(CHECK):
        yield from _run_check(offer.name, partial(_run_offer, offer))


def _run_offer(offer: Offer[CheckSpec]) -> list[Finding]:
    action = "checking the set-up for"
    findings = offer.call(action, call_within, CHECK_SECONDS, resolve_callable(offer.spec.run))
    if fault := findings_fault(findings):
        raise plugin_failure(offer.plugin, f"{action} '{offer.spec.name}'", fault)
    return findings


def _run_check(name: str, run: Callable[[], list[Finding]]) -> Iterator[CheckResult]:
    try:
        findings = run()
    except KeyboardInterrupt:
        raise
    # As when plugins are loaded: not even sys.exit() in a plugin may end the program.
    except BaseException as error:
        text = error.message if isinstance(error, PluginError) else f"The check failed: {describe_exception(error)}"
        advice = "Either what it checks is broken, or the check itself is: report it to its author."
        findings = [Finding(about=name.rpartition("/")[2], status="problem", text=text, advice=advice)]
    for finding in findings:
        yield CheckResult(name, finding)


def check_machine() -> list[Finding]:
    """Reports Python, processors and memory."""
    cpus, memory = usable_cpus(), available_memory()
    python = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    findings = [
        Finding(about="Python", status="ok", text=python),
        Finding(about="processors", status="ok", text=f"{cpus} of {os.cpu_count()} available to this process"),
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
        text = "not installed: exported files work, training does not"
        advice = f"To train, export or serve, install torch with the rest of the zoo: {complete_command()}"
        return [Finding(about="torch", status="warning", text=text, advice=advice)]
    except (ImportError, OSError, RuntimeError) as error:
        return [_broken_torch(error)]
    fault = _find_fault(torch.device("cpu"))
    if fault:
        return [Finding(about="torch", status="problem", text=f"{torch.__version__}: {fault}", advice=_GET_TORCH)]
    text = f"{torch.__version__}, {torch.get_num_threads()} threads"
    return [Finding(about="torch", status="ok", text=text), *_check_gpus(), _check_precision()]


def check_cache() -> list[Finding]:
    """Writes to the cache folder, and checks the free space."""
    folder = home()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"zoo")
        free = shutil.disk_usage(folder).free
    except OSError as error:
        text = f"{folder} is not writable: {error.strerror or error}"
        advice = f"Fix its permissions, or choose another folder with {HOME_VARIABLE}=DIR."
        return [Finding(about="cache folder", status="problem", text=text, advice=advice)]
    low = free < _LOW_DISK
    advice = f"Free some space, or choose another folder with {HOME_VARIABLE}=DIR." if low else ""
    text = f"{_shorten(folder)}, {free / 2**30:.1f} GiB free"
    return [Finding(about="cache folder", status="warning" if low else "ok", text=text, advice=advice)]


def check_plugins(registry: Registry, problems: Sequence[tuple[str, str]] = ()) -> list[Finding]:
    """Reports the plugins that failed, those that cannot add a command, and those that are blocked."""
    failures = [
        Finding(
            about=plugin.key,
            status="problem",
            text=f"The plugin failed: {plugin.error}",
            advice=f"'zoo plugins --verbose' shows the traceback; ZOO_BLOCK_PLUGINS={plugin.key} leaves it out.",
        )
        for plugin in registry.failures
    ]
    failed = {plugin.key for plugin in registry.failures}
    failures += [
        Finding(about=key, status="warning", text=f"It {text}", advice="Report it to its author.")
        for key, text in problems
        if key not in failed
    ]
    blocked = ", ".join(plugin.key for plugin in registry.plugins if plugin.blocked)
    loaded = sum(plugin.error is None for plugin in registry.plugins)
    text = f"{loaded} loaded" + (f"; blocked by ZOO_BLOCK_PLUGINS: {blocked}" if blocked else "")
    return [Finding(about="plugins", status="ok", text=text), *failures]


def _broken_torch(error: Exception) -> Finding:
    text = f"cannot be imported: {type(error).__name__}: {error}"
    return Finding(about="torch", status="problem", text=text, advice=_GET_TORCH)


def _check_gpus() -> list[Finding]:
    import torch

    if torch.backends.mps.is_available():
        return [_check_gpu("GPU", torch.device("mps"), "Apple")]
    if torch.cuda.is_available():
        devices = [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
        return [_check_gpu(f"GPU {device.index}", device, torch.cuda.get_device_name(device)) for device in devices]
    found = nvidia_gpus()
    if isinstance(found, str):
        return [Finding(about="GPU", status="ok", text=f"none that torch can use: {found}")]
    if found == 0:
        advice = "Check CUDA_VISIBLE_DEVICES and 'nvidia-smi'."
        return [Finding(about="GPU", status="warning", text="the NVIDIA driver finds none", advice=advice)]
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPUs only"
    text = f"the NVIDIA driver finds {found}, but torch, built for {build}, cannot use it"
    advice = f"If the driver is too old, update it. Otherwise: {_GET_TORCH}"
    return [Finding(about="GPU", status="problem", text=text, advice=advice)]


def _check_gpu(about: str, device: torch.device, name: str) -> Finding:
    fault = _find_fault(device)
    if fault:
        return Finding(about=about, status="problem", text=f"{name}: {fault}", advice=_GET_TORCH)
    import torch

    if device.type != "cuda":
        return Finding(about=about, status="ok", text=name)
    free, total = torch.cuda.mem_get_info(device)
    low = free < _LOW_MEMORY
    return Finding(
        about=about,
        status="warning" if low else "ok",
        text=f"{name}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free, CUDA {torch.version.cuda}",
        advice="'nvidia-smi' lists the programs that use its memory." if low else "",
    )


def _find_fault(device: torch.device) -> str:
    """Returns why a device cannot multiply matrices, or an empty string if it can."""
    import torch

    try:
        product = torch.full((64, 64), 2.0, device=device) @ torch.full((64, 64), 3.0, device=device)
        correct = bool((product == 64 * 6).all())
    except RuntimeError as error:  # no kernel for this GPU, no memory left, a broken driver
        return f"it cannot compute: {str(error).strip().partition(chr(10))[0]}"
    return "" if correct else "it computes wrong results"


def _check_precision() -> Finding:
    from zoo.models.precision import choose_device, choose_precision

    device = choose_device("auto")
    precision = choose_precision("auto", device)
    return Finding(about="precision", status="ok", text=f"{precision.name} on {device}: {precision.reason}")


def _shorten(folder: Path) -> str:
    try:
        return f"~/{folder.relative_to(Path.home())}"
    except (ValueError, RuntimeError):
        return str(folder)


CHECKS = (
    CheckSpec(name="machine", run=check_machine),
    CheckSpec(name="torch", run=check_torch),
    CheckSpec(name="cache", run=check_cache),
)
