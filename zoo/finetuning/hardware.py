"""Decides what only the machine can tell: in which precision a job is fastest, and how many images a step fit."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from zoo.config import FinetuneConfig
from zoo.engine.batch import largest_that_fits, most_images, rate_factor_of, step_fits
from zoo.engine.optimizer import make_optimizer
from zoo.engine.precision import Precision, candidates, choose_precision
from zoo.engine.trial import fastest_precision
from zoo.engine.verdicts import keep, machine_key, recall
from zoo.events import Note, Work
from zoo.model import parameter_groups, set_training
from zoo.recipes import recipe_values

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from zoo.events import Observer
    from zoo.finetuning.assembly import Model
    from zoo.model import Classifier


def settle_precision(
    config: FinetuneConfig, *, backbone: str, model: Model, device: torch.device, observer: Observer
) -> Precision:
    """Returns the precision that a configuration asks for; ``"auto"`` is measured once for each machine and network.

    Args:
        config: What is asked for.
        backbone: Its qualified name.
        model: Its classifier is on the device, the frozen parts frozen.
        device: Where to train.
        observer: Told of a measurement.
    """
    names = candidates(device)
    if config.precision != "auto" or len(names) == 1:
        return choose_precision(config.precision, device)
    options = json.dumps(dict(config.backbone_options), sort_keys=True, default=str)
    height, width = model.preprocess.size
    key = f"{machine_key(device)} | {backbone} {options}, {height} x {width}, frozen: {config.freeze}"
    kept = recall(key)
    if kept is not None and kept.get("precision") in names:
        return Precision(name=kept["precision"], device=device, reason=kept.get("reason", "measured"))
    observer(Work(what=f"measure {' and '.join(names)}", done=0, total=1))
    found, steady = fastest_precision(
        model.classifier, model.preprocess.size, device, names=names, freeze_norm_stats=config.freeze_norm_stats
    )
    observer(Work(what=f"measure {' and '.join(names)}", done=1, total=1))
    if steady:
        keep(key, {"precision": found.name, "reason": found.reason})
    return found


def recorded_precision(hardware: Mapping[str, Any], device: torch.device) -> Precision:
    """Returns the precision in which a run was begun, so that it ends as if it had never been stopped.

    Raises:
        ConfigError: The device, another one now, cannot compute in it.
    """
    precision = choose_precision(str(hardware["precision"]), device)
    return Precision(name=precision.name, device=device, reason=str(hardware.get("precision_reason", "recorded")))


def settle_batch_size(
    config: FinetuneConfig, *, images: int, model: Model, precision: Precision, observer: Observer, ranks: int = 1
) -> tuple[FinetuneConfig, str]:
    """Returns a configuration with a number for ``batch_size="auto"`` and the learning rate scaled to it, and why.

    The rate that was given, or is the recipe's, belongs to the recipe's batch. Off CUDA that batch stays: on a CPU
    larger ones are no faster (docs/performance.md). It also stays where kept features are learnt from.

    Args:
        config: What is asked for.
        images: Of the training part.
        model: Its classifier is on the device, the frozen parts frozen.
        precision: In which to train, and where.
        observer: Told what was found.
        ranks: Processes that share each step.
    """
    if config.batch_size != "auto":
        return config, "asked for"
    least = _recipe_batch(config)
    if precision.device.type != "cuda" or config.freeze == "all":
        why = f"auto: {least} images a step, as in the recipe; more would not be faster here"
        observer(Note(text=f"{why[6:]}."))
        return dataclasses.replace(config, batch_size=least), why

    def prepare(scratch: Classifier) -> torch.optim.Optimizer:
        set_training(scratch, freeze_norm_stats=config.freeze_norm_stats)
        groups = parameter_groups(scratch, config)
        return make_optimizer(config.optimizer, groups, lr=config.lr, momentum=config.momentum)

    def fits(size: int) -> bool:
        share = -(-size // ranks)
        return step_fits(model.classifier, model.preprocess.size, share, precision=precision, prepare=prepare)

    size = largest_that_fits(fits, least=least, most=most_images(images, least=least))
    rate = config.lr * rate_factor_of(config.optimizer, size / least)
    why = f"auto: {size} images a step; learning rate {rate:.3g}, scaled from {config.lr:.3g} at {least}"
    observer(Note(text=f"{why[6:]}."))
    return dataclasses.replace(config, batch_size=size, lr=rate), why


def _recipe_batch(config: FinetuneConfig) -> int:
    default = next(field.default for field in dataclasses.fields(FinetuneConfig) if field.name == "batch_size")
    return int(recipe_values(config.recipe, config.to_dict()).get("batch_size", default))
