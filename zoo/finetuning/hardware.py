"""Decides what only the machine can tell: in which precision a job is fastest."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from zoo.engine.precision import Precision, candidates, choose_precision
from zoo.engine.trial import fastest_precision
from zoo.engine.verdicts import keep, machine_key, recall
from zoo.events import Work

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from zoo.config import FinetuneConfig
    from zoo.events import Observer
    from zoo.finetuning.assembly import Model


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
