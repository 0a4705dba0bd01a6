from __future__ import annotations

import random as python_random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from contract_offers import violation
from torch import Tensor

import zoo
from zoo.testing import check_augmentation

if TYPE_CHECKING:
    from collections.abc import Callable


class Invert:
    """Inverts some images; keeps the contract."""

    def __init__(self, request: zoo.AugmentationRequest) -> None:
        self.request = request

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        return torch.rand(count, generator=generator)

    def apply(self, images: Tensor, numbers: Tensor) -> Tensor:
        return torch.where(self.chosen(images, numbers), 255 - images, images)

    def chosen(self, images: Tensor, numbers: Tensor) -> Tensor:
        return numbers.to(images.device)[:, None, None, None] < 0.5


class HalfPrecision(Invert):
    def apply(self, images: Tensor, numbers: Tensor) -> Tensor:
        return super().apply(images, numbers).half()


class OneChannel(Invert):
    def apply(self, images: Tensor, numbers: Tensor) -> Tensor:
        return super().apply(images, numbers)[:, :1]


class InPlace(Invert):
    def apply(self, images: Tensor, numbers: Tensor) -> Tensor:
        return images.copy_(super().apply(images, numbers))


class GlobalTorch(Invert):
    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        return torch.rand(count)


class GlobalNumpy(Invert):
    def apply(self, images: Tensor, numbers: Tensor) -> Tensor:
        return super().apply(images, torch.from_numpy(np.random.rand(len(images))))


class GlobalPython(Invert):
    def apply(self, images: Tensor, numbers: Tensor) -> Tensor:
        return super().apply(images, numbers + python_random.random())


class Counts(Invert):
    """Differs from call to call, without global random numbers."""

    calls = 0

    def apply(self, images: Tensor, numbers: Tensor) -> Tensor:
        self.calls += 1
        return super().apply(images, (numbers * 0 + self.calls % 7) / 7)


class DoesNothing(Invert):
    def apply(self, images: Tensor, numbers: Tensor) -> Tensor:
        return images


class ZeroToOne(Invert):
    def apply(self, images: Tensor, numbers: Tensor) -> Tensor:
        return super().apply(images, numbers).float() / 255


class Overflows(Invert):
    def apply(self, images: Tensor, numbers: Tensor) -> Tensor:
        return images.float() * (1 + numbers.to(images.device)[:, None, None, None])


class NotANumber(Invert):
    def apply(self, images: Tensor, numbers: Tensor) -> Tensor:
        return super().apply(images, numbers).float() * torch.nan


class DimsTheBatch(Invert):
    """Depends on the other images of the batch."""

    def apply(self, images: Tensor, numbers: Tensor) -> Tensor:
        return (super().apply(images, numbers).float() - images.float().amin()).clamp(0, 255)


class FirstOnly(Invert):
    """Depends on the place in the batch."""

    def apply(self, images: Tensor, numbers: Tensor) -> Tensor:
        return super().apply(images, numbers[:1].expand(len(images)))


class MixesInSilence(Invert):
    def apply(self, images: Tensor, numbers: Tensor) -> Any:
        return images.flip(0), numbers.flip(0)


class FailsAlone(Invert):
    def apply(self, images: Tensor, numbers: Tensor) -> Tensor:
        return super().apply(images, torch.stack([numbers[0], *numbers[1:-1], numbers[1]]))


class OneSize(Invert):
    def apply(self, images: Tensor, numbers: Tensor) -> Tensor:
        return super().apply(images.reshape(len(images), 3, 32, 32), numbers)


class ContiguousOnly(Invert):
    def apply(self, images: Tensor, numbers: Tensor) -> Tensor:
        return super().apply(images.view(len(images), -1).view_as(images), numbers)


class ToTheCpu(Invert):
    def apply(self, images: Tensor, numbers: Tensor) -> Tensor:
        return super().apply(images.cpu(), numbers)


class LeavesNumbers(Invert):
    """Forgets to move its numbers to the device of the images."""

    def apply(self, images: Tensor, numbers: Tensor) -> Tensor:
        return (images + numbers[:, None, None, None] * 0).clamp(0, 255).to(torch.uint8) + super().apply(
            images, numbers
        )


class ChangesNumbers(Invert):
    def apply(self, images: Tensor, numbers: Tensor) -> Tensor:
        return super().apply(images, numbers.mul_(0.5))


class OneNumber(Invert):
    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        return torch.rand(1, generator=generator)


def check(build: Any, **values: Any) -> None:
    check_augmentation(zoo.AugmentationSpec(name="mine", build=build, **values))


def one(function: Callable[[Tensor, torch.Generator], Tensor]) -> None:
    check(lambda request: function, per_image=True)


def mixing(function: Callable[[Tensor, Tensor, np.random.Generator], Any], **values: Any) -> None:
    check(lambda request: function, mixes_labels=True, **values)


def good_mix(images: Tensor, targets: Tensor, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    weight, others = float(random.random()), torch.from_numpy(random.permutation(len(images)))
    return images.lerp(images[others], weight), targets.lerp(targets[others], weight)


def test_good_augmentations_pass() -> None:
    check(Invert)
    one(lambda image, generator: 255 - image if torch.rand((), generator=generator) < 0.5 else image)
    mixing(good_mix, mixes_features=True)


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda request: None, "build() must return an object with the methods draw(count, generator) and apply("),
        (HalfPrecision, "it returned float16; images must be uint8, or float32 from 0 to 255"),
        (OneChannel, "it returned (6, 1, 32, 32) for images (6, 3, 32, 32); their shape must not change"),
        (InPlace, "it must not change its images in place"),
        (GlobalTorch, "it must draw all numbers from the generator that it gets"),
        (GlobalNumpy, "it must draw all numbers from the generator that it gets"),
        (GlobalPython, "it must draw all numbers from the generator that it gets"),
        (Counts, "its result must be the same for the same seed"),
        (DoesNothing, "it did the same for 40 seeds: it must be random"),
        (ZeroToOne, "float32 images must be from 0 to 255; the largest value is 0.99"),
        (Overflows, "float32 images must be from 0 to 255, not to 1 and not normalised; they are from"),
        (NotANumber, "they are from nan to nan"),
        (DimsTheBatch, "what it does to an image must not depend on the others in the batch"),
        (FirstOnly, "what it does to an image must not depend on the others in the batch"),
        (MixesInSilence, "an augmentation that changes targets too must say so (mixes_labels)"),
        (FailsAlone, "apply() on uint8 (1, 3, 32, 32) raised IndexError"),
        (OneSize, "apply() on uint8 (6, 3, 27, 40) raised RuntimeError"),
        (ContiguousOnly, "apply() on uint8 (6, 3, 32, 32) raised RuntimeError: view size is not compatible"),
        (ToTheCpu, "it must work on the device of the images; on 'meta' it failed: Cannot copy out of meta tensor"),
        (LeavesNumbers, "it must work on the device of the images; on 'meta' it failed: "),
        (ChangesNumbers, "apply() must not change the numbers in place"),
        (
            OneNumber,
            "draw() must return a tensor on the CPU with a row for each image, here (6, ...); it returned (1,)",
        ),
    ],
)
@pytest.mark.skipif(torch.cuda.is_available(), reason="with a GPU the kit uses it, and words about devices differ")
def test_a_broken_augmentation_is_refused_with_the_violated_rule(build: Any, sentence: str) -> None:
    message = violation(lambda: check(build))
    assert message.startswith("augmentation mine: ")
    assert sentence in message


def test_a_function_of_one_image_that_is_broken_is_refused() -> None:
    assert "a function of an image and a generator" in violation(lambda: check(lambda request: 3, per_image=True))
    drawn = "must draw all numbers from the generator"
    assert drawn in violation(lambda: one(lambda image, generator: image ^ torch.randint(9, ()).to(torch.uint8)))
    assert "it did the same for 40 seeds" in violation(lambda: one(lambda image, generator: 255 - image))
    assert "must not change its images in place" in violation(lambda: one(lambda image, generator: image.zero_()))


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (lambda images, targets, random: images, "it returned Tensor, not a tuple of images and targets"),
        (lambda images, targets, random: (images, targets), "it did the same for 40 seeds"),
        (lambda images, targets, random: (images * random.random(), targets), "it must not say mixes_labels"),
        (
            lambda images, targets, random: (images, targets * 0.5),
            "must be from 0 to 1 and sum to one; those of one sum",
        ),
        (lambda images, targets, random: (images, 2 * targets - 1 / 3), "and the lowest is -0.3333"),
        (lambda images, targets, random: (images, targets.argmax(dim=1)), "it returned targets (6,) int64 on cpu"),
        (lambda images, targets, random: (images.mul_(0.5), targets), "must not change its images or targets in place"),
        (lambda images, targets, random: (images / 0, targets), "mixed images must be finite"),
        (
            lambda images, targets, random: (images + torch.rand(()), targets),
            "must draw all numbers from the generator",
        ),
        (lambda images, targets, random: (images[[1, 0]], targets), "it returned images (2, 3, 32, 32) float32"),
    ],
)
def test_a_mixture_that_is_broken_is_refused(function: Any, sentence: str) -> None:
    assert sentence in violation(lambda: mixing(function))


def test_what_mixes_features_must_accept_vectors() -> None:
    def cut(images: Tensor, targets: Tensor, random: np.random.Generator) -> tuple[Tensor, Tensor]:
        mixed, soft = good_mix(images, targets, random)
        return mixed[:, :, :, :], soft

    mixing(cut)
    assert "the function on float32 (6, 5)" in violation(lambda: mixing(cut, mixes_features=True))


def test_options_are_checked_and_passed_on() -> None:
    from zoo_augmentations import zoo_augmentations

    (spec,) = (each for each in zoo_augmentations() if each.name == "random-erasing")
    check_augmentation(spec, options={"probability": 1.0, "value": "random"})
    assert "raised ConfigError" in violation(lambda: check_augmentation(spec, options={"probability": 2}))
