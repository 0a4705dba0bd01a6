import math

import pytest
import torch
from augmenters import make_augmenters
from torchvision.transforms import RandomResizedCrop

from zoo.config import make_config
from zoo.data.loading.augment_params import (
    AugmentParams,
    CropPolicy,
    centre_params,
    draw_boxes,
    draw_params,
    make_generator,
)
from zoo.preprocess import Preprocess

SPEC = Preprocess(size=(32, 24), resize=36)
CROPS = CropPolicy(crop_scale=0.3, hflip=0.3, vflip=0.6)
AUGMENTERS = make_augmenters("affine", "trivialaugment", spec=SPEC)
MANY = torch.tensor([[48, 64]]).expand(2000, 2)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("height", "width"), [(300, 400), (400, 300), (100, 1000), (1000, 90), (224, 224)])
def test_boxes_are_distributed_as_those_of_torchvision(height, width):
    count, smallest = 3000, 0.2
    ours = draw_boxes(torch.tensor([[height, width]]).expand(count, -1), smallest, generator())
    photo = torch.empty(3, height, width)
    theirs = torch.tensor([RandomResizedCrop.get_params(photo, [smallest, 1.0], [3 / 4, 4 / 3]) for _ in range(count)])
    for measure in (
        lambda top, left, h, w: h * w / (height * width),
        lambda top, left, h, w: (w / h).log(),
        lambda top, left, h, w: top / height,
        lambda top, left, h, w: left / width,
    ):
        assert kolmogorov_smirnov(measure(*ours.float().T), measure(*theirs.float().T)) < critical(count)


def kolmogorov_smirnov(a, b):
    points = torch.cat([a, b]).unique()
    share_below = [torch.searchsorted(each.sort().values, points, right=True) / len(each) for each in (a, b)]
    return (share_below[0] - share_below[1]).abs().max().item()


def critical(count):
    return 1.95 * math.sqrt(2 / count)  # the 0.1 % level


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (2, 3), (7, 5), (333, 500)])
@pytest.mark.parametrize("smallest", [0.01, 0.99])
def test_every_box_lies_within_its_photo(size, smallest):
    sizes = torch.tensor([size] * 500)
    top, left, height, width = draw_boxes(sizes, smallest, generator()).T
    assert min(height.min(), width.min()) >= 1
    assert min(top.min(), left.min()) >= 0
    assert (top + height <= sizes[:, 0]).all()
    assert (left + width <= sizes[:, 1]).all()


def test_flips_happen_as_often_as_asked_and_independently():
    params = draw_params(MANY, SPEC, CROPS, generator())
    hflip, vflip = params.hflip.float(), params.vflip.float()
    assert hflip.mean().item() == pytest.approx(0.3, abs=0.04)
    assert vflip.mean().item() == pytest.approx(0.6, abs=0.04)
    assert (hflip * vflip).mean().item() == pytest.approx(0.18, abs=0.04)


def test_only_the_generator_decides_and_parameters_can_be_sliced():
    first = draw_params(MANY, SPEC, CROPS, generator(1), AUGMENTERS)
    torch.manual_seed(1234)
    assert same(first, draw_params(MANY, SPEC, CROPS, generator(1), AUGMENTERS))
    assert not same(first, draw_params(MANY, SPEC, CROPS, generator(2), AUGMENTERS))
    some = first[torch.tensor([3, 1])]
    assert len(some) == 2
    assert torch.equal(some.box, first.box[[3, 1]])
    assert same(first[10:20][2:4], first[12:14])


def same(a: AugmentParams, b: AugmentParams):
    return all(map(torch.equal, tensors(a), tensors(b)))


def tensors(params: AugmentParams):
    return [params.box, params.resized, params.corner, params.hflip, params.vflip, *params.numbers]


def test_without_augmentation_nothing_varies():
    sizes = torch.tensor([[48, 64], [64, 48], [3, 1000]])
    assert same(draw_params(sizes, SPEC, CropPolicy(), generator()), centre_params(sizes, SPEC))


def test_the_crops_come_from_the_configuration():
    config = make_config("b", data="d", crop_scale=0.5, hflip=0.1, vflip=0.2)
    assert CropPolicy.from_config(config) == CropPolicy(crop_scale=0.5, hflip=0.1, vflip=0.2)


def test_generators_differ_by_seed_and_by_path():
    numbers = {
        tuple(torch.rand(3, generator=make_generator(*path)).tolist())
        for path in [(0,), (1,), (0, 1), (1, 0), (0, 0, 1), (0, 1, 0), (2**31, 5)]
    }
    assert len(numbers) == 7
