"""Finds the fastest precision by training a copy of the network for a moment in each."""

from __future__ import annotations

import copy
import json
import time
from typing import TYPE_CHECKING, Any

import torch

from zoo.events import Work
from zoo.models.classifier import set_training
from zoo.models.measurements import machine_key, read_cached, write_cached
from zoo.models.memory_errors import is_out_of_memory
from zoo.models.precision import Precision, candidates, choose_precision
from zoo.models.runtime import float32_precision, read_thread_times, tuned_runtime, waited_long

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from zoo.config import FinetuneConfig
    from zoo.events import Observer
    from zoo.models.build import Model
    from zoo.models.classifier import Classifier

_IMAGES = 8  # per step; the ratios were the same with 32 (docs/performance.md)
_MIN_ROUNDS, _MAX_ROUNDS = 3, 7  # after one to warm up; fewer only if twice the time is up
_SECONDS = {"cpu": 2.0, "cuda": 0.5}  # after which no further round starts
_MIN_SPEEDUP = 1.1  # of a less exact precision, to be worth it
# The machine is idle enough if the slowest step of a precision takes less than so many times as long as its fastest.
_MAX_SPREAD = 1.5
_MAX_SLOWDOWN = 2.0  # of a precision on a busy machine, up to which it may be the faster one on an idle machine


def fastest_precision(
    classifier: Classifier,
    image_size: tuple[int, int],
    device: torch.device,
    *,
    names: Sequence[str],
    freeze_norm_stats: bool,
) -> tuple[Precision, bool]:
    """Measures precisions, and returns the last one, the most exact, unless another is clearly faster.

    Args:
        classifier: The classifier, on the device, with its frozen stages frozen. Only a copy of it is trained.
        image_size: (height, width) in pixels.
        device: The device.
        names: The precisions, as `zoo.models.precision.candidates` returns them.
        freeze_norm_stats: As in `zoo.models.classifier.set_training`.

    Returns:
        The precision, and whether the measurement is reliable enough to be used again.
    """
    precisions, before = [choose_precision(name, device) for name in names], read_thread_times()
    try:
        duplicate = copy.deepcopy(classifier)
        set_training(duplicate, freeze_norm_stats=freeze_norm_stats)
        seconds = time_steps(duplicate, image_size, precisions)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        reason = "not measured: the memory is too small for a copy of the network"
        return Precision(name=names[0], device=device, reason=reason), False
    fastest = {name: min(times) for name, times in seconds.items()}
    busy = device.type == "cpu" and waited_long(before, read_thread_times())
    if busy and fastest[names[0]] < _MAX_SLOWDOWN * fastest[names[-1]]:
        # Threads wait for the slowest of them, so the ratio differs from that of an idle machine.
        reason = f"probably faster than {names[-1]}; the machine is too busy to measure"
        return Precision(name=names[0], device=device, reason=reason), False
    # The minimum of each, because other work on the machine can only lengthen a step.
    name, reason = select_precision(fastest)
    reliable = not busy and all(max(times) < _MAX_SPREAD * min(times) for times in seconds.values())
    return Precision(name=name, device=device, reason=reason), reliable


def select_precision(seconds: Mapping[str, float]) -> tuple[str, str]:
    """Returns the precision to use, and the reason.

    Args:
        seconds: Seconds per step, by precision; the most exact last.
    """
    exact = list(seconds)[-1]
    fastest = min((name for name in seconds if name != exact), key=lambda name: seconds[name])
    ratio = seconds[exact] / seconds[fastest]
    if ratio >= _MIN_SPEEDUP:
        return fastest, f"{ratio:.1f} x as fast as {exact}, measured"
    return exact, f"{fastest} is only {ratio:.2f} x as fast, measured"


def time_steps(
    network: Classifier, image_size: tuple[int, int], precisions: Sequence[Precision]
) -> dict[str, list[float]]:
    """Returns the seconds of several gradients in each precision. The precisions alternate, after a warm-up round.

    Args:
        network: The network, in train mode. If its whole backbone is frozen, only forward passes are timed.
        image_size: (height, width) in pixels.
        precisions: The precisions, all on one device.
    """
    device = precisions[0].device
    seconds: dict[str, list[float]] = {precision.name: [] for precision in precisions}
    with torch.random.fork_rng([device] if device.type == "cuda" else []), tuned_runtime(precisions[0]):
        images = torch.randn(_IMAGES, 3, *image_size, device=device).contiguous(memory_format=torch.channels_last)
        labels = torch.zeros(_IMAGES, dtype=torch.int64, device=device)
        started = time.perf_counter()
        for completed in range(1 + _MAX_ROUNDS):
            for precision in precisions:
                duration = _time_step(network, images, labels, precision)
                if completed:
                    seconds[precision.name].append(duration)
            spent = (time.perf_counter() - started) / _SECONDS[device.type]
            if completed and spent > (1 if completed >= _MIN_ROUNDS else 2):
                break
    return seconds


def _time_step(network: Classifier, images: Tensor, labels: Tensor, precision: Precision) -> float:
    trainable = any(parameter.requires_grad for parameter in network.backbone.parameters())
    network.zero_grad(set_to_none=True)
    _synchronize(precision.device)
    started = time.perf_counter()
    with float32_precision(precision), torch.set_grad_enabled(trainable):
        with precision.autocast():
            logits = network(images)
        if trainable:
            network.head.loss(logits, labels).backward()
    _synchronize(precision.device)
    return time.perf_counter() - started


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)  # waits for queued work, to include it in the time


def autotune_precision(
    config: FinetuneConfig, *, backbone: str, model: Model, device: torch.device, observer: Observer
) -> Precision:
    """Returns the precision of a configuration; for ``"auto"``, measures once for every machine and network.

    Args:
        config: The configuration.
        backbone: Qualified name of the backbone.
        model: The model; its classifier is on the device, with its frozen stages frozen.
        device: The device.
        observer: Called with the progress of a measurement.
    """
    names = candidates(device)
    if config.precision != "auto" or len(names) == 1:
        return choose_precision(config.precision, device)
    options = json.dumps(dict(config.backbone_options), sort_keys=True, default=str)
    height, width = model.preprocess.size
    key = f"{machine_key(device)} | {backbone} {options}, {height} x {width}, frozen: {config.freeze}"
    cached = read_cached(key)
    if cached is not None and cached.get("precision") in names:
        return Precision(name=cached["precision"], device=device, reason=cached.get("reason", "measured"))
    observer(Work(what=f"measure {' and '.join(names)}", done=0, total=1))
    precision, reliable = fastest_precision(
        model.classifier, model.preprocess.size, device, names=names, freeze_norm_stats=config.freeze_norm_stats
    )
    observer(Work(what=f"measure {' and '.join(names)}", done=1, total=1))
    if reliable:
        write_cached(key, {"precision": precision.name, "reason": precision.reason})
    return precision


def recorded_precision(hardware: Mapping[str, Any], device: torch.device) -> Precision:
    """Returns the precision in which a run was started, so that it ends as if it had never been stopped.

    Raises:
        ConfigError: The device is another one now, and does not support that precision.
    """
    precision = choose_precision(str(hardware["precision"]), device)
    return Precision(name=precision.name, device=device, reason=str(hardware.get("precision_reason", "recorded")))
