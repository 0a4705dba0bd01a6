"""Finds the largest batch size that fits into memory and leaves enough steps per epoch."""

from __future__ import annotations

import copy
import dataclasses
from typing import TYPE_CHECKING, Any

import torch

from zoo.events import Note
from zoo.models.classifier import set_training
from zoo.models.memory_errors import is_out_of_memory
from zoo.models.precision import Precision
from zoo.models.runtime import tuned_runtime
from zoo.training.micro_batches import MicroBatches
from zoo.training.mixing import MixedBatch
from zoo.training.optimizer import make_optimizer, parameter_groups
from zoo.training.step import SearchStep, Step

if TYPE_CHECKING:
    from collections.abc import Callable

    from zoo.config import FinetuneConfig
    from zoo.events import Observer
    from zoo.models.build import Model
    from zoo.models.classifier import Classifier
    from zoo.models.precision import Precision
    from zoo.plugins.registry import Choice
    from zoo.plugins.specs import OptimizerSpec

# The default recipe was compared at 22 to 57 steps per epoch (docs/recipes.md). With fewer steps, a few epochs are too
# short for the schedule, and the average of the weights, over some 20 steps, reaches back to the first ones.
MIN_STEPS = 50


def max_batch_size(images: int, *, smallest: int) -> int:
    """Returns the largest power of two that leaves `MIN_STEPS` steps per epoch, or `smallest` if that is larger.

    Args:
        images: Number of training images.
        smallest: The batch size of the recipe.
    """
    power: int = 1 << max(0, (images // MIN_STEPS).bit_length() - 1)
    return max(smallest, power)


def largest_that_fits(fits: Callable[[int], bool], *, smallest: int, largest: int) -> int:
    """Doubles a batch size from `smallest` up to `largest` while it fits; assumes that `smallest` does."""
    size = smallest
    while size * 2 <= largest and fits(size * 2):
        size *= 2
    return size


def step_fits(
    classifier: Classifier,
    image_size: tuple[int, int],
    count: int,
    *,
    precision: Precision,
    prepare: Callable[[Classifier], torch.optim.Optimizer],
    closure: bool = False,
) -> bool:
    """Returns whether a training step of `count` images fits into memory. Trains only a copy of the classifier.

    Args:
        classifier: The classifier, on the device.
        image_size: (height, width) in pixels.
        count: Number of images.
        precision: The precision of the forward pass, and the device.
        prepare: Puts the copy into train mode and returns its optimizer.
        closure: Whether the optimizer needs a closure.
    """
    device = precision.device
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []), tuned_runtime(precision):
            more: dict[str, Any] = {"precision": precision, "prepare": prepare, "closure": closure}
            return _takes_step(copy.deepcopy(classifier), image_size, count, **more)  # no variable: see below
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return False
    finally:
        # The copy is freed by now. Its memory is returned, because the photo cache takes what is free on a GPU.
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()


def _takes_step(
    duplicate: Classifier,
    image_size: tuple[int, int],
    count: int,
    *,
    precision: Precision,
    prepare: Callable[[Classifier], torch.optim.Optimizer],
    closure: bool = False,
) -> bool:
    micro_batches, device = MicroBatches(), precision.device
    images = torch.randn(count, 3, *image_size, device=device).contiguous(memory_format=torch.channels_last)
    labels = torch.zeros(count, dtype=torch.int64, device=device)
    kind = SearchStep if closure else Step
    step = kind(duplicate, prepare(duplicate), precision=precision, micro_batches=micro_batches)
    step(MixedBatch(images, labels))
    return micro_batches.size is None  # else memory ran out, and the step was taken in micro-batches


def scale_rate(rate: float, growth: str, factor: float) -> float:
    """Returns the learning rate for a batch size that is multiplied by `factor`.

    Args:
        rate: The learning rate.
        growth: `zoo.plugins.specs.OptimizerSpec.rate_growth`.
        factor: The factor on the batch size.
    """
    growths: dict[str, float] = {"none": 1.0, "sqrt": factor**0.5, "linear": factor}
    return rate * growths[growth]


def autotune_batch_size(
    config: FinetuneConfig,
    *,
    optimizer: Choice[OptimizerSpec],
    smallest: int | None,
    images: int,
    model: Model,
    precision: Precision,
    observer: Observer,
    processes: int = 1,
) -> tuple[FinetuneConfig, str]:
    """Returns a configuration in which a number replaces ``batch_size="auto"``, and the reason for that number.

    The learning rate of a configuration is meant for the batch size of the recipe; it is scaled to a larger one. The
    recipe's batch size stays on other devices than CUDA, because larger ones are no faster on a CPU
    (docs/performance.md), and with a frozen backbone, where the head trains on cached features.

    Args:
        config: The configuration.
        optimizer: The optimizer that it names, with its options.
        smallest: The batch size of the recipe; None if that of the configuration is a number.
        images: Number of training images.
        model: The model; its classifier is on the device, with its frozen stages frozen.
        precision: The precision of the training, and the device.
        observer: Called with a note on the result.
        processes: Number of processes that share each step.
    """
    if smallest is None:
        return config, "asked for"
    if precision.device.type != "cuda" or config.freeze == "all":
        reason = f"{smallest} images per step, as in the recipe; more would not be faster here"
        observer(Note(text=f"Batch size: {reason}."))
        return dataclasses.replace(config, batch_size=smallest), f"auto: {reason}"

    def prepare(duplicate: Classifier) -> torch.optim.Optimizer:
        set_training(duplicate, freeze_norm_stats=config.freeze_norm_stats)
        groups = parameter_groups(duplicate, config)
        return make_optimizer(optimizer, groups, lr=config.lr, momentum=config.momentum)

    def fits(size: int) -> bool:
        share = -(-size // processes)
        return step_fits(
            model.classifier,
            model.preprocess.size,
            share,
            precision=precision,
            prepare=prepare,
            closure=optimizer.spec.closure,
        )

    size = largest_that_fits(fits, smallest=smallest, largest=max_batch_size(images, smallest=smallest))
    rate = scale_rate(config.lr, optimizer.spec.rate_growth, size / smallest)
    reason = f"{size} images per step; learning rate {rate:.3g}, scaled from {config.lr:.3g} at {smallest}"
    observer(Note(text=f"Batch size: {reason}."))
    return dataclasses.replace(config, batch_size=size, lr=rate), f"auto: {reason}"
