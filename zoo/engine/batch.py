"""Finds how many images a step may have: as many as fit into memory, and leave enough steps to learn in."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch

from zoo.engine.machine import tuned_for
from zoo.engine.memory import Parts, is_out_of_memory
from zoo.engine.mixup import Mixed
from zoo.engine.step import Step

if TYPE_CHECKING:
    from collections.abc import Callable

    from zoo.engine.precision import Precision
    from zoo.model import Classifier

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
    parts, device = Parts(), precision.device
    images = torch.randn(count, 3, *image_size, device=device).contiguous(memory_format=torch.channels_last)
    labels = torch.zeros(count, dtype=torch.int64, device=device)
    Step(scratch, prepare(scratch), precision=precision, parts=parts)(Mixed(images, labels))
    return parts.size is None  # a step that ran out of memory was taken in parts


def rate_factor_of(optimizer: str, factor: float) -> float:
    """Returns what the learning rate is multiplied by where the images of a step are multiplied by `factor`.

    For SGD the rate grows in proportion (Goyal et al. 2017, https://arxiv.org/abs/1706.02677), for adaptive optimisers
    with the square root (Malladi et al. 2022, https://arxiv.org/abs/2205.10287).
    """
    plain = any(word in optimizer for word in ("sgd", "momentum", "nesterov"))
    return float(factor if plain else factor**0.5)
