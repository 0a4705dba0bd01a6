import pytest
import torch
from torchvision.transforms.v2 import functional as tv

from zoo.plugins.specs import AugmentationRequest
from zoo_augmentations.color import Blur, ColorJitter, Grayscale
from zoo_augmentations.options import BlurOptions, ColorJitterOptions, GrayscaleOptions

IMAGES = torch.randint(0, 256, (6, 3, 32, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def request(options):
    return AugmentationRequest(image_size=(32, 24), fill=(120, 120, 120), classes=2, options=options)


def generator():
    return torch.Generator().manual_seed(1)


def test_colour_jitter_matches_torchvision():
    jitter = ColorJitter(request(ColorJitterOptions(strength=0.4)))
    factors = jitter.draw(6, generator())
    assert ((factors - 1).abs() < 0.4).all()
    for image, photo, (brightness, contrast, saturation) in zip(
        jitter.apply(IMAGES, factors), IMAGES, factors.tolist(), strict=True
    ):
        theirs = tv.adjust_brightness(photo / 255, brightness)
        theirs = tv.adjust_contrast(theirs, contrast)
        theirs = tv.adjust_saturation(theirs, saturation)
        assert (image - theirs * 255).abs().max() < 0.1  # torchvision weights red with 0.2989


def test_some_photos_lose_their_colours():
    grayscale = Grayscale(request(GrayscaleOptions(probability=0.3)))
    grey = grayscale.draw(2000, generator())
    assert grey.float().mean().item() == pytest.approx(0.3, abs=0.04)
    which = torch.tensor([True, False, True, False, False, True])
    result = grayscale.apply(IMAGES, which)
    assert torch.equal(result[~which], IMAGES[~which])
    theirs = tv.rgb_to_grayscale(IMAGES[which], num_output_channels=3)
    assert (result[which].int() - theirs.int()).abs().max() <= 1


def test_blur_matches_torchvision_except_at_the_edges():
    blur = Blur(request(BlurOptions(sigma=1.5)))
    sigmas = torch.tensor([0.0, 0.1, 0.5, 1.0, 1.3, 1.5])
    result = blur.apply(IMAGES, sigmas)
    assert (result[0] - IMAGES[0]).abs().max() < 1e-3
    for image, photo, sigma in list(zip(result, IMAGES.float(), sigmas.tolist(), strict=True))[1:]:
        theirs = tv.gaussian_blur(photo, [11, 11], [sigma, sigma])
        assert (image - theirs)[:, 6:-6, 6:-6].abs().max() < 0.2


def test_as_many_photos_are_blurred_as_asked():
    sigmas = Blur(request(BlurOptions(probability=0.4, sigma=3.0))).draw(2000, generator())
    blurred = sigmas[sigmas > 0]
    assert len(blurred) / 2000 == pytest.approx(0.4, abs=0.04)
    assert blurred.min() >= 0.1
    assert blurred.max() <= 3


def test_blur_accepts_images_smaller_than_its_kernel():
    blur = Blur(request(BlurOptions(sigma=10.0)))
    assert blur.apply(IMAGES[:2, :, :3, :2], torch.tensor([10.0, 5.0])).shape == (2, 3, 3, 2)
