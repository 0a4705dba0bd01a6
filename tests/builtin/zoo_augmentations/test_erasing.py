import pytest
import torch

from zoo.errors import ConfigError
from zoo.plugins.options import make_options
from zoo.plugins.specs import AugmentationRequest
from zoo_augmentations.erasing import RandomErasing
from zoo_augmentations.options import RandomErasingOptions

FILL = (124.3, 116.0, 104.0)
SIDES = (64, 48)


def make_erasing(**options):
    request = AugmentationRequest(
        image_size=SIDES, fill=FILL, classes=2, options=make_options(RandomErasingOptions, options, owner="erasing")
    )
    return RandomErasing(request)


def erased_of(count=400, dtype=torch.uint8, **options):
    """Erases black images; returns the result, and bool (N, H, W)."""
    erasing, images = make_erasing(**options), torch.zeros(count, 3, *SIDES, dtype=dtype)
    result = erasing.apply(images, erasing.draw(count, torch.Generator().manual_seed(0)))
    assert result.dtype == dtype
    return result, result.sum(dim=1) > 0


def test_a_rectangle_of_the_asked_area_is_painted_over():
    result, erased = erased_of(probability=1, smallest=0.1, largest=0.3)
    shares = erased.float().mean(dim=(1, 2))
    assert shares.min() > 0.09
    assert shares.max() < 0.32
    assert shares.std() > 0.03
    for image, mask in zip(result[:20], erased[:20], strict=True):
        rows, columns = mask.any(dim=1), mask.any(dim=0)
        assert torch.equal(mask, rows[:, None] & columns)
        assert int(rows.diff().sum()) <= 2
        assert torch.equal(
            image[:, mask], torch.tensor([[124], [116], [104]], dtype=torch.uint8).expand(3, int(mask.sum()))
        )
    # Rectangles are anywhere.
    assert (erased.float().mean(dim=0) > 0.03).float().mean() > 0.9


def test_as_many_photos_as_asked_are_erased_and_the_others_stay_as_they_are():
    _, erased = erased_of(2000, probability=0.3)
    assert erased.flatten(1).any(dim=1).float().mean().item() == pytest.approx(0.3, abs=0.04)


def test_colours_may_be_random_and_images_not_rounded():
    result, erased = erased_of(10, torch.float32, probability=1, value="random")
    colours = torch.stack([image[:, mask][:, 0] for image, mask in zip(result, erased, strict=True)])
    assert len(colours.unique(dim=0)) == 10
    assert colours.max() <= 255


def test_bounds_in_the_wrong_order_are_an_error():
    with pytest.raises(ConfigError, match=r"'smallest' is 0\.5, more than 'largest', 0\.2"):
        make_erasing(smallest=0.5, largest=0.2)
