"""Selects the device and the precision of forward passes."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch

from zoo.errors import ConfigError

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """The precision of forward passes on a device; weights and their updates are always float32.

    Attributes:
        name: ``"fp32"``, ``"tf32"``, ``"bf16"``, ``"fp16"``.
        device: The device.
        reason: Why this precision was selected, in a few words.
    """

    name: str
    device: torch.device
    reason: str

    def autocast(self) -> AbstractContextManager[object]:
        """Returns the context manager for forward passes."""
        if self.name not in _DTYPES:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=_DTYPES[self.name])

    @property
    def scales_loss(self) -> bool:
        """Whether gradients would underflow without a scaled loss."""
        return self.name == "fp16"

    def loss_scaler(self) -> torch.amp.GradScaler:
        """Returns a scaler for the loss; it is disabled if the precision does not need it."""
        return torch.amp.GradScaler(self.device.type, enabled=self.scales_loss)


def choose_device(name: str) -> torch.device:
    """Returns the device with a name; ``"auto"`` selects CUDA if available, else MPS, else the CPU.

    Raises:
        ConfigError: There is no such device, or this machine does not have it; never silently falls back to the CPU.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(
            f"finetune: option 'device' is {name!r}; there is no such device.", hint="Use auto, cpu, cuda or mps."
        ) from None
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            raise ConfigError(
                f"finetune: option 'device' is {name!r}, but torch {torch.__version__} sees {count} CUDA devices.",
                hint="Check 'nvidia-smi' and that torch was built for CUDA, or use --device cpu.",
            )
        return torch.device("cuda", device.index or 0)
    if device.type not in ("cpu", "mps") or (device.type == "mps" and not torch.backends.mps.is_available()):
        raise ConfigError(f"finetune: option 'device' is {name!r}, which this machine does not have.")
    return device


def choose_precision(name: str, device: torch.device) -> Precision:
    """Returns the precision with a name; ``"auto"`` selects the one that is probably the fastest on the device.

    `zoo.training.autotune.precision` measures the candidates instead.

    Raises:
        ConfigError: The device does not support the precision.
    """
    if name == "auto":
        names = candidates(device)
        reason = f"likely faster than {names[-1]}" if len(names) > 1 else "no faster precision is known for the device"
        return Precision(name=names[0], device=device, reason=reason)
    if name == "fp16" and device.type == "cpu":
        raise ConfigError("finetune: option 'precision' is 'fp16', which is slow on CPUs.", hint="Use bf16 or fp32.")
    if name == "tf32" and not _has_tf32(device):
        raise ConfigError(
            f"finetune: option 'precision' is 'tf32', which {device} does not have.",
            hint="NVIDIA GPUs have it from compute capability 8.0 on. Use fp32 or auto.",
        )
    return Precision(name=name, device=device, reason="asked for")


def candidates(device: torch.device) -> tuple[str, ...]:
    """Returns the precisions that may be the fastest on a device; the last one is the most accurate."""
    if device.type == "cuda":
        return ("bf16", "tf32") if _has_tf32(device) else ("fp16", "fp32")
    # Other CPUs support bf16, too, but convert each number to float32 and back.
    native = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    # oneDNN can be held to older instructions (ONEDNN_MAX_CPU_ISA).
    return ("bf16", "fp32") if device.type == "cpu" and native and _has_bf16_kernels() else ("fp32",)


def _has_bf16_kernels() -> bool:
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _has_tf32(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
