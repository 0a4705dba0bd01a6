"""Runs a frozen backbone once and caches its features: a head trains on them in seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from zoo.data.loading.augment_params import make_generator
from zoo.data.loading.loader import Batch, split_steps
from zoo.errors import TrainingError
from zoo.plugins.contracts import Backbone, Features, Head
from zoo.training.distributed.process_group import SINGLE_PROCESS
from zoo.training.forward import in_micro_batches
from zoo.training.micro_batches import MicroBatches, select

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from zoo.models.precision import Precision
    from zoo.training.distributed.process_group import ProcessGroup


class FeatureBatches:
    """The features of every image of a split, in batches whose `images` are `Features`.

    Attributes:
        features: The features of all images; the map is empty (``(N, C, 0, 0)``) if the head does not use it.
        labels: int64 ``(N,)``.
    """

    def __init__(self, features: Features, labels: Tensor, *, batch_size: int, seed: int) -> None:
        self.features = features
        self.labels = labels
        self.batch_size = batch_size
        self.seed = seed

    @property
    def steps(self) -> int:
        """Batches per epoch."""
        return len(self._steps(torch.arange(len(self.labels))))

    @property
    def images_per_step(self) -> int:
        """Images of every step but the last of an epoch."""
        return len(self._steps(torch.arange(len(self.labels)))[0])

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[Batch]:
        """Yields the batches of an epoch from step `start`, in an order of its own."""
        order = torch.randperm(len(self.labels), generator=make_generator(self.seed, epoch))
        return map(self._pick, self._steps(order.to(self.labels.device))[start:])

    def __iter__(self) -> Iterator[Batch]:
        return map(self._pick, torch.arange(len(self.labels), device=self.labels.device).split(self.batch_size))

    def _steps(self, order: Tensor) -> list[Tensor]:
        return split_steps(order, self.batch_size)

    def _pick(self, indices: Tensor) -> Batch:
        return Batch(select(self.features, indices), self.labels[indices])


class HeadOnFeatures(nn.Module):
    """A head as a network of its own, whose input is cached features."""

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.head = head

    def forward(self, features: Features) -> Tensor:
        """Maps features to logits ``(N, classes)``."""
        logits: Tensor = self.head(features)
        return logits


@torch.no_grad()
def extract_features(
    backbone: Backbone,
    head: Head,
    batches: Iterable[Batch],
    *,
    precision: Precision,
    batch_size: int,
    seed: int,
    progress: Callable[[int], None],
    micro_batches: MicroBatches | None = None,
    processes: ProcessGroup = SINGLE_PROCESS,
) -> FeatureBatches:
    """Runs a frozen backbone once over all batches and caches the features that the head uses.

    Args:
        backbone: The backbone; it is put into eval mode.
        head: The head. Only if it uses the map is the map cached: it is many times as large as the pooled features.
        batches: Batches of images.
        precision: The precision of the forward pass. Pooled features are cached in float32, the map unchanged in type.
        batch_size: Size of the batches of features.
        seed: Seeds their order.
        progress: Called with the number of images done.
        micro_batches: How many images the network processes at a time; halved when memory runs out.
        processes: The processes that share the images; each caches the features of all.

    Raises:
        TrainingError: Memory is too small for a single image, or features are not finite.
    """
    micro_batches = micro_batches or MicroBatches()
    backbone.eval()
    cache_map = uses_map(head, backbone)
    pooled, maps, labels, done = [], [], [], 0
    for batch in batches:
        features = in_micro_batches(backbone, batch, precision, micro_batches)
        pooled.append(features.pooled.float())
        maps.append(features.map if cache_map else features.map[:, :, :0, :0])
        labels.append(batch.labels)
        done += len(batch.labels)
        progress(done)
    device = precision.device
    features = Features(processes.all_gather_rows(pooled).to(device), processes.all_gather_rows(maps).to(device))
    _check_finite(features)
    return FeatureBatches(features, processes.all_gather_rows(labels).to(device), batch_size=batch_size, seed=seed)


def _check_finite(features: Features) -> None:
    finite = torch.stack([each.flatten(1).isfinite().all(dim=1) for each in (features.pooled, features.map)]).all(dim=0)
    if not finite.all():
        raise TrainingError(
            f"The features of the backbone are not finite for {int((~finite).sum())} of {len(finite)} photos.",
            hint="Use --precision fp32, or check the weights of the backbone.",
        )


@torch.no_grad()
def uses_map(head: Head, backbone: Backbone) -> bool:
    """Returns whether a head uses `Features.map`: whether a map of NaN makes its logits NaN."""
    device = next(backbone.parameters()).device
    pooled = torch.zeros(2, backbone.pooled_width, device=device)
    nan_map = torch.full((2, backbone.map_width, 2, 2), torch.nan, device=device)
    training = head.training
    logits = head.eval()(Features(pooled, nan_map))
    head.train(training)
    return bool(logits.isnan().any())
