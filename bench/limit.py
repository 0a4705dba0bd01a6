"""Measures how close the whole engine, from photos to training step, comes to a bare training step.

Between the epochs of a real run, in the same process and with the same machine settings, it measures: the bare step
(forward, backward, optimizer) on one batch that is already on the device, with the run's own network, precision,
layout, frozen stages and optimizer; the engine's step on that batch; and the loader alone, which collects, augments and
normalises. Ratios are ratios of medians.
"""

from __future__ import annotations

import copy
import importlib
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import _photos
import _project
from _bench import make_parser, median, report

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

NAME = "limit"


@dataclass
class EngineMonitor:
    """Sits between `zoo.training.train` and the engine, and measures after every epoch except the first.

    Attributes:
        engine: Images/s of each epoch, from the request for the first batch to the last step.
        bare: Images/s of bare steps.
        step: Images/s of the engine's step on the same batch.
        loader: Images/s of the loader alone.
        job: Run being measured.
    """

    engine: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)
    step: list[float] = field(default_factory=list)
    loader: list[float] = field(default_factory=list)
    job: Any = None

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Measures every training within the block."""
        training: Any = importlib.import_module("zoo.training.train")
        train, fit = training.train, training.fit
        training.train = self._train_with(train)
        training.fit = self._fit_with(fit)
        try:
            yield
        finally:
            training.train, training.fit = train, fit

    def _train_with(self, train: Callable[..., Any]) -> Callable[..., Any]:
        def watched(job: Any, **more: Any) -> Any:
            self.job = job
            return train(job, **more)

        return watched

    def _fit_with(self, fit: Callable[..., Any]) -> Callable[..., Any]:
        def watched(network: Any, train: Any, val: Any, **more: Any) -> Iterator[Any]:
            steps = None
            for result in fit(network, train, val, **more):
                steps = steps or make_steps(self.job)
                if result.epoch > 1:
                    self._measure(result, train, *steps)
                yield result

        return watched

    def _measure(self, result: Any, train: Any, bare: Callable[[], object], step: Callable[[], object]) -> None:
        def measured(work: Iterable[object]) -> float:
            return measure_rate(work, train.steps * self.job.config.images_per_step, self.job.precision.device)

        self.engine.append(result.images_per_second)
        self.bare.append(measured(bare() for _ in range(train.steps)))
        self.step.append(measured(step() for _ in range(train.steps)))
        self.loader.append(measured(train.epoch(result.epoch)))


def make_steps(job: Any) -> tuple[Callable[[], object], Callable[[], object]]:
    """Returns a bare step and the engine's step, for a copy of the job's network and a batch on the device."""
    import torch

    from zoo.models.classifier import set_training
    from zoo.training.mixing import MixedBatch
    from zoo.training.optimizer import make_optimizer, parameter_groups
    from zoo.training.step import Step

    config, precision, network = job.config, job.precision, copy.deepcopy(job.classifier)
    set_training(network, freeze_norm_stats=config.freeze_norm_stats)
    groups = parameter_groups(network, config)
    optimizer = make_optimizer(job.parts.optimizer, groups, lr=config.lr, momentum=config.momentum)
    images = torch.randn(config.images_per_step, 3, *job.preprocess.size, device=precision.device)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.arange(config.images_per_step, device=precision.device) % len(job.images.classes)

    def bare() -> object:
        with precision.autocast():
            logits = network(images)
        loss = network.head.loss(logits, labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        return optimizer.step()

    take_step, batch = Step(network, optimizer, precision=precision), MixedBatch(images, labels)
    for _ in range(3):  # the first steps choose kernels and allocate
        bare()
    return bare, lambda: take_step(batch)


def measure_rate(work: Iterable[object], images: int, device: Any) -> float:
    """Returns images per second while iterating over `work`; waits for the device before and after."""
    import torch

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    wait()
    started = time.perf_counter()
    for _ in work:
        pass
    wait()
    return images / (time.perf_counter() - started)


def measure(backbone: str, freeze: str, arguments: argparse.Namespace, data: Path) -> dict[str, Any]:
    """Fine-tunes under the monitor; returns one row of the table."""
    import zoo

    monitor = EngineMonitor()
    with tempfile.TemporaryDirectory() as runs, monitor.installed():
        zoo.finetune(
            backbone,
            data=str(data),
            runs=runs,
            weights=str(arguments.weights or "none"),
            freeze=freeze,
            freeze_norm_stats=freeze != "none",
            probe=False,
            ema=None,
            epochs=arguments.repeats + 1,
            batch_size=arguments.batch_size,
            image_size=arguments.image_size,
            precision=arguments.precision,
        )
    precision = monitor.job.precision
    engine, bare, loader = median(monitor.engine), median(monitor.bare), median(monitor.loader)
    return {
        "backbone": backbone,
        "frozen": freeze,
        "device": precision.device.type,
        "precision": precision.name,
        "engine images/s": engine,
        "bare step images/s": bare,
        "engine / bare": engine / bare,
        "bare ms/image": 1e3 / bare,
        "+ engine's step": 1e3 / median(monitor.step) - 1e3 / bare,
        "+ loader": 1e3 / loader,
        "+ other": 1e3 / engine - 1e3 / median(monitor.step) - 1e3 / loader,
    }


def main(args: list[str] | None = None) -> None:
    """Runs the benchmark."""
    parser = make_parser(NAME, __doc__, repeats=4, photos=0)
    parser.add_argument("--backbones", help="comma-separated names (resnet18; on a GPU also resnet50 and vit_small)")
    parser.add_argument("--freeze", default="none,60%", help="comma-separated, as in zoo finetune (none,60%%)")
    parser.add_argument("--batch-size", type=int, help="images per step (32; on a GPU 256)")
    parser.add_argument("--precision", default="auto", help="as in zoo finetune (auto)")
    arguments = parser.parse_args(args)
    _project.use_checkout()
    from zoo.utils.lazy_dynamo import defer_dynamo_import

    defer_dynamo_import()
    import torch

    gpu = torch.cuda.is_available()
    if arguments.quick:
        arguments.image_size, arguments.photos, arguments.repeats = 32, arguments.photos or 64, 1
    arguments.photos = arguments.photos or (8192 if gpu else 256)
    arguments.batch_size = arguments.batch_size or (256 if gpu and not arguments.quick else 32)
    default = "resnet18,resnet50,timm/vit_small_patch16_224" if gpu and not arguments.quick else "resnet18"
    arguments.backbones = arguments.backbones or default
    data = arguments.data or _photos.generate(arguments.photos)
    rows = [
        measure(backbone, freeze, arguments, data)
        for backbone in arguments.backbones.split(",")
        for freeze in arguments.freeze.split(",")
    ]
    note = "The bare step includes the frozen stages' forward pass. A negative '+ other': loader and step overlap."
    report(NAME, arguments, rows, notes=[note])


if __name__ == "__main__":
    main(sys.argv[1:])
