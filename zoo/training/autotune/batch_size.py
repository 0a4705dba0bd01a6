"""Finds how many images a step may have: as many as fit into memory, and leave enough steps to learn in."""

from __future__ import annotations

import copy
import dataclasses
from typing import TYPE_CHECKING

import torch

from zoo.config import FinetuneConfig
from zoo.events import Note
from zoo.models.classifier import set_training
from zoo.models.precision import Precision
from zoo.models.runtime import tuned_for
from zoo.recipes import recipe_values
from zoo.training.memory_errors import is_out_of_memory
from zoo.training.micro_batches import MicroBatches
from zoo.training.mixup import MixedBatch
from zoo.training.optimizer import make_optimizer, parameter_groups
from zoo.training.step import Step

if TYPE_CHECKING:
    from collections.abc import Callable

    from zoo.events import Observer
    from zoo.models.build import Model
    from zoo.models.classifier import Classifier
    from zoo.models.precision import Precision

# The default recipe was compared at 22 to 57 steps an epoch (docs/recipes.md). With fewer, a few epochs are over before
# the rate has climbed and fallen, and the average of the weights, over some 20 steps, reaches back to the beginning.
LEAST_STEPS = 50


def most_images(count: int, *, least: int) -> int:
    """Returns the largest power of two that leaves `LEAST_STEPS` steps an epoch, but not less than `least`.

    Args:
        count: Images of the training part.
        least: Images a step of the recipe.
    """
    power: int = 1 << max(0, (count // LEAST_STEPS).bit_length() - 1)
    return max(least, power)


def largest_that_fits(fits: Callable[[int], bool], *, least: int, most: int) -> int:
    """Returns the last size, doubled from `least` up to `most`, that fits; `least` is not tried."""
    size = least
    while size * 2 <= most and fits(size * 2):
        size *= 2
    return size


def step_fits(
    classifier: Classifier,
    image_size: tuple[int, int],
    count: int,
    *,
    precision: Precision,
    prepare: Callable[[Classifier], torch.optim.Optimizer],
) -> bool:
    """Returns whether memory suffices for a step of `count` images; tried on a copy, which alone is trained.

    Args:
        classifier: On the device.
        image_size: (height, width) in pixels.
        count: Images.
        precision: Of the forward pass, and where.
        prepare: Puts the copy into the mode of training and returns its optimiser.
    """
    device = precision.device
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []), tuned_for(precision):
            return _takes_step(copy.deepcopy(classifier), image_size, count, precision=precision, prepare=prepare)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return False
    finally:
        # Here the copy is gone, and what it took can be given back: photos are kept on a GPU as far as memory is free.
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()


def _takes_step(
    scratch: Classifier,
    image_size: tuple[int, int],
    count: int,
    *,
    precision: Precision,
    prepare: Callable[[Classifier], torch.optim.Optimizer],
) -> bool:
    micro_batches, device = MicroBatches(), precision.device
    images = torch.randn(count, 3, *image_size, device=device).contiguous(memory_format=torch.channels_last)
    labels = torch.zeros(count, dtype=torch.int64, device=device)
    Step(scratch, prepare(scratch), precision=precision, micro_batches=micro_batches)(MixedBatch(images, labels))
    return micro_batches.size is None  # a step that ran out of memory was taken in parts


def rate_factor_of(optimizer: str, factor: float) -> float:
    """Returns what the learning rate is multiplied by where the images of a step are multiplied by `factor`.

    For SGD the rate grows in proportion (Goyal et al. 2017, https://arxiv.org/abs/1706.02677), for adaptive optimisers
    with the square root (Malladi et al. 2022, https://arxiv.org/abs/2205.10287).
    """
    plain = any(word in optimizer for word in ("sgd", "momentum", "nesterov"))
    return float(factor if plain else factor**0.5)


def autotune_batch_size(
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
        ranks: ProcessGroup that share each step.
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
