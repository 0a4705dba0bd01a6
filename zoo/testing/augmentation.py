"""The contract of an augmentation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from zoo.models.nested import count_changes
from zoo.models.random_state import restore_random_states, seed_all
from zoo.plugins.calls import resolve_callable
from zoo.plugins.faults import augmented_fault, mixed_fault
from zoo.plugins.specs import AugmentationRequest, AugmentationSpec
from zoo.testing.contract import Contract, check_options, seeded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    # (images, seed) -> augmented images
    Augment = Callable[[Tensor, int], Tensor]

BATCH, CLASSES = 6, 3
SIZES = ((32, 32), (27, 40), (96, 64))  # (height, width); the first one for all checks
FILL = (124.0, 116.0, 104.0)
_SEEDS = range(40)  # few enough to be quick, and enough to see an augmentation of one photo in ten
_REPEATED = 8  # of them are tried twice
_TOLERANCE = 1e-3  # of sums of targets, and of images that are computed in other batches


@restore_random_states()
def check_augmentation(spec: AugmentationSpec, *, options: Mapping[str, Any] | None = None) -> None:
    """Checks an augmentation on random images of several sizes, and on a single image.

    Args:
        spec: The augmentation.
        options: Values of its options; those that are missing keep their defaults.

    Raises:
        AssertionError: The augmentation violates its contract; the message says what the contract requires.
    """
    contract = Contract(f"augmentation {spec.name}")
    instance = check_options(contract, spec.options, options or {})
    with seeded():
        for size in SIZES:
            request = AugmentationRequest(image_size=size, fill=FILL, classes=CLASSES, options=instance)
            with contract.calling(f"build({request})"):
                built = resolve_callable(spec.build)(request)
            check = _check_mixing if spec.mixes_labels else _check_images
            check(contract, spec, built, size)


def _check_images(contract: Contract, spec: AugmentationSpec, built: Any, size: tuple[int, int]) -> None:
    augment = _bind_one(contract, built) if spec.per_image else _bind(contract, built)
    images = _images(size, count=1 if spec.per_image else BATCH)
    _check_result(contract, augment, images)
    if spec.takes_float:
        # Not whole numbers, as after an interpolation.
        _check_result(contract, augment, images.float() * 0.99)
    if size == SIZES[0]:
        _check_randomness(contract, lambda seed: augment(images, seed))
        _check_devices(contract, augment, images)
    if not spec.per_image:
        _check_neighbours(contract, built, images)


def _bind(contract: Contract, built: Any) -> Augment:
    for name in ("draw", "apply"):
        contract.require(
            callable(getattr(built, name, None)),
            "build() must return an object with the methods draw(count, generator) and apply(images, numbers), unless "
            f"the spec says per_image or mixes_labels; {type(built).__name__} has no {name}()",
        )

    def augment(images: Tensor, seed: int) -> Tensor:
        numbers = _draw(contract, built, len(images), seed)
        drawn = numbers.clone()
        with contract.calling(f"apply() on {_describe(images)}"):
            result: Tensor = built.apply(images, numbers)
        contract.require(torch.equal(numbers, drawn), "apply() must not change the numbers in place")
        return result

    return augment


def _draw(contract: Contract, built: Any, count: int, seed: int) -> Tensor:
    with contract.calling(f"draw({count}, generator)"):
        numbers = built.draw(count, torch.Generator().manual_seed(seed))
    contract.require(
        isinstance(numbers, Tensor) and numbers.ndim > 0 and len(numbers) == count and numbers.device.type == "cpu",
        f"draw() must return a tensor on the CPU with a row for each image, here ({count}, ...); it returned "
        f"{tuple(numbers.shape) if isinstance(numbers, Tensor) else type(numbers).__name__}",
    )
    found: Tensor = numbers
    return found


def _bind_one(contract: Contract, built: Any) -> Augment:
    contract.require(callable(built), "build() must return a function of an image and a generator (per_image)")

    def augment(images: Tensor, seed: int) -> Tensor:
        with contract.calling(f"the function on an image {_describe(images)}"):
            result: Tensor = built(images, torch.Generator().manual_seed(seed))
        return result

    return augment


def _check_result(contract: Contract, augment: Augment, images: Tensor) -> None:
    for given in (images, images[:1]):
        changes, before = count_changes(given), given.clone()
        result = augment(given, 0)
        contract.require(
            not isinstance(result, tuple),
            "it returned a tuple; an augmentation that changes targets too must say so (mixes_labels)",
        )
        fault = augmented_fault(result, given)
        contract.require(not fault, fault)
        unchanged = count_changes(given) == changes and torch.equal(given, before)
        contract.require(unchanged, "it must not change its images in place: other parts of the batch share them")
        if result.is_floating_point():
            low, high = float(result.min()), float(result.max())
            contract.require(
                -0.5 < low <= high < 255.5,
                f"float32 images must be from 0 to 255, not to 1 and not normalised; they are from {low:.4g} to "
                f"{high:.4g}",
            )
            contract.require(
                high > 1.0 or float(given.max()) <= 1,
                f"float32 images must be from 0 to 255; the largest value is {high:.4g}",
            )


def _check_randomness(contract: Contract, augment: Callable[[int], Tensor]) -> None:
    """Checks that the generator, and nothing else, decides the result."""
    states = _global_states()
    results = [augment(seed) for seed in _SEEDS]
    contract.require(
        _global_states() == states,
        "it must draw all numbers from the generator that it gets, none from the global ones of torch, numpy or random",
    )
    seed_all(12345)
    contract.require(
        all(torch.equal(augment(seed), result) for seed, result in enumerate(results[:_REPEATED])),
        "its result must be the same for the same seed, whatever was called before",
    )
    contract.require(
        any(not torch.equal(result, results[0]) for result in results),
        f"it did the same for {len(_SEEDS)} seeds: it must be random, as it is applied in every epoch; what is always "
        "the same belongs to the data",
    )


def _global_states() -> tuple[Any, ...]:
    import random

    numbers: Any = np.random.get_state()
    return torch.get_rng_state().tolist(), numbers[1].tolist(), numbers[2], random.getstate()


def _check_neighbours(contract: Contract, built: Any, images: Tensor) -> None:
    numbers = _draw(contract, built, len(images), 1)
    with contract.calling("apply()"):
        together = built.apply(images, numbers).float()
    for where in (slice(0, 1), slice(2, 5)):
        with contract.calling(f"apply() on {where.stop - where.start} of the images"):
            apart = built.apply(images[where], numbers[where]).float()
        # Sums of many numbers may be rounded in another order, and so may the value of a pixel.
        off = (apart - together[where]).abs() > 1 + _TOLERANCE
        contract.require(
            not bool(off.any()),
            "what it does to an image must not depend on the others in the batch: several processes share a batch",
        )
    swapped = torch.tensor([*range(1, len(images)), 0])
    with contract.calling("apply() on the images in another order"):
        moved = built.apply(images[swapped], numbers[swapped]).float()
    contract.require(
        bool(((moved - together[swapped]).abs() <= 1 + _TOLERANCE).all()),
        "what it does to an image must not depend on its place in the batch",
    )


def _check_devices(contract: Contract, augment: Augment, images: Tensor) -> None:
    """Checks that images stay where they are: on a GPU if there is one, otherwise on torch's device without data."""
    device = torch.device("cuda" if torch.cuda.is_available() else "meta")
    try:
        result = augment(images.to(device), 0)
    except AssertionError as error:
        cause = str(error.__cause__)
        # Without data, whatever looks at values fails; only a mixture of devices is a fault.
        contract.require(
            device.type == "cuda" or not _is_about_devices(cause),
            f"it must work on the device of the images; on '{device.type}' it failed: {cause.splitlines()[0]}",
        )
        if device.type == "cuda":
            raise
        return
    fault = augmented_fault(result, images.to(device))
    contract.require(not fault, fault)


def _is_about_devices(message: str) -> bool:
    return any(
        text in message
        for text in ("same device", "expected device", "device type for generator", "Cannot copy out of meta")
    )


def _check_mixing(contract: Contract, spec: AugmentationSpec, built: Any, size: tuple[int, int]) -> None:
    contract.require(
        callable(built), "build() must return a function of images, targets and a NumPy generator (mixes_labels)"
    )
    targets = torch.eye(CLASSES).repeat(BATCH // CLASSES, 1)
    mix = _bind_mixing(contract, built)
    inputs = [_images(size, count=BATCH).float() / 128 - 1]
    inputs += [torch.randn(BATCH, 5), torch.randn(BATCH, 7, 3)] if spec.mixes_features else []
    for images in inputs:
        for count in (BATCH, 1, 2):
            for seed in range(4):
                mix(images[:count], targets[:count], seed)
    if size != SIZES[0]:
        return
    _check_randomness(contract, lambda seed: mix(inputs[0], targets, seed)[0])
    results = [mix(inputs[0], targets, seed) for seed in _SEEDS]
    contract.require(
        any(not torch.equal(soft, targets) for _, soft in results),
        "it never changed the targets, so it must not say mixes_labels",
    )


def _bind_mixing(contract: Contract, built: Any) -> Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]]:
    def mix(images: Tensor, targets: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        changes, before = count_changes((images, targets)), (images.clone(), targets.clone())
        with contract.calling(f"the function on {_describe(images)} and targets {tuple(targets.shape)}"):
            result = built(images, targets, np.random.default_rng(seed))
        fault = mixed_fault(result, images, targets)
        contract.require(not fault, fault)
        mixed, soft = result
        unchanged = torch.equal(images, before[0]) and torch.equal(targets, before[1])
        contract.require(
            unchanged and count_changes((images, targets)) == changes,
            "it must not change its images or targets in place",
        )
        contract.require(bool(mixed.isfinite().all()), "mixed images must be finite")
        sums = soft.sum(dim=1)
        contract.require(
            bool((soft >= -_TOLERANCE).all()) and bool(((sums - 1).abs() < _TOLERANCE).all()),
            "the soft targets of an image must be from 0 to 1 and sum to one; those of one sum to "
            f"{float(sums[(sums - 1).abs().argmax()]):.4g}, and the lowest is {float(soft.min()):.4g}",
        )
        return mixed, soft

    return mix


def _images(size: tuple[int, int], *, count: int) -> Tensor:
    """Returns uint8 images ``(count, 3, h, w)`` with smooth and sharp places, in the memory format of training."""
    noise = torch.rand(count, 3, *size)
    coarse = torch.nn.functional.interpolate(torch.rand(count, 3, 4, 4), size=size, mode="bilinear")
    pixels = (255 * (0.8 * coarse + 0.2 * noise)).round().to(torch.uint8)
    return pixels.to(memory_format=torch.channels_last)


def _describe(images: Tensor) -> str:
    return f"{str(images.dtype).removeprefix('torch.')} {tuple(images.shape)}"
