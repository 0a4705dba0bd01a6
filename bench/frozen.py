"""Measures what caching the output of frozen stages saves, for one network or many.

Alternates, on one batch of noise on the device: the training step of a network with frozen first stages, from images;
the same step from the cached output of those stages; and the frozen stages alone. If a network cannot be split behind
its frozen stages, the table says why.
"""

from __future__ import annotations

import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import _project
from _bench import alternate, make_parser, median, report

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from zoo.models.classifier import Classifier
    from zoo.models.precision import Precision

NAME = "frozen"


def build_frozen(name: str, freeze: str, image_size: int, device: Any) -> Classifier:
    """Builds a network with random weights, a linear head for two classes, and frozen first stages."""
    import torch

    from zoo.config import make_config
    from zoo.models.build import assemble, resolve_preprocess
    from zoo.models.classifier import freeze as freeze_stages
    from zoo.models.offers import find_offers
    from zoo.plugins.registry import get_card, load_registry

    config = make_config(name, data="noise", weights="none", freeze=freeze, image_size=image_size)
    offers = find_offers(config, load_registry())
    preprocess = resolve_preprocess(config, get_card(offers.backbone).preprocess)
    classifier = assemble(config, offers, classes=2, preprocess=preprocess).classifier
    freeze_stages(classifier, config.frozen_stages(len(classifier.backbone.stages())))
    classifier.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return classifier


def make_step(classifier: Classifier, precision: Precision, count: int) -> Callable[[Any], None]:
    """Returns a function that runs a training step on images, or on their cached activations, and waits for its end."""
    import torch

    from zoo.plugins.kinds import OPTIMIZER
    from zoo.plugins.registry import load_registry
    from zoo.training.mixing import MixedBatch
    from zoo.training.optimizer import make_optimizer
    from zoo.training.step import Step

    trainable = [parameter for parameter in classifier.parameters() if parameter.requires_grad]
    groups = [{"params": trainable, "weight_decay": 0.05, "lr_scale": 1.0}]
    choice = load_registry().choose(OPTIMIZER, "adamw", {})
    step = Step(classifier, make_optimizer(choice, groups, lr=1e-4, momentum=0.9), precision=precision)
    labels = torch.arange(count, device=precision.device) % 2

    def run(images: Any) -> None:
        step(MixedBatch(images, labels))[0].item()

    return run


def measure(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns one row of the table."""
    import torch

    from zoo.models.classifier import set_training
    from zoo.models.frozen_split import SplitClassifier, find_frozen_split
    from zoo.models.precision import choose_device, choose_precision
    from zoo.models.tracing import UntraceableError

    device, size = choose_device("auto"), arguments.image_size
    precision = choose_precision(arguments.precision, device)
    classifier = build_frozen(name, arguments.freeze, size, device)
    row: dict[str, Any] = {"backbone": name, "precision": precision.name}
    started = time.perf_counter()
    try:
        split = find_frozen_split(classifier, image_sizes=[(size, size)], precision=precision, freeze_norm_stats=True)
    except UntraceableError as error:
        return {**row, **dict.fromkeys(_COLUMNS), "cached of an image": error.message}
    found = time.perf_counter() - started
    set_training(classifier, freeze_norm_stats=True)
    images = torch.randn(arguments.batch_size, 3, size, size, device=device).contiguous(
        memory_format=torch.channels_last
    )
    split_network = SplitClassifier(classifier.backbone, classifier.head, split)
    steps = {network: make_step(network, precision, len(images)) for network in (classifier, split_network)}

    def frozen_stages() -> Any:
        with torch.no_grad(), precision.autocast():
            cached = split.run_frozen(images)
        cached[0].flatten()[0].item()  # waits for the device
        return cached

    cached = frozen_stages()

    def timed(work: Callable[[], object]) -> Callable[[], float]:
        def measure() -> float:
            started = time.perf_counter()
            work()
            return time.perf_counter() - started

        return measure

    works: dict[str, Callable[[], object]] = {
        "whole": partial(steps[classifier], images),
        "folded": partial(steps[split_network], images),
        "cached": partial(steps[split_network], cached),
        "frozen": frozen_stages,
    }
    results = alternate({key: timed(work) for key, work in works.items()}, arguments.repeats, warm_up=True)
    times = [1e3 * median(results[key]) for key in works]
    shapes = " + ".join(" x ".join(map(str, shape)) for shape in split.shapes)
    figures = (shapes, split.image_bytes / 1e3, found, *times, times[0] / times[2])
    return {**row, **dict(zip(_COLUMNS, figures, strict=True))}


_COLUMNS = (
    "cached of an image",
    "kB",
    "split, s",
    "step, ms",
    "frozen stages folded, ms",
    "step from cache, ms",
    "frozen stages alone, ms",
    "ratio",
)


def main(args: list[str] | None = None) -> None:
    """Runs the benchmark."""
    parser = make_parser(NAME, __doc__, repeats=5)
    parser.add_argument("--backbones", default="resnet18", help="comma-separated names (resnet18)")
    parser.add_argument("--freeze", default="60%", help="as in zoo finetune (60%%)")
    parser.add_argument("--batch-size", type=int, default=32, help="images per step (32)")
    parser.add_argument("--image-size", type=int, default=224, help="side of the network's input (224)")
    parser.add_argument("--precision", default="bf16", help="as in zoo finetune (bf16)")
    arguments = parser.parse_args(args)
    _project.use_checkout()
    if arguments.quick:
        arguments.image_size, arguments.batch_size, arguments.repeats = 32, 4, 1
    report(NAME, arguments, [measure(name, arguments) for name in arguments.backbones.split(",")])


if __name__ == "__main__":
    main(sys.argv[1:])
