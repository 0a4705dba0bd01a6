"""Optimizers by name, from torch and from timm's factory; parameter groups; the learning rate of a step."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from zoo.config import AUTO
from zoo.errors import ConfigError, close_matches

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from zoo.config import FinetuneConfig
    from zoo.models.classifier import Classifier

TORCH_OPTIMIZERS = ("sgd", "adam", "adamw", "adagrad", "adadelta", "nadam", "adamax", "rmsprop")
_WEIGHT_DECAY = 0.05  # for weight_decay="auto"


def make_optimizer(name: str, groups: list[dict[str, Any]], *, lr: float, momentum: float) -> torch.optim.Optimizer:
    """Returns an optimizer of parameter groups that have a ``weight_decay`` and an ``lr_scale``.

    Args:
        name: One of `TORCH_OPTIMIZERS`, or a name from ``timm.optim.list_optimizers()``.
        groups: The result of `parameter_groups`.
        lr: Learning rate of a group with scale 1.
        momentum: Used by sgd, rmsprop and the optimizers of timm that have a momentum.

    Raises:
        ConfigError: There is no such optimizer, or it does not work on this machine.
    """
    scaled = [{**group, "lr": lr * group["lr_scale"]} for group in groups]
    fused = fuses(name, {parameter.device.type for group in groups for parameter in group["params"]})
    make: dict[str, Callable[[], torch.optim.Optimizer]] = {
        "sgd": lambda: torch.optim.SGD(scaled, lr=lr, momentum=momentum, fused=fused),
        "adam": lambda: torch.optim.Adam(scaled, lr=lr, fused=fused),
        "adamw": lambda: torch.optim.AdamW(scaled, lr=lr, fused=fused),
        "adagrad": lambda: torch.optim.Adagrad(scaled, lr=lr),
        "adadelta": lambda: torch.optim.Adadelta(scaled, lr=lr),
        "nadam": lambda: torch.optim.NAdam(scaled, lr=lr),
        "adamax": lambda: torch.optim.Adamax(scaled, lr=lr),
        "rmsprop": lambda: torch.optim.RMSprop(scaled, lr=lr, momentum=momentum),
    }
    return (make.get(name) or _from_timm(name, scaled, lr=lr, momentum=momentum))()


def fuses(name: str, devices: Collection[str]) -> bool | None:
    """Returns whether an optimizer should run as a single kernel; None leaves the choice to torch.

    Args:
        name: As in `make_optimizer`.
        devices: Types of the devices of the parameters.
    """
    # On a CPU, Adam and AdamW are 1.5 to 3.2 x as fast, SGD is sometimes slower (docs/performance.md).
    fast = {"cpu": ("adam", "adamw"), "cuda": ("adam", "adamw", "sgd")}
    return True if devices and all(name in fast.get(device, ()) for device in devices) else None


def optimizer_kernels(optimizer: torch.optim.Optimizer) -> str:
    """Returns which kernels an optimizer uses, for the run record: ``"fused"`` or ``"torch's choice"``."""
    return "fused" if all(group.get("fused") for group in optimizer.param_groups) else "torch's choice"


def check_optimizer(name: str) -> None:
    """Checks the name of an optimizer before any slow work; imports timm only for names that torch lacks.

    Raises:
        ConfigError: There is no such optimizer; the hint lists close matches.
    """
    if name in TORCH_OPTIMIZERS:
        return
    from timm.optim import list_optimizers

    # adahessian needs second derivatives, which the training loop does not compute.
    known = [*TORCH_OPTIMIZERS, *(str(each) for each in list_optimizers() if each != "adahessian")]
    if name not in known:
        near = close_matches(name, known) or TORCH_OPTIMIZERS
        raise ConfigError(
            f"finetune: option 'optimizer' is {name!r}; there is no such optimizer.",
            hint=f"Did you mean {', '.join(near)}? The names in timm.optim.list_optimizers() work too.",
        )


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Sets the learning rate of every group to `rate` times its scale."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["lr_scale"]


def _from_timm(
    name: str, groups: list[dict[str, Any]], *, lr: float, momentum: float
) -> Callable[[], torch.optim.Optimizer]:
    def make() -> torch.optim.Optimizer:
        from timm.optim import create_optimizer_v2

        check_optimizer(name)
        try:
            optimizer: torch.optim.Optimizer = create_optimizer_v2(groups, opt=name, lr=lr, momentum=momentum)
        except (ImportError, AssertionError, TypeError, RuntimeError) as error:
            raise ConfigError(f"finetune: the optimizer '{name}' does not work here: {error}.") from error
        return optimizer

    return make


def parameter_groups(classifier: Classifier, config: FinetuneConfig) -> list[dict[str, Any]]:
    """Returns the trainable parameters in groups for an optimizer.

    Each group has ``params``, ``weight_decay`` and ``lr_scale``, the factor on the learning rate: `head_lr_multiplier`
    for the head; for the backbone it falls by `layer_decay` from stage to stage towards the input (Howard & Ruder 2018,
    https://arxiv.org/abs/1801.06146). Biases and normalisation layers have no weight decay unless `decay_norms` is set.
    """
    stages = classifier.backbone.stages()
    scale_of = {
        f"backbone.{name}": config.layer_decay ** (len(stages) - 1 - depth)
        for depth, stage in enumerate(stages)
        for name in stage.parameters
    }
    weight_decay = _WEIGHT_DECAY if config.weight_decay == AUTO else float(config.weight_decay)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in classifier.named_parameters():
        if parameter.requires_grad:
            scale = scale_of.get(name, config.head_lr_multiplier)
            decays = config.decay_norms or parameter.ndim > 1
            groups.setdefault((scale, weight_decay if decays else 0.0), []).append(parameter)
    return [{"params": ps, "weight_decay": decay, "lr_scale": scale} for (scale, decay), ps in groups.items()]


def rate_factor(step: int, *, steps: int, schedule: str, warmup: float) -> float:
    """Returns the factor on the learning rate at a step.

    Args:
        step: From 0 to `steps` - 1, counted over all epochs.
        steps: Steps of the whole training.
        schedule: ``"constant"``; ``"cosine"``: falls to 0 along half a cosine (Loshchilov & Hutter 2017,
            https://arxiv.org/abs/1608.03983); ``"linear"``: falls to 0 linearly.
        warmup: Share of all steps in which the factor rises linearly from near 0 to 1.
    """
    warmup_steps = round(warmup * steps)
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    if schedule == "constant":
        return 1.0
    done = (step - warmup_steps) / max(1, steps - warmup_steps)
    return 1 - done if schedule == "linear" else (1 + math.cos(math.pi * done)) / 2
