import pytest
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from zoo.plugins.specs import AugmentationRequest
from zoo_augmentations.affine import Affine
from zoo_augmentations.options import AffineOptions

FILL = (123.7, 116.3, 103.5)


def make_affine(**options):
    request = AugmentationRequest(image_size=(41, 57), fill=FILL, classes=2, options=AffineOptions(**options))
    return Affine(request)


def smooth(height, width, *, count=1):
    coarse = torch.rand(count, 3, 6, 6, generator=torch.Generator().manual_seed(0)) * 255
    return tv.resize(coarse, [height, width], antialias=True).round().clamp(0, 255).to(torch.uint8)


@pytest.mark.parametrize(("rotation", "shear"), [(30, 0), (0, 25), (30, 25)])
def test_rotation_and_shear_match_torchvision(rotation, shear):
    images, affine = smooth(41, 57), make_affine(rotation=rotation, shear=shear)
    numbers = affine.draw(1, torch.Generator().manual_seed(5))
    ((angle, tilt),) = numbers.rad2deg().tolist()
    assert abs(angle) + abs(tilt) > 3
    mean = torch.tensor(FILL).view(3, 1, 1)
    theirs = tv.affine(
        images.float() - mean,  # torchvision fills with 0, which becomes the mean colour
        angle=-angle,
        translate=[0, 0],
        scale=1.0,
        shear=[tilt, 0.0],
        interpolation=InterpolationMode.BILINEAR,
    )
    assert (affine.apply(images, numbers) - theirs - mean).abs().max() < 0.01


def test_angles_fill_their_range():
    rotation, shear = make_affine(rotation=20, shear=10).draw(2000, torch.Generator().manual_seed(0)).rad2deg().T
    for angles, most in ((rotation, 20), (shear, 10)):
        assert angles.abs().max() == pytest.approx(most, rel=0.01)
        assert angles.mean().abs() < most / 20
        assert angles.abs().mean() == pytest.approx(most / 2, rel=0.05)
