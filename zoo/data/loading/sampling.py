"""Which training photos an epoch shows, and in which order: every one once, or those of rare classes more often.

Classes of very different size can be drawn more evenly. An epoch keeps its length: photos of large classes are left
out of it in turn, those of small ones are repeated, each time with another augmentation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import torch
from torch import Tensor

from zoo.config.finetune_config import Sampler
from zoo.data.loading.augment_params import make_generator

if TYPE_CHECKING:
    from collections.abc import Sequence

_POWERS: dict[Sampler, float] = {"none": 1.0, "sqrt": 0.5, "balanced": 0.0}
assert _POWERS.keys() == set(get_args(Sampler))


def epoch_order(labels: Tensor, sampler: Sampler, *, seed: int, epoch: int) -> Tensor:
    """Returns the photos of an epoch in their order, int64 ``(N,)`` on the CPU: seed and epoch alone decide it.

    Args:
        labels: The class of each photo, int64 ``(N,)`` on the CPU.
        sampler: ``"none"``: every photo once. ``"balanced"``: as many photos of each class. ``"sqrt"``: photos of each
            class in proportion to the square root of its number of photos.
        seed: The seed of the run.
        epoch: Counted from 1.
    """
    generator = make_generator(seed, epoch)
    if sampler == "none":
        return torch.randperm(len(labels), generator=generator)
    counts = labels.bincount()
    quotas = counts.double() * torch.tensor(draw_rates(counts.tolist(), sampler), dtype=torch.float64)
    # Systematic sampling: the quotas, which are no whole numbers, are met on average, and their sum exactly.
    ends = (quotas.cumsum(0) + torch.rand((), generator=generator, dtype=torch.float64)).floor().long()
    ends[-1] = len(labels)
    drawn = []
    for label, count in enumerate(ends.diff(prepend=ends.new_zeros(1)).tolist()):
        own = (labels == label).nonzero()[:, 0]
        # Every photo of a class comes once before any comes again.
        rounds = [own[torch.randperm(len(own), generator=generator)] for _ in range(0, count, max(1, len(own)))]
        drawn.append(torch.cat([*rounds, own[:0]])[:count])
    order = torch.cat(drawn)
    return order[torch.randperm(len(order), generator=generator)]


def draw_rates(counts: Sequence[int], sampler: Sampler) -> tuple[float, ...]:
    """Returns how often an epoch shows a photo of each class on average; the mean over all photos is 1.

    Args:
        counts: Number of photos of each class.
        sampler: As in `epoch_order`.
    """
    powers = [count ** _POWERS[sampler] if count else 0.0 for count in counts]
    scale = sum(counts) / sum(powers)
    return tuple(scale * power / count if count else 0.0 for power, count in zip(powers, counts, strict=True))
