"""The optimizers of torch, https://docs.pytorch.org/docs/stable/optim.html."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from zoo.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Collection

    from zoo.plugins.specs import OptimizerRequest

# On a CPU, Adam and AdamW are 1.5 to 3.2 x as fast, SGD is sometimes slower (docs/performance.md).
_FUSED = {"cpu": ("adam", "adamw"), "cuda": ("adam", "adamw", "sgd")}


def fuses(name: str, devices: Collection[str]) -> bool | None:
    """Returns whether an optimizer should run as a single kernel; None leaves the choice to torch.

    Args:
        name: ``"adamw"``.
        devices: Types of the devices of the parameters.
    """
    return True if devices and all(name in _FUSED.get(device, ()) for device in devices) else None


def sgd(request: OptimizerRequest) -> torch.optim.SGD:
    """Builds SGD.

    Raises:
        ConfigError: Nesterov momentum without a momentum, or with dampening.
    """
    options, momentum = request.options, request.momentum
    if options.nesterov and (not momentum or options.dampening):
        raise ConfigError(
            f"optimizer sgd: option 'nesterov' needs a momentum, which is {momentum:g}, and no dampening.",
            hint="Pass --momentum 0.9, or leave out the option.",
        )
    return torch.optim.SGD(
        request.groups,
        lr=request.lr,
        momentum=momentum,
        dampening=options.dampening,
        nesterov=options.nesterov,
        fused=_fused("sgd", request),
    )


def adam(request: OptimizerRequest) -> torch.optim.Adam:
    """Builds Adam."""
    amsgrad, fused = request.options.amsgrad, _fused("adam", request)
    return torch.optim.Adam(request.groups, lr=request.lr, **_betas(request), amsgrad=amsgrad, fused=fused)


def adamw(request: OptimizerRequest) -> torch.optim.AdamW:
    """Builds AdamW."""
    amsgrad, fused = request.options.amsgrad, _fused("adamw", request)
    return torch.optim.AdamW(request.groups, lr=request.lr, **_betas(request), amsgrad=amsgrad, fused=fused)


def nadam(request: OptimizerRequest) -> torch.optim.NAdam:
    """Builds NAdam."""
    return torch.optim.NAdam(
        request.groups,
        lr=request.lr,
        **_betas(request),
        momentum_decay=request.options.momentum_decay,
        decoupled_weight_decay=request.options.decoupled_weight_decay,
    )


def adamax(request: OptimizerRequest) -> torch.optim.Adamax:
    """Builds Adamax."""
    return torch.optim.Adamax(request.groups, lr=request.lr, **_betas(request))


def adagrad(request: OptimizerRequest) -> torch.optim.Adagrad:
    """Builds Adagrad."""
    options = request.options
    return torch.optim.Adagrad(
        request.groups,
        lr=request.lr,
        lr_decay=options.lr_decay,
        initial_accumulator_value=options.initial_accumulator,
        eps=options.eps,
    )


def adadelta(request: OptimizerRequest) -> torch.optim.Adadelta:
    """Builds Adadelta."""
    return torch.optim.Adadelta(request.groups, lr=request.lr, rho=request.options.rho, eps=request.options.eps)


def rmsprop(request: OptimizerRequest) -> torch.optim.RMSprop:
    """Builds RMSprop."""
    options = request.options
    return torch.optim.RMSprop(
        request.groups,
        lr=request.lr,
        momentum=request.momentum,
        alpha=options.alpha,
        eps=options.eps,
        centered=options.centered,
    )


def _betas(request: OptimizerRequest) -> dict[str, Any]:
    options = request.options
    return {"betas": (options.beta1, options.beta2), "eps": options.eps}


def _fused(name: str, request: OptimizerRequest) -> bool | None:
    return fuses(name, {parameter.device.type for group in request.groups for parameter in group["params"]})
