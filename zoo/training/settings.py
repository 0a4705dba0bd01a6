"""What the engine is given, made of what a job was asked for: optimiser, average, plan, compilation."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from zoo.events import Note
from zoo.training.compilation import UNDECIDED, Compilation
from zoo.training.ema import WeightAverage
from zoo.training.loop import Plan
from zoo.training.optimizer import make_optimizer, optimizer_kernels, parameter_groups

if TYPE_CHECKING:
    import torch
    from torch import nn

    from zoo.config import FinetuneConfig
    from zoo.training.job import Job


def average_of(config: FinetuneConfig, network: nn.Module) -> WeightAverage | None:
    """Returns the running average of a network's weights, or None where none is asked for."""
    return None if config.ema is None else WeightAverage(network, decay=config.ema)


def optimizer_of(job: Job) -> torch.optim.Optimizer:
    """Returns the optimiser of what learns; which kernels it takes is recorded."""
    config = job.config
    groups = parameter_groups(job.classifier, config)
    optimizer = make_optimizer(config.optimizer, groups, lr=config.lr, momentum=config.momentum)
    job.record["hardware"]["optimizer_kernels"] = optimizer_kernels(optimizer)
    return optimizer


def compilation_of(job: Job, *, images: int) -> Compilation:
    """Returns when the network is compiled; what is decided, and why, is recorded.

    Args:
        job: What is trained.
        images: That this process is given at a whole step. (A run that goes on may begin with another one, an epoch's
            last.)
    """
    hardware = job.record["hardware"]
    compilation = partial(Compilation, device=job.precision.device, images=images, micro_batches=job.micro_batches)

    def tell(on: bool, why: str) -> None:
        if on and not hardware.get("compile"):
            job.observer(Note(text=f"The network is compiled ({why}); the next step takes a while."))
        hardware.update(compile=on, compile_reason=why)

    if hardware.get("compile_reason", UNDECIDED) != UNDECIDED:  # a resumed run goes on as it was decided
        how, why = "yes" if hardware["compile"] else "no", hardware["compile_reason"]
        return compilation(how, tell=tell, why=why)
    if job.config.compile == "auto" and not job.processes.is_single:  # which might decide it differently
        return compilation("no", tell=tell, why="several processes")
    return compilation(job.config.compile, tell=tell)


def plan_of(config: FinetuneConfig) -> Plan:
    """Returns what the engine does with its steps."""
    return Plan(
        epochs=config.epochs,
        lr=config.lr,
        schedule=config.schedule,
        warmup=config.warmup,
        clip_grad=config.clip_grad,
        mixup=config.mixup,
        seed=config.seed,
    )
