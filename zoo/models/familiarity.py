"""The familiarity of photos as a part of a network. Imports torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from zoo.models.prototypes import SMALLEST_NORM

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from zoo.plugins.contracts import Features, Head


def feature_vector(head: Head, features: Features) -> Tensor:
    """Returns the vectors by which photos are compared, ``(N, D)`` float32.

    They are the pooled features, the input of the network's original output layer. A head that reads the maps of stages
    may leave out the layers behind the last of them, so for these it is the mean of that map over its positions. The
    largest values of a map, which some heads read too, tell strangers apart much worse (docs/reliable-answers.md).

    Args:
        head: The head.
        features: With the maps of the stages that the head reads.
    """
    return (features.stages[-1].float().mean(dim=(2, 3)) if head.stages else features.pooled).float()


class FeatureVector(nn.Module):
    """`feature_vector` as a module.

    Args:
        head: The head.
    """

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.head = head

    def forward(self, features: Features) -> Tensor:
        """Maps features to vectors ``(N, D)`` float32."""
        return feature_vector(self.head, features)


class Familiarity(nn.Module):
    """Maps features to the familiarity of photos, as `zoo.models.prototypes.compute_familiarity` does.

    Args:
        head: The head, in eval mode.
        prototypes: Unit vectors, float16 ``(K, D)``.
        neighbours: Number of nearest prototypes that the score is the mean of.
    """

    prototypes: Tensor

    def __init__(self, head: Head, prototypes: NDArray[np.float16], *, neighbours: int) -> None:
        super().__init__()
        self.neighbours = neighbours
        self.vector = FeatureVector(head)
        self.register_buffer("prototypes", torch.from_numpy(prototypes.copy()), persistent=False)

    def forward(self, features: Features) -> Tensor:
        """Maps features to familiarity ``(N,)`` float32, from -1 to 1."""
        vectors = self.vector(features)
        norms = vectors.square().sum(dim=1, keepdim=True).sqrt()
        similarities = (vectors / norms.clamp_min(SMALLEST_NORM)) @ self.prototypes.float().T
        familiarity: Tensor = similarities.topk(self.neighbours, dim=1).values.mean(dim=1)
        return familiarity
