from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn

from zoo.plugins.contracts import Features
from zoo_heads.pooling import AttentionPooling, Pooling, StagePooling, select_stages

if TYPE_CHECKING:
    from zoo_heads.options import PoolingName

POOLED, MAP = 12, 8


def make_features(batch: int = 4) -> Features:
    generator = torch.Generator().manual_seed(0)
    return Features(torch.randn(batch, POOLED, generator=generator), torch.randn(batch, MAP, 3, 2, generator=generator))


def pool(kind: PoolingName, features: Features) -> Tensor:
    pooling = Pooling(kind, pooled_width=POOLED, map_width=MAP)
    pooled: Tensor = pooling(features)
    assert pooled.shape == (len(features.pooled), pooling.width)
    return pooled


def test_pooling_reduces_the_map_or_returns_the_pooled_features() -> None:
    features = make_features()
    assert torch.equal(pool("native", features), features.pooled)
    average, maximum = features.map.flatten(2).mean(dim=2), features.map.flatten(2).max(dim=2).values
    torch.testing.assert_close(pool("avg", features), average)
    torch.testing.assert_close(pool("max", features), maximum)
    torch.testing.assert_close(pool("avgmax", features), (average + maximum) / 2)
    torch.testing.assert_close(pool("catavgmax", features), torch.cat([average, maximum], dim=1))


def test_the_width_is_that_of_the_pooled_vector() -> None:
    kinds: tuple[PoolingName, ...] = ("native", "avg", "max", "avgmax", "catavgmax")
    widths = [Pooling(kind, pooled_width=POOLED, map_width=MAP).width for kind in kinds]
    assert widths == [POOLED, MAP, MAP, MAP, 2 * MAP]


@pytest.mark.parametrize(
    ("kind", "width"), [("native", 14), ("avg", 14), ("max", 14), ("avgmax", 14), ("catavgmax", 28)]
)
def test_the_pooled_maps_of_stages_are_joined(kind: PoolingName, width: int) -> None:
    stages = (torch.randn(2, 8, 5, 4), torch.randn(2, 6, 3, 2))
    pooling = StagePooling(kind, widths=[8, 6])
    pooled = pooling(Features(torch.randn(2, POOLED), torch.randn(2, MAP, 3, 2), stages))
    assert pooled.shape == (2, width)
    assert pooling.width == width
    kind = "avg" if kind == "native" else kind
    alone = [
        Pooling(kind, pooled_width=0, map_width=stage.shape[1])(Features(torch.zeros(2, 0), stage)) for stage in stages
    ]
    assert torch.equal(pooled, torch.cat(alone, dim=1))


def shapes(**stages: tuple[int, int]) -> dict[str, tuple[int, int, int]]:
    """Returns the shapes of square maps, each given as (channels, side)."""
    return {name: (channels, side, side) for name, (channels, side) in stages.items()}


RESNET = shapes(stem=(64, 56), layer1=(256, 56), layer2=(512, 28), layer3=(1024, 14), layer4=(2048, 7))
MOBILENET = shapes(stem=(16, 56), b1=(24, 28), b2=(40, 14), b3=(48, 14), b4=(96, 7), b5=(96, 7), head=(576, 7))
VIT = shapes(**{f"b{number}": (192, 14) for number in range(12)})
DENSENET = shapes(stem=(64, 56), t1=(128, 28), d2=(512, 28), t2=(256, 14), d3=(1024, 14), t3=(512, 7), d4=(1024, 7))


@pytest.mark.parametrize(
    ("stages", "count", "names"),
    [
        (RESNET, 1, ("layer4",)),
        (RESNET, 3, ("layer2", "layer3", "layer4")),
        (RESNET, 4, ("layer1", "layer2", "layer3", "layer4")),
        (RESNET, 5, ("stem", "layer1", "layer2", "layer3", "layer4")),  # more than there are resolutions
        (MOBILENET, 3, ("b1", "b3", "b5")),  # the last one is a projection to the features of the classes
        (MOBILENET, 2, ("b3", "b5")),
        (DENSENET, 3, ("d2", "d3", "d4")),
        (VIT, 2, ("b5", "b11")),
        (VIT, 3, ("b3", "b7", "b11")),
        (VIT, 12, tuple(VIT)),
        (shapes(a=(8, 16), b=(8, 8), c=(8, 8), d=(8, 8)), 3, ("a", "b", "d")),
        (shapes(a=(8, 4), b=(24, 4)), 1, ("b",)),
        (shapes(a=(8, 4), b=(25, 4)), 1, ("a",)),
    ],
)
def test_stages_of_different_resolutions_are_selected_or_else_of_different_depths(
    stages: dict[str, tuple[int, int, int]], count: int, names: tuple[str, ...]
) -> None:
    assert select_stages(stages, count) == names


def test_the_resolution_is_that_of_both_sides() -> None:
    assert select_stages({"a": (8, 8, 4), "b": (8, 4, 4), "c": (8, 4, 2)}, 3) == ("a", "b", "c")


@pytest.mark.parametrize("heads", [1, 2, 8])
def test_attention_starts_as_average_pooling(heads: int) -> None:
    pooling = AttentionPooling(map_width=MAP, heads=heads)
    torch.testing.assert_close(pooling(make_features()), make_features().map.mean(dim=(2, 3)))


def test_each_query_pools_its_share_of_the_channels() -> None:
    pooling = AttentionPooling(map_width=MAP, heads=2)
    features = make_features(1)
    tokens = features.map.flatten(2)  # (1, C, positions)
    keys = nn.functional.layer_norm(tokens[0].T, (MAP,))
    with torch.no_grad():
        pooling.query.copy_(1000 * keys[[4, 1]])  # the first query attends to position 4, the second to position 1
    weights = pooling.attention(tokens)
    assert weights.shape == (1, 2, 6)
    torch.testing.assert_close(weights.sum(dim=2), torch.ones(1, 2))
    assert weights.argmax(dim=2).tolist() == [[4, 1]]
    torch.testing.assert_close(pooling(features)[0], torch.cat([tokens[0, : MAP // 2, 4], tokens[0, MAP // 2 :, 1]]))
