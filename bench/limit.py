"""How near the whole engine, from photos to trained step, comes to a bare training step.

Between the epochs of a real run, in the same process and with the machine set as for the run, three things are
measured: the bare step (forward, backward, optimiser) on one batch that already lies on the device, with the run's own
network, precision, layout, frozen stages and optimiser; the engine's step on that batch; and the loader alone, which
collects, augments and normalises. Ratios are those of medians.
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
class ProgressMonitor:
    """Stands between `zoo.training.train` and the engine, and measures after every epoch but the first.

    Attributes:
        engine: Images/s of each epoch, from the first batch asked for to the last step.
        bare: Images/s of bare steps.
        step: Images/s of the engine's step, on the batch of the bare step.
        loader: Images/s of the loader alone.
        job: The run that is watched.
    """

    engine: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)
    step: list[float] = field(default_factory=list)
    loader: list[float] = field(default_factory=list)
    job: Any = None

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Watches whatever is trained within the block."""
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
                steps = steps or steps_on_the_device(self.job)
                if result.epoch > 1:
                    self._measure(result, train, *steps)
                yield result

        return watched

    def _measure(self, result: Any, train: Any, bare: Callable[[], object], step: Callable[[], object]) -> None:
        def measured(work: Iterable[object]) -> float:
            return rate(work, train.steps * self.job.config.step_images, self.job.precision.device)

        self.engine.append(result.images_per_second)
        self.bare.append(measured(bare() for _ in range(train.steps)))
        self.step.append(measured(step() for _ in range(train.steps)))
        self.loader.append(measured(train.epoch(result.epoch)))


def steps_on_the_device(job: Any) -> tuple[Callable[[], object], Callable[[], object]]:
    """Returns a bare step and the engine's, for a copy of a job's network, on a batch that lies on the device."""
    import torch

    from zoo.models.classifier import set_training
    from zoo.training.mixup import Mixed
    from zoo.training.optimizer import make_optimizer, parameter_groups
    from zoo.training.step import Step

    config, precision, network = job.config, job.precision, copy.deepcopy(job.classifier)
    set_training(network, freeze_norm_stats=config.freeze_norm_stats)
    groups = parameter_groups(network, config)
    optimizer = make_optimizer(config.optimizer, groups, lr=config.lr, momentum=config.momentum)
    images = torch.randn(config.step_images, 3, *job.preprocess.size, device=precision.device)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.arange(config.step_images, device=precision.device) % len(job.images.classes)

    def bare() -> object:
        with precision.autocast():
            logits = network(images)
        loss = network.head.loss(logits, labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        return optimizer.step()

    take_step, batch = Step(network, optimizer, precision=precision), Mixed(images, labels)
    for _ in range(3):  # the first steps choose kernels and allocate
        bare()
    return bare, lambda: take_step(batch)


def rate(work: Iterable[object], images: int, device: Any) -> float:
    """Returns images a second of some work, which is done as it is iterated over; waits for the device at both ends."""
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
    """Fine-tunes, watched, and returns a row of the table."""
    import zoo

    watch = ProgressMonitor()
    with tempfile.TemporaryDirectory() as runs, watch.installed():
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
    precision = watch.job.precision
    engine, bare, loader = median(watch.engine), median(watch.bare), median(watch.loader)
    return {
        "backbone": backbone,
        "frozen": freeze,
        "device": precision.device.type,
        "precision": precision.name,
        "engine images/s": engine,
        "bare step images/s": bare,
        "engine / bare": engine / bare,
        "bare ms/image": 1e3 / bare,
        "+ engine's step": 1e3 / median(watch.step) - 1e3 / bare,
        "+ loader": 1e3 / loader,
        "+ safe_point": 1e3 / engine - 1e3 / median(watch.step) - 1e3 / loader,
    }


def main(args: list[str] | None = None) -> None:
    """Parses, measures, reports."""
    parser = make_parser(NAME, __doc__, repeats=4, photos=0)
    parser.add_argument("--backbones", help="names, parted by commas (resnet18; on a GPU resnet50 and vit_small too)")
    parser.add_argument("--freeze", default="none,60%", help="what is frozen, parted by commas (none,60%%)")
    parser.add_argument("--batch-size", type=int, help="images a step (32; on a GPU 256)")
    parser.add_argument("--precision", default="auto", help="as of zoo finetune (auto)")
    arguments = parser.parse_args(args)
    _project.use_checkout()
    from zoo.utils.lazy_dynamo import put_off_compiler

    put_off_compiler()
    import torch

    gpu = torch.cuda.is_available()
    if arguments.quick:
        arguments.image_size, arguments.photos, arguments.repeats = 32, arguments.photos or 64, 1
    arguments.photos = arguments.photos or (8192 if gpu else 256)
    arguments.batch_size = arguments.batch_size or (256 if gpu and not arguments.quick else 32)
    everything = "resnet18,resnet50,timm/vit_small_patch16_224" if gpu and not arguments.quick else "resnet18"
    arguments.backbones = arguments.backbones or everything
    data = arguments.data or _photos.generate(arguments.photos)
    rows = [
        measure(backbone, freeze, arguments, data)
        for backbone in arguments.backbones.split(",")
        for freeze in arguments.freeze.split(",")
    ]
    note = "Frozen stages run forward in the bare step too. A negative safe_point: the loader works beside the step."
    report(NAME, arguments, rows, notes=[note])


if __name__ == "__main__":
    main(sys.argv[1:])
