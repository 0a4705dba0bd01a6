"""A frozen backbone is run once: its features are kept, and heads are fitted on them in seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from zoo.data.loading.augment_params import make_generator
from zoo.data.loading.loader import Batch, split_steps
from zoo.plugins.contracts import Backbone, Features, Head
from zoo.training.distributed.process_group import SINGLE_PROCESS
from zoo.training.forward import in_micro_batches
from zoo.training.micro_batches import MicroBatches, select

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from zoo.models.precision import Precision
    from zoo.training.distributed.process_group import ProcessGroup


class FeatureBatches:
    """CachedActivations features of a part, served in batches as photos are; `Batch.images` holds `Features`.

    Attributes:
        features: Of every image; the map has no positions (``(N, C, 0, 0)``) where the head does not look at it.
        labels: int64 ``(N,)``.
    """

    def __init__(self, features: Features, labels: Tensor, *, batch_size: int, seed: int) -> None:
        self.features = features
        self.labels = labels
        self.batch_size = batch_size
        self.seed = seed

    @property
    def steps(self) -> int:
        """Batches an epoch."""
        return len(self._steps(torch.arange(len(self.labels))))

    @property
    def images(self) -> int:
        """Images of each step but the last of an epoch."""
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
    """A head as a network of its own, whose input are kept features."""

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
    """Runs a frozen backbone once over all batches and keeps what the head looks at.

    Args:
        backbone: In eval mode meanwhile, and afterwards.
        head: Decides whether the map is kept: it is many times as large as the pooled features.
        batches: Of images.
        precision: Of the forward pass; pooled features are kept in float32, the map as it comes.
        batch_size: Of the batches to serve.
        seed: Decides their order.
        progress: Called with how many images are done.
        micro_batches: How many images at a time; where memory runs out they become fewer.
        processes: Those that share the images; each keeps the features of all.

    Raises:
        TrainingError: Memory is too small for a single image.
    """
    micro_batches = micro_batches or MicroBatches()
    backbone.eval()
    looks_at_map = uses_map(head, backbone)
    pooled, maps, labels, done = [], [], [], 0
    for batch in batches:
        features = in_micro_batches(backbone, batch, precision, micro_batches)
        pooled.append(features.pooled.float())
        maps.append(features.map if looks_at_map else features.map[:, :, :0, :0])
        labels.append(batch.labels)
        done += len(batch.labels)
        progress(done)
    device = precision.device
    kept = Features(processes.all_gather_rows(pooled).to(device), processes.all_gather_rows(maps).to(device))
    return FeatureBatches(kept, processes.all_gather_rows(labels).to(device), batch_size=batch_size, seed=seed)


@torch.no_grad()
def uses_map(head: Head, backbone: Backbone) -> bool:
    """Returns whether a head looks at `Features.map`: whether a map of NaN reaches its logits."""
    device = next(backbone.parameters()).device
    pooled = torch.zeros(2, backbone.pooled_width, device=device)
    spoilt = torch.full((2, backbone.map_width, 2, 2), torch.nan, device=device)
    training = head.training
    logits = head.eval()(Features(pooled, spoilt))
    head.train(training)
    return bool(logits.isnan().any())
