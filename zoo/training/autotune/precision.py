"""Finds the fastest precision by training a copy of the very network for a moment in each."""

from __future__ import annotations

import copy
import json
import time
from typing import TYPE_CHECKING, Any

import torch

from zoo.events import Work
from zoo.models.classifier import set_training
from zoo.models.precision import Precision, candidates, choose_precision
from zoo.models.runtime import float32_arithmetic, processor_times, tuned_for
from zoo.training.autotune.cache import keep, machine_key, recall
from zoo.training.memory_errors import is_out_of_memory

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from zoo.config import FinetuneConfig
    from zoo.events import Observer
    from zoo.models.build import Model
    from zoo.models.classifier import Classifier

_IMAGES = 8  # a step; ratios were the same with 32 (docs/performance.md)
_ROUNDS = (3, 7)  # at least, unless twice the time is up, and at most; after one to warm up
_SECONDS = {"cpu": 2.0, "cuda": 0.5}  # after which no new round begins
_WORTH = 1.1  # times as fast must be what computes less exactly
# A machine is left in peace where threads wait for a processor for less than this share of the time that they run,
# and the slowest step of a precision takes less than so many times as long as its fastest.
_WAITS, _STEADY = 0.2, 1.5


def fastest_precision(
    classifier: Classifier,
    image_size: tuple[int, int],
    device: torch.device,
    *,
    names: Sequence[str],
    freeze_norm_stats: bool,
) -> tuple[Precision, bool]:
    """Returns the fastest of some precisions, the last of them unless another is clearly faster; and if that is sure.

    Args:
        classifier: On the device, its frozen parts frozen. A copy of it is worked on.
        image_size: (height, width) in pixels.
        device: Where.
        names: As `zoo.models.precision.candidates` returns them.
        freeze_norm_stats: As in `zoo.models.classifier.set_training`.

    Returns:
        The precision, and whether the times were steady enough to be relied on again.
    """
    precisions, before = [choose_precision(name, device) for name in names], processor_times()
    try:
        scratch = copy.deepcopy(classifier)
        set_training(scratch, freeze_norm_stats=freeze_norm_stats)
        seconds = time_steps(scratch, image_size, precisions)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        reason = "not measured: memory is too small for a copy"
        return Precision(name=names[0], device=device, reason=reason), False
    if device.type == "cpu" and _contended(before, processor_times()):
        # Threads that wait for each other wait for the slowest: a ratio measured now is not that of a machine in peace.
        reason = f"likely faster than {names[-1]}; the machine is too busy to measure"
        return Precision(name=names[0], device=device, reason=reason), False
    # The fastest of each: what else goes on at a machine only ever adds to a time.
    name, reason = judge({name: min(times) for name, times in seconds.items()})
    steady = all(max(times) < _STEADY * min(times) for times in seconds.values())
    return Precision(name=name, device=device, reason=reason), steady


def judge(seconds: Mapping[str, float]) -> tuple[str, str]:
    """Returns the precision to take and why.

    Args:
        seconds: A step, by precision; the most exact last.
    """
    exact = list(seconds)[-1]
    quick = min((name for name in seconds if name != exact), key=lambda name: seconds[name])
    ratio = seconds[exact] / seconds[quick]
    if ratio >= _WORTH:
        return quick, f"{ratio:.1f} x as fast as {exact}, measured"
    return exact, f"{quick} is only {ratio:.2f} x as fast, measured"


def _contended(before: tuple[int, int] | None, after: tuple[int, int] | None) -> bool:
    if before is None or after is None:
        return False
    ran, waited = after[0] - before[0], after[1] - before[1]
    return waited > _WAITS * ran


def time_steps(
    network: Classifier, image_size: tuple[int, int], precisions: Sequence[Precision]
) -> dict[str, list[float]]:
    """Returns the seconds that a gradient takes in each precision; they take turns, after one round to warm up.

    Args:
        network: In the mode of training. Where its backbone is frozen as a whole, it is only run.
        image_size: (height, width) in pixels.
        precisions: On one device.
    """
    device = precisions[0].device
    seconds: dict[str, list[float]] = {precision.name: [] for precision in precisions}
    with torch.random.fork_rng([device] if device.type == "cuda" else []), tuned_for(precisions[0]):
        images = torch.randn(_IMAGES, 3, *image_size, device=device).contiguous(memory_format=torch.channels_last)
        labels = torch.zeros(_IMAGES, dtype=torch.int64, device=device)
        started = time.perf_counter()
        for number in range(1 + _ROUNDS[1]):
            for precision in precisions:
                taken = _timed(network, images, labels, precision)
                if number:
                    seconds[precision.name].append(taken)
            spent = (time.perf_counter() - started) / _SECONDS[device.type]
            if spent > (1 if number >= _ROUNDS[0] else 2) and number:
                break
    return seconds


def _timed(network: Classifier, images: Tensor, labels: Tensor, precision: Precision) -> float:
    learns = any(parameter.requires_grad for parameter in network.backbone.parameters())
    network.zero_grad(set_to_none=True)
    _wait(precision.device)
    started = time.perf_counter()
    with float32_arithmetic(precision), torch.set_grad_enabled(learns):
        with precision.autocast():
            logits = network(images)
        if learns:
            network.head.loss(logits, labels).backward()
    _wait(precision.device)
    return time.perf_counter() - started


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)  # a clock on the host tells nothing of work that is merely queued


def autotune_precision(
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
