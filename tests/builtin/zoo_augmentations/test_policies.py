"""RandAugment and TrivialAugment against torchvision, whose results they have to the last bit."""

import pytest
import torch
from torch.nn import functional as F
from torchvision.transforms import v2

from zoo.plugins.options import NoOptions
from zoo.plugins.specs import AugmentationRequest
from zoo_augmentations.operations import OPERATIONS
from zoo_augmentations.options import RandAugmentOptions
from zoo_augmentations.policies import RandAugment, TrivialAugment

FILL = (124, 116, 104)


def make_images(size, *, count=40):
    coarse = torch.rand(count, 3, 9, 9, generator=torch.Generator().manual_seed(0))
    images = (F.interpolate(coarse, size=size, mode="bicubic").clamp(0, 1) * 255).round().to(torch.uint8)
    images[0], images[1] = 255, 7
    return images.to(memory_format=torch.channels_last)


def request(options, size=(48, 48)):
    return AugmentationRequest(image_size=size, fill=tuple(each + 0.2 for each in FILL), classes=2, options=options)


@pytest.mark.parametrize("size", [(48, 48), (33, 50)])
@pytest.mark.parametrize(("magnitude", "operations"), [(0, 1), (5, 2), (9, 2), (30, 3)])
def test_randaugment_is_that_of_torchvision(size, magnitude, operations):
    """torchvision draws from the global generator, which is seeded here for each image as RandAugment seeds its own."""
    images = make_images(size)
    ours = RandAugment(request(RandAugmentOptions(magnitude=magnitude, operations=operations), size))
    seeds = torch.randint(2**31, (len(images),), generator=torch.Generator().manual_seed(4))
    result = ours.apply(images, ours.draw(len(images), torch.Generator().manual_seed(4)))
    theirs = v2.RandAugment(num_ops=operations, magnitude=magnitude, fill=list(FILL))
    with torch.random.fork_rng(devices=[]):
        for image, photo, seed in zip(result, images, seeds.tolist(), strict=True):
            torch.default_generator.manual_seed(seed)
            # Rounding may differ where a processor has no fused multiplication and addition.
            assert (image.int() - theirs(photo).int()).abs().max() <= 1
    assert not torch.equal(result, images)


def test_trivialaugment_has_the_operations_of_torchvision():
    images = make_images((48, 48), count=len(OPERATIONS) * 31)
    numbers = torch.cartesian_prod(torch.arange(len(OPERATIONS)), torch.arange(31))
    numbers = torch.cat([numbers, torch.ones(len(numbers), 1, dtype=torch.int64)], dim=1)
    result = TrivialAugment(request(NoOptions())).apply(images, numbers)
    theirs = v2.TrivialAugmentWide(fill=list(FILL))
    space = theirs._AUGMENTATION_SPACE
    assert [operation.name for operation in OPERATIONS] == list(space)
    for image, photo, (number, step, _) in zip(result, images, numbers.tolist(), strict=True):
        name = OPERATIONS[number].name
        magnitudes, signed = space[name]
        assert signed == OPERATIONS[number].is_signed
        steps = magnitudes(31, 48, 48)
        magnitude = 0.0 if steps is None else float(steps[step])
        expected = theirs._apply_image_or_video_transform(
            photo, name, magnitude, v2.InterpolationMode.NEAREST, theirs._fill
        )
        assert (image.int() - expected.int()).abs().max() <= 1, (name, step)


def test_trivialaugment_draws_all_operations_magnitudes_and_signs_evenly():
    operation, step, sign = TrivialAugment(request(NoOptions())).draw(20000, torch.Generator().manual_seed(0)).T
    for drawn, count in ((operation, 14), (step, 31), (sign, 2)):
        shares = drawn.bincount(minlength=count) / len(drawn)
        assert len(shares) == count
        assert shares.numpy() == pytest.approx(1 / count, rel=0.15)


def test_a_batch_of_one_image_and_a_batch_without_any_are_augmented():
    ours = TrivialAugment(request(NoOptions()))
    for count in (1, 0):
        images = make_images((48, 48), count=2)[:count]
        assert ours.apply(images, ours.draw(count, torch.Generator())).shape == (count, 3, 48, 48)
