"""Which device to compute on, and in which precision."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch

from zoo.errors import ConfigError

_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """How numbers are computed with; weights and their updates stay float32.

    Attributes:
        name: ``"fp32"``, ``"tf32"``, ``"bf16"``, ``"fp16"``.
        device: Where.
        reason: Why this was chosen, in a few words.
    """

    name: str
    device: torch.device
    reason: str

    def autocast(self) -> AbstractContextManager[object]:
        """Returns the context in which a forward pass belongs."""
        if self.name not in _TYPES:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=_TYPES[self.name])

    @property
    def scales_loss(self) -> bool:
        """Whether gradients would underflow without a scaled loss."""
        return self.name == "fp16"

    def loss_scaler(self) -> torch.amp.GradScaler:
        """Returns a scaler for the loss, which does nothing where none is needed."""
        return torch.amp.GradScaler(self.device.type, enabled=self.scales_loss)


def choose_device(name: str) -> torch.device:
    """Returns the device of a name; ``"auto"`` takes CUDA, then MPS, then the CPU.

    Raises:
        ConfigError: There is no such device, or this machine does not have it. The CPU never stands in in silence.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(
            f"finetune: option 'device' is {name!r}; there is no such device.", hint="Write auto, cpu, cuda or mps."
        ) from None
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            raise ConfigError(
                f"finetune: option 'device' is {name!r}, but torch {torch.__version__} sees {count} CUDA devices.",
                hint="Check 'nvidia-smi' and that torch was built for CUDA, or say --device cpu.",
            )
        return torch.device("cuda", device.index or 0)
    if device.type not in ("cpu", "mps") or (device.type == "mps" and not torch.backends.mps.is_available()):
        raise ConfigError(f"finetune: option 'device' is {name!r}, which this machine does not have.")
    return device


def choose_precision(name: str, device: torch.device) -> Precision:
    """Returns the precision of a name; ``"auto"`` takes the likely fastest, which `zoo.training.autotune.precision` measures.

    Raises:
        ConfigError: The device cannot compute in this precision.
    """
    if name == "auto":
        names = candidates(device)
        reason = f"likely faster than {names[-1]} here" if len(names) > 1 else "nothing is known to be faster here"
        return Precision(name=names[0], device=device, reason=reason)
    if name == "fp16" and device.type == "cpu":
        raise ConfigError(
            "finetune: option 'precision' is 'fp16', which CPUs compute slowly.", hint="Say bf16 or fp32."
        )
    if name == "tf32" and not _has_tf32(device):
        raise ConfigError(
            f"finetune: option 'precision' is 'tf32', which {device} does not have.",
            hint="NVIDIA GPUs from compute capability 8.0 on do. Say fp32, or auto.",
        )
    return Precision(name=name, device=device, reason="asked for")


def candidates(device: torch.device) -> tuple[str, ...]:
    """Returns the precisions that may be the fastest on a device; the last is the most exact of them."""
    if device.type == "cuda":
        return ("bf16", "tf32") if _has_tf32(device) else ("fp16", "fp32")
    # Other CPUs can compute bf16 too, but convert each number to float32 and back.
    native = device.type == "cpu" and (torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())
    return ("bf16", "fp32") if native else ("fp32",)


def _has_tf32(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
