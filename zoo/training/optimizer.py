"""The optimizer of a training: parameter groups, what a plugin builds of them, and the learning rate of a step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from zoo.config import AUTO
from zoo.plugins.calls import plugin_failure
from zoo.plugins.specs import OptimizerRequest

if TYPE_CHECKING:
    from torch import nn

    from zoo.config import FinetuneConfig
    from zoo.models.classifier import Classifier
    from zoo.plugins.registry import Choice
    from zoo.plugins.specs import OptimizerSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerTraits:
    """What the training loop has to know of an optimizer; the fields are those of `zoo.plugins.specs.OptimizerSpec`."""

    closure: bool = False
    full_batch: bool = False
    averages: bool = False

    @classmethod
    def from_choice(cls, choice: Choice[OptimizerSpec]) -> OptimizerTraits:
        """Returns the traits of an optimizer with its options."""
        spec = choice.spec
        full_batch = spec.takes_full_batch(choice.options)
        return cls(closure=spec.closure, full_batch=full_batch, averages=spec.averages)


def make_optimizer(
    choice: Choice[OptimizerSpec], groups: list[dict[str, Any]], *, lr: float, momentum: float
) -> torch.optim.Optimizer:
    """Returns the optimizer that a plugin builds of parameter groups.

    Args:
        choice: The optimizer, with its options.
        groups: The result of `parameter_groups`.
        lr: Learning rate of a group with scale 1.
        momentum: For optimizers that have one.

    Raises:
        PluginError: The plugin failed, or its optimizer violates the contract.
        ZooError: As the plugin raises it: the optimizer does not work on this machine, for example.
    """
    scaled = [{**group, "params": list(group["params"]), "lr": lr * group["lr_scale"]} for group in groups]
    request = OptimizerRequest(groups=scaled, lr=lr, momentum=momentum, options=choice.options)
    optimizer: object = choice.offer.call("building", choice.spec.build, request)
    if fault := optimizer_fault(optimizer, groups, averages=choice.spec.averages):
        raise plugin_failure(choice.offer.plugin, f"building '{choice.spec.name}'", fault)
    assert isinstance(optimizer, torch.optim.Optimizer)
    return optimizer


def optimizer_fault(optimizer: object, groups: list[dict[str, Any]], *, averages: bool) -> str:
    """Returns how an optimizer of parameter groups violates its contract, or an empty string."""
    if not isinstance(optimizer, torch.optim.Optimizer):
        return f"it returned {type(optimizer).__name__}, not a torch.optim.Optimizer"
    wanted = {parameter for group in groups for parameter in group["params"]}
    found = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    if missing := wanted - set(found):
        return f"its groups lack {len(missing)} of {len(wanted)} parameters"
    if len(found) != len(wanted):
        return "its groups have a parameter twice, or one that the request does not have"
    scales = {parameter: group["lr_scale"] for group in groups for parameter in group["params"]}
    for group in optimizer.param_groups:
        if any(group.get("lr_scale") != scales[parameter] for parameter in group["params"]):
            return "its groups do not keep the 'lr_scale' of the request's groups"
    if averages and not all(callable(getattr(optimizer, name, None)) for name in ("train", "eval")):
        return "it averages the weights but has no methods train() and eval()"
    return ""


def optimizer_kernels(optimizer: torch.optim.Optimizer) -> str:
    """Returns which kernels an optimizer uses, for the run record: ``"fused"`` or ``"torch's choice"``."""
    return "fused" if all(group.get("fused") for group in optimizer.param_groups) else "torch's choice"


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Sets the learning rate of every group to `rate` times its scale."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["lr_scale"]


def switch_weights(optimizer: torch.optim.Optimizer, *, averaged: bool) -> None:
    """Makes the weights of an optimizer that averages them those to evaluate, or those to train."""
    switches: Any = optimizer
    (switches.eval if averaged else switches.train)()


def parameter_groups(
    classifier: Classifier, config: FinetuneConfig, *, auto_decay: float = 0.05
) -> list[dict[str, Any]]:
    """Returns the trainable parameters in groups for an optimizer.

    Each group has ``params``, ``weight_decay`` and ``lr_scale``, the factor on the learning rate: `head_lr_multiplier`
    for the head; for the backbone it falls by `layer_decay` from stage to stage towards the input (Howard & Ruder 2018,
    https://arxiv.org/abs/1801.06146). Biases and normalisation layers have no weight decay unless `decay_norms` is set.

    Args:
        classifier: The network.
        config: The configuration.
        auto_decay: The weight decay of ``weight_decay="auto"``.
    """
    stages = classifier.backbone.stages()
    scale_of = {
        f"backbone.{name}": config.layer_decay ** (len(stages) - 1 - depth)
        for depth, stage in enumerate(stages)
        for name in stage.parameters
    }
    weight_decay = auto_decay if config.weight_decay == AUTO else float(config.weight_decay)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in classifier.named_parameters():
        if parameter.requires_grad:
            scale = scale_of.get(name, config.head_lr_multiplier)
            decays = config.decay_norms or parameter.ndim > 1
            groups.setdefault((scale, weight_decay if decays else 0.0), []).append(parameter)
    return [{"params": ps, "weight_decay": decay, "lr_scale": scale} for (scale, decay), ps in groups.items()]
