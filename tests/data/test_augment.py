import math

import numpy as np
import pytest
import torch
from torchvision.transforms import InterpolationMode, RandomResizedCrop, v2
from torchvision.transforms.v2 import functional as tv

from zoo.config import make_config
from zoo.data.augment import (
    Augmentation,
    Boxes,
    _affine,
    _jitter,
    _randaugment,
    augment,
    cut,
    normalise,
    random_boxes,
)
from zoo.data.image import preprocess
from zoo.specs import Preprocess

SPEC = Preprocess(size=(32, 24), resize=36)
NEVER = torch.zeros(1, dtype=torch.bool)
ALWAYS = ~NEVER


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(height, width, *, count=1, seed=0):
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=generator(seed))


def smooth(height, width, *, seed=0):
    """A photo without sharp edges, on which resizing to uint8 and back costs little."""
    coarse = torch.rand(1, 3, 6, 6, generator=generator(seed)) * 255
    return tv.resize(coarse, [height, width], antialias=True).round().clamp(0, 255).to(torch.uint8)


def box(top, left, height, width):
    return Boxes(*(torch.tensor([float(value)]) for value in (top, left, height, width)))


def size_of(photos):
    return torch.tensor([photos.shape[2:]] * len(photos))


@pytest.mark.parametrize(
    "where",
    [
        pytest.param((0, 0, 90, 120), id="whole"),
        pytest.param((7, 13, 64, 80), id="shrunk"),
        pytest.param((50, 60, 10, 12), id="enlarged"),
        pytest.param((3, 100, 80, 5), id="one side shrunk, one enlarged"),
        pytest.param((89, 119, 1, 1), id="one pixel"),
    ],
)
def test_a_crop_is_what_torchvision_makes_of_it(where):
    photo = noise(90, 120)
    ours = cut(photo, size_of(photo), box(*where), SPEC, hflip=NEVER, vflip=NEVER)
    theirs = tv.resized_crop(photo.float(), *where, size=list(SPEC.size), antialias=True)
    assert ours.shape == (1, 3, 32, 24)
    assert (ours - theirs).abs().max() < 0.01


def test_flips_mirror_the_crop_and_each_image_has_its_own():
    photos = noise(40, 50).expand(4, -1, -1, -1)
    boxes = Boxes(*(torch.full((4,), value) for value in (2.0, 3.0, 30.0, 40.0)))
    hflip, vflip = torch.tensor([False, True, False, True]), torch.tensor([False, False, True, True])
    plain, mirrored, upside_down, both = cut(photos, size_of(photos), boxes, SPEC, hflip=hflip, vflip=vflip)
    torch.testing.assert_close(mirrored, plain.flip(2), atol=1e-3, rtol=0)
    torch.testing.assert_close(upside_down, plain.flip(1), atol=1e-3, rtol=0)
    torch.testing.assert_close(both, plain.flip(1, 2), atol=1e-3, rtol=0)


def test_the_padding_of_a_small_photo_is_never_seen():
    photo = noise(20, 30)
    padded = torch.zeros(1, 3, 50, 60, dtype=torch.uint8)
    padded[:, :, :20, :30] = photo
    for where in ((0, 0, 20, 30), (5, 10, 15, 20)):
        alone = cut(photo, size_of(photo), box(*where), SPEC, hflip=NEVER, vflip=NEVER)
        beside = cut(padded, size_of(photo), box(*where), SPEC, hflip=NEVER, vflip=NEVER)
        torch.testing.assert_close(beside, alone, atol=1e-3, rtol=0)


def test_beyond_the_photo_is_the_mean_colour():
    white = torch.full((1, 3, 10, 10), 255, dtype=torch.uint8)
    image = cut(white, size_of(white), box(-10, 0, 20, 10), SPEC, hflip=NEVER, vflip=NEVER)[0]
    torch.testing.assert_close(image[:, :16], (torch.tensor(SPEC.mean) * 255).view(3, 1, 1).expand(3, 16, 24))
    torch.testing.assert_close(image[:, 16:], torch.full((3, 16, 24), 255.0))


@pytest.mark.parametrize(("height", "width"), [(300, 400), (400, 300), (100, 1000), (1000, 90), (224, 224)])
def test_random_boxes_are_spread_as_those_of_torchvision(height, width):
    count, smallest = 3000, 0.2
    ours = random_boxes(torch.tensor([[height, width]]).expand(count, -1), smallest, generator())
    photo = torch.empty(3, height, width)
    draws = [RandomResizedCrop.get_params(photo, [smallest, 1.0], [3 / 4, 4 / 3]) for _ in range(count)]
    theirs = Boxes(*torch.tensor(draws, dtype=torch.float32).T)
    for measure in (
        lambda boxes: boxes.height * boxes.width / (height * width),
        lambda boxes: (boxes.width / boxes.height).log(),
        lambda boxes: boxes.top / height,
        lambda boxes: boxes.left / width,
    ):
        assert kolmogorov_smirnov(measure(ours), measure(theirs)) < 1.95 * math.sqrt(2 / count)  # 0.1 % level


def kolmogorov_smirnov(a, b):
    points = torch.cat([a, b]).unique()
    share_below = [torch.searchsorted(each.sort().values, points, right=True) / len(each) for each in (a, b)]
    return (share_below[0] - share_below[1]).abs().max().item()


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (2, 3), (7, 5), (333, 500)])
@pytest.mark.parametrize("smallest", [0.01, 0.99])
def test_every_box_lies_within_its_photo_in_whole_pixels(size, smallest):
    sizes = torch.tensor([size] * 500)
    boxes = random_boxes(sizes, smallest, generator())
    assert all(torch.equal(edge, edge.round()) for edge in boxes)
    assert boxes.height.min() >= 1
    assert boxes.width.min() >= 1
    assert min(boxes.top.min(), boxes.left.min()) >= 0
    assert (boxes.top + boxes.height <= sizes[:, 0]).all()
    assert (boxes.left + boxes.width <= sizes[:, 1]).all()


@pytest.mark.parametrize("size", [(48, 64), (64, 48), (33, 90), (200, 190)])
@pytest.mark.parametrize("mode", ["shorter", "squash"])
def test_without_augmentation_training_sees_what_evaluation_sees(size, mode):
    spec = Preprocess(size=(32, 24), resize=36, resize_mode=mode)
    photo = smooth(*size)
    ours = augment(photo, size_of(photo), spec, Augmentation(), generator())[0].permute(1, 2, 0)
    theirs = torch.from_numpy(preprocess(photo[0].permute(1, 2, 0).numpy(), spec)).float()
    difference = (ours - theirs).abs()
    # Evaluation crops after the resize, at a whole pixel: half a pixel of the result is the most they differ by.
    slope = max((theirs.diff(dim=axis).abs()).max().item() for axis in (0, 1))
    assert difference.max() <= 1 + slope
    assert difference.mean() <= 0.6 + slope / 4
    if mode == "squash":
        assert difference.max() <= 1


def test_a_photo_that_fits_in_whole_is_centred_on_the_mean_colour():
    spec = Preprocess(size=(32, 32), resize=32, resize_mode="longer")
    photo = smooth(32, 64)
    ours = augment(photo, size_of(photo), spec, Augmentation(), generator())[0].permute(1, 2, 0)
    theirs = torch.from_numpy(preprocess(photo[0].permute(1, 2, 0).numpy(), spec)).float()
    assert (ours - theirs).abs().max() <= 1


def test_all_draws_come_from_the_generator():
    photos = noise(40, 50, count=6)
    how = Augmentation(crop_scale=0.3, hflip=0.5, vflip=0.5, rotation=20, shear=10, color_jitter=0.3, randaugment=9)
    first = augment(photos, size_of(photos), SPEC, how, generator(1))
    torch.manual_seed(1234)
    again = augment(photos, size_of(photos), SPEC, how, generator(1))
    other = augment(photos, size_of(photos), SPEC, how, generator(2))
    torch.testing.assert_close(first, again, atol=0, rtol=0)
    assert not torch.equal(first, other)
    assert not torch.equal(first[0], first[1])
    assert first.shape == (6, 3, *SPEC.size)
    assert first.min() >= 0
    assert first.max() <= 255


def test_randaugment_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    _randaugment(noise(24, 24, count=3).float(), SPEC, 9, generator())
    assert torch.equal(torch.get_rng_state(), before)


def test_randaugment_at_its_least_and_its_most_gives_images():
    photos = noise(24, 24, count=8).float()
    for magnitude in (1, 30):
        images = _randaugment(photos, SPEC, magnitude, generator())
        assert images.dtype == torch.float32
        assert images.shape == photos.shape
        assert not torch.equal(images, photos)


@pytest.mark.parametrize(("rotation", "shear"), [(30, 0), (0, 25), (30, 25)])
def test_rotation_and_shear_are_those_of_torchvision(rotation, shear):
    photo = smooth(41, 57)
    spec = Preprocess(size=(41, 57), resize=41)
    ours = _affine(photo.float(), spec, Augmentation(rotation=rotation, shear=shear), generator(5))
    draws = generator(5)
    turn, tilt = (
        torch.empty(1).uniform_(-most, most, generator=draws).item() if most else 0.0 for most in (rotation, shear)
    )
    assert abs(turn) + abs(tilt) > 3
    mean = 255 * torch.tensor(spec.mean).view(3, 1, 1)
    theirs = tv.affine(
        photo.float() - mean,  # what lies beyond is 0, so it is the mean colour in the end
        angle=-turn,
        translate=[0, 0],
        scale=1.0,
        shear=[tilt, 0.0],
        interpolation=InterpolationMode.BILINEAR,
    )
    assert (ours - theirs - mean).abs().max() < 0.01


def test_colours_vary_as_torchvision_varies_them():
    photos = noise(16, 16, count=5).float()
    ours = _jitter(photos, 0.4, generator(7))
    factors = torch.empty(3, 5, 1, 1, 1).uniform_(0.6, 1.4, generator=generator(7)).flatten(1)
    for image, photo, (brightness, contrast, saturation) in zip(ours, photos, factors.T.tolist(), strict=True):
        theirs = tv.adjust_brightness(photo / 255, brightness)
        theirs = tv.adjust_contrast(theirs, contrast)
        theirs = tv.adjust_saturation(theirs, saturation)
        assert (image - theirs * 255).abs().max() < 0.1  # torchvision weighs red with 0.2989


def test_normalising_is_that_of_torchvision():
    images = noise(8, 8, count=2)
    ours = normalise(images, SPEC)
    theirs = v2.Normalize(SPEC.mean, SPEC.std)(images.float() / 255)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    assert ours.is_contiguous(memory_format=torch.channels_last)


def test_the_augmentation_is_read_off_the_configuration():
    config = make_config("b", data="d", crop_scale=0.5, hflip=0.1, vflip=0.2, rotation=3, shear=4, randaugment=5)
    assert Augmentation.from_config(config) == Augmentation(
        crop_scale=0.5, hflip=0.1, vflip=0.2, rotation=3.0, shear=4.0, randaugment=5, color_jitter=config.color_jitter
    )


def test_flips_happen_as_often_as_asked():
    half = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    half[..., :4] = 255
    photos = half.expand(1000, -1, -1, -1)
    spec = Preprocess(size=(8, 8), resize=8)
    images = augment(photos, size_of(photos), spec, Augmentation(hflip=0.3), generator())
    flipped = np.mean([image[0, 0, 0].item() == 0 for image in images])
    assert flipped == pytest.approx(0.3, abs=0.05)
