"""Augmentations of plugins at work: built once, called for each batch; what they do wrong has the plugin's name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from zoo.errors import ZooError
from zoo.plugins.calls import plugin_failure
from zoo.plugins.faults import augmented_fault, mixed_fault
from zoo.plugins.specs import AugmentationRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from zoo.plugins.registry import Choice, Offer
    from zoo.plugins.specs import AugmentationSpec
    from zoo.preprocess import Preprocess

_SEEDS = 2**31


class Augmenter:
    """An augmentation that changes each image on its own.

    Args:
        offer: The augmentation.
        built: What its `AugmentationSpec.build` returned.
    """

    def __init__(self, offer: Offer[AugmentationSpec], built: Any) -> None:
        self._offer = offer
        self._built = _PerImage(built) if offer.spec.per_image else built

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Draws the numbers of `count` images, ``(count, ...)``.

        Raises:
            PluginError: The plugin failed.
        """
        numbers = _call(self._offer, "drawing numbers", self._built.draw, count, generator)
        if not isinstance(numbers, Tensor) or not numbers.ndim or len(numbers) != count:
            shape = tuple(numbers.shape) if isinstance(numbers, Tensor) else type(numbers).__name__
            raise _failure(self._offer, "drawing numbers", f"draw() returned {shape}, not a tensor ({count}, ...)")
        return numbers

    def apply(self, images: Tensor, numbers: Tensor) -> Tensor:
        """Augments images, uint8 or float32 from 0 to 255 ``(N, 3, H, W)``, by their numbers; the result is alike.

        Raises:
            PluginError: The plugin failed.
        """
        if images.is_floating_point() and not self._offer.spec.takes_float:
            images = to_uint8(images)
        result: Tensor = _call(self._offer, "augmenting images", self._built.apply, images, numbers)
        if fault := augmented_fault(result, images):
            raise _failure(self._offer, "augmenting images", fault)
        return result


class _PerImage:
    """Turns a function of one image and a generator into a `zoo.plugins.specs.BatchAugmentation`."""

    def __init__(self, function: Callable[[Tensor, torch.Generator], Tensor]) -> None:
        self._function = function

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        return torch.randint(_SEEDS, (count,), generator=generator)

    def apply(self, images: Tensor, numbers: Tensor) -> Tensor:
        own = torch.Generator()
        results = [
            self._function(image, own.manual_seed(seed))
            for image, seed in zip(images.split(1), numbers.tolist(), strict=True)
        ]
        return torch.cat(results)


class Mixer:
    """An augmentation that mixes the images of a batch and their targets.

    Args:
        offer: The augmentation.
        built: What its `AugmentationSpec.build` returned.
    """

    def __init__(self, offer: Offer[AugmentationSpec], built: Any) -> None:
        self._offer, self._built = offer, built

    def mix(self, images: Tensor, targets: Tensor, *, seed: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Mixes images ``(N, 3, H, W)`` or features ``(N, ...)``, and soft targets ``(N, classes)``, float32.

        Args:
            images: The images, after normalisation.
            targets: Their targets.
            seed: Numbers that seed the random generator.

        Raises:
            PluginError: The plugin failed.
        """
        result = _call(self._offer, "mixing images", self._built, images, targets, np.random.default_rng([*seed]))
        if fault := mixed_fault(result, images, targets):
            raise _failure(self._offer, "mixing images", fault)
        mixed: tuple[Tensor, Tensor] = result
        return mixed


def build_augmenters(choices: Iterable[Choice[AugmentationSpec]], spec: Preprocess, *, classes: int) -> list[Augmenter]:
    """Returns the augmentations that change each image on its own, in their order.

    Args:
        choices: Augmentations, some of which may mix images.
        spec: The preprocessing of training images.
        classes: Number of classes.

    Raises:
        ZooError: As for `zoo.plugins.calls.call_plugin`.
    """
    return [Augmenter(each.offer, _build(each, spec, classes)) for each in choices if not each.spec.mixes_labels]


def build_mixers(
    choices: Iterable[Choice[AugmentationSpec]], spec: Preprocess, *, classes: int, features: bool = False
) -> list[Mixer]:
    """Returns the augmentations that mix images, in their order; arguments as for `build_augmenters`.

    Args:
        choices: Augmentations.
        spec: The preprocessing of training images.
        classes: Number of classes.
        features: Whether they have to mix features, which leaves out those that cannot.

    Raises:
        ZooError: As for `zoo.plugins.calls.call_plugin`.
    """
    mixing = [each for each in choices if each.spec.mixes_features or (each.spec.mixes_labels and not features)]
    return [Mixer(each.offer, _build(each, spec, classes)) for each in mixing]


def to_uint8(images: Tensor) -> Tensor:
    """Returns images with values from 0 to 255 as uint8, rounded."""
    return images if images.dtype == torch.uint8 else images.round().clamp_(0, 255).to(torch.uint8)


def _build(choice: Choice[AugmentationSpec], spec: Preprocess, classes: int) -> Any:
    red, green, blue = (torch.tensor(spec.mean) * 255).tolist()
    request = AugmentationRequest(
        image_size=spec.size, fill=(red, green, blue), classes=classes, options=choice.options
    )
    return choice.offer.call("building", choice.spec.build, request)


def _call(offer: Offer[AugmentationSpec], action: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Calls code of a plugin in the training loop, where the supervision of `Offer.call` would cost time."""
    try:
        return function(*arguments)
    except (ZooError, KeyboardInterrupt, MemoryError, torch.OutOfMemoryError):
        raise
    except (Exception, SystemExit) as error:
        raise _failure(offer, action, error) from error


def _failure(offer: Offer[AugmentationSpec], action: str, reason: BaseException | str) -> ZooError:
    return plugin_failure(offer.plugin, f"{action} with '{offer.spec.name}'", reason)
