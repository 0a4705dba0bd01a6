from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn

from zoo.plugins.contracts import Features
from zoo_heads.pooling import AttentionPooling, Pooling

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
