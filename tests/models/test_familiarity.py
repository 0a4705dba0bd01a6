import numpy as np
import pytest
import torch

from zoo.models.familiarity import Familiarity
from zoo.models.prototypes import choose_prototypes, compute_familiarity
from zoo.plugins.contracts import Features


class Head(torch.nn.Module):
    def __init__(self, *stages):
        super().__init__()
        self.stages = stages


@pytest.mark.parametrize("stages", [(), ("layer3", "layer4")])
def test_it_is_that_of_numpy_for_every_kind_of_head(stages):
    maps = tuple(torch.randn(6, 5, 4, 4) for _ in stages)
    features = Features(torch.randn(6, 7), torch.randn(6, 7, 2, 2), maps)
    vectors = (maps[-1].mean(dim=(2, 3)) if stages else features.pooled).numpy()
    prototypes = choose_prototypes(vectors[:4], 10, seed=0)
    found = Familiarity(Head(*stages), prototypes, neighbours=2)(features)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), compute_familiarity(vectors, prototypes, neighbours=2), atol=1e-6)


def test_features_that_are_all_zero_are_finite():
    features = Features(torch.zeros(2, 3), torch.zeros(2, 3, 1, 1))
    prototypes = choose_prototypes(np.eye(3, dtype=np.float32), 3, seed=0)
    assert Familiarity(Head(), prototypes, neighbours=3)(features).tolist() == [0, 0]
