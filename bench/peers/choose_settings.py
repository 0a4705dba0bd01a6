"""Measures the fastest settings of a resnet18's training step in plain PyTorch here, and prints them as JSON.

bf16 is a candidate only where the processor computes it natively. A candidate whose first step takes several times as
long as the fastest step so far is not measured further.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import time
from typing import TYPE_CHECKING, Any

import torch
from _task import Task, load_batches, load_resnet18, make_sgd, read_task
from plain import train_epoch

if TYPE_CHECKING:
    from collections.abc import Callable

_STEPS = 3  # measured after one that is not; the fastest counts, because others disturb only upwards
_LOADED_STEPS = 8
_HOPELESS = 3.0


def supports_bf16(device: torch.device) -> bool:
    """Returns whether the device computes bf16 natively (on a CPU: AMX, or bf16 instructions of AVX-512)."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Returns the seconds that some work takes, including what it queues on a GPU."""
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def time_step(task: Task, limit: float) -> float:
    """Returns the seconds of a training step on a batch of noise, or those of the first if it is above the limit."""
    net = load_resnet18(task).to(task.device)
    optimizer = make_sgd(net, task)
    labels = torch.arange(task.batch_size) % len(task.classes)
    batch = torch.randn(task.batch_size, 3, task.image_size, task.image_size), labels

    def step() -> None:
        train_epoch(net, [batch], optimizer, task)

    first = timed(step, task.device)
    return first if first > limit else min(timed(step, task.device) for _ in range(_STEPS))


def time_loading(task: Task) -> float:
    """Returns the seconds per training step on photos of the task, including the start of the loader's processes."""
    net = load_resnet18(task).to(task.device)
    optimizer, batches = make_sgd(net, task), load_batches(task)["train"]
    steps = min(_LOADED_STEPS, len(batches))
    work = itertools.islice(batches, steps)
    return timed(lambda: train_epoch(net, work, optimizer, task), task.device) / steps


def choose(task: Task) -> dict[str, Any]:
    """Returns the fastest precision, layout and number of workers, with what was measured in images/s."""
    seconds: dict[tuple[str, bool], float] = {}
    for precision in ("fp32", "bf16") if supports_bf16(task.device) else ("fp32",):
        for channels_last in (False, True):
            each = dataclasses.replace(task, precision=precision, channels_last=channels_last)
            seconds[precision, channels_last] = time_step(each, _HOPELESS * min(seconds.values(), default=1e9))
    precision, channels_last = min(seconds, key=lambda key: seconds[key])
    best = dataclasses.replace(task, precision=precision, channels_last=channels_last)
    most = task.workers if task.workers is not None else min(8, os.cpu_count() or 1)
    loading = {
        count: time_loading(dataclasses.replace(best, workers=count)) for count in sorted({0, min(1, most), most})
    }
    return {
        "precision": precision,
        "channels_last": channels_last,
        "workers": min(loading, key=lambda count: loading[count]),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "images_per_second": {
            **{f"{name}, {layout(last)}": task.batch_size / each for (name, last), each in seconds.items()},
            **{f"{count} workers": task.batch_size / each for count, each in loading.items()},
        },
    }


def layout(channels_last: bool) -> str:
    """Returns the name of a layout."""
    return "channels-last" if channels_last else "contiguous"


if __name__ == "__main__":
    print(json.dumps(choose(read_task())))
