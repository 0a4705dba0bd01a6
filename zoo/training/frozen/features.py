"""Runs a frozen backbone once and caches its features: a head trains on them in seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from zoo.data.loading.loader import Batch, split_steps
from zoo.data.loading.sampling import epoch_order
from zoo.models.familiarity import feature_vector
from zoo.models.features import measure_stages, random_features
from zoo.models.nested import flatten_tensors, map_tensors
from zoo.training.distributed.process_group import SINGLE_PROCESS
from zoo.training.finite import FrozenOutputs, find_bad_rows
from zoo.training.forward import in_micro_batches
from zoo.training.micro_batches import MicroBatches, concatenate, select

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from zoo.config.finetune_config import Sampler
    from zoo.models.precision import Precision
    from zoo.plugins.contracts import Backbone, Head
    from zoo.training.distributed.process_group import ProcessGroup


class PooledBackbone(nn.Module):
    """A backbone with the poolings of heads: it returns what is cached of an image for each of the heads.

    Args:
        backbone: The backbone, in eval mode. It is asked for the stages of the heads from now on.
        heads: The heads. The map is cached only for those that use it: it is many times as large as pooled features.
        image_size: (height, width) in pixels.
        vectors: Whether to return the feature vector of each head (`zoo.models.familiarity`), too, after the others.
    """

    def __init__(
        self, backbone: Backbone, heads: Sequence[Head], *, image_size: tuple[int, int], vectors: bool = False
    ) -> None:
        super().__init__()
        self._vectors = vectors
        self.backbone = backbone
        self.heads = nn.ModuleList(heads)
        self._uses_map = [uses_map(head, backbone, image_size=image_size) for head in heads]
        backbone.tapped_stages = tapped_by(heads)

    def forward(self, images: Tensor) -> tuple[Any, ...]:
        """Maps normalised images ``(N, 3, H, W)`` float32 to the result of `Head.pool` for each head."""
        features = self.backbone.extract(images)
        maps = dict(zip(self.backbone.tapped_stages, features.stages, strict=True))
        pooled, vectors = [], []
        for head, keeps_map in zip(self.heads, self._uses_map, strict=True):
            map_ = features.map if keeps_map else features.map[:, :, :0, :0]
            own = features._replace(map=map_, stages=tuple(maps[name] for name in head.stages))  # type: ignore[union-attr]
            pooled.append(head.pool(own))  # type: ignore[operator]
            if self._vectors:
                vectors.append(feature_vector(head, own))  # type: ignore[arg-type]
        return (*pooled, *vectors)


def tapped_by(heads: Iterable[Head]) -> tuple[str, ...]:
    """Returns the names of the stages that any of some heads reads."""
    return tuple(dict.fromkeys(name for head in heads for name in head.stages))


class FeatureBatches:
    """What a head caches of every image of a split, in batches whose `images` are the result of `Head.pool`.

    Attributes:
        features: A tensor ``(N, ...)``, or a named tuple of such tensors.
        labels: int64 ``(N,)``.
    """

    def __init__(self, features: Any, labels: Tensor, *, batch_size: int, seed: int, sampler: Sampler = "none") -> None:
        self.features = features
        self.labels = labels
        self.batch_size = batch_size
        self.seed = seed
        self.sampler = sampler

    @property
    def steps(self) -> int:
        """Batches per epoch."""
        return len(self._steps(torch.arange(len(self.labels))))

    @property
    def images(self) -> int:
        """Images per epoch."""
        return len(self.labels)

    @property
    def images_per_step(self) -> int:
        """Images of every step but the last of an epoch."""
        return len(self._steps(torch.arange(len(self.labels)))[0])

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[Batch]:
        """Yields the batches of an epoch from step `start`, in an order of its own."""
        order = epoch_order(self.labels.cpu(), self.sampler, seed=self.seed, epoch=epoch)
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

    def forward(self, pooled: Any) -> Tensor:
        """Maps the result of `Head.pool` to logits ``(N, classes)``."""
        return self.head.classify(pooled)


class FrozenClassifier(nn.Module):
    """A classifier whose backbone does not change, run by any engine.

    Args:
        features: Maps images to the result of `Head.pool`.
        head: The head.
    """

    def __init__(self, features: Callable[[Tensor], Any], head: Head) -> None:
        super().__init__()
        self.head = head
        self._features = features

    def forward(self, images: Tensor) -> Tensor:
        """Maps normalised images ``(N, 3, H, W)`` float32 to logits ``(N, classes)``."""
        return self.head.classify(self._features(images))


@torch.no_grad()
def extract_features(
    network: Callable[[Tensor], Any],
    batches: Iterable[Batch],
    *,
    precision: Precision,
    progress: Callable[[int], None],
    micro_batches: MicroBatches | None = None,
    processes: ProcessGroup = SINGLE_PROCESS,
    described: FrozenOutputs | None = None,
) -> tuple[Any, Tensor]:
    """Runs a frozen network once over all batches and caches its output.

    Args:
        network: Maps images to a tensor ``(N, ...)`` or to nested tuples of such tensors: a `PooledBackbone`.
        batches: Batches of images.
        precision: The precision of the forward pass. Vectors are cached in float32, maps unchanged in type.
        progress: Called with the number of images done.
        micro_batches: How many images the network processes at a time; halved when memory runs out.
        processes: The processes that share the images; each caches the features of all.
        described: For the message if some of the output is not finite.

    Returns:
        The output for all images, and their labels, int64 ``(N,)``.

    Raises:
        TrainingError: Memory is too small for a single image, or features are not finite.
    """
    micro_batches = micro_batches or MicroBatches()
    outputs, labels, done = [], [], 0
    for batch in batches:
        output = in_micro_batches(network, batch, precision, micro_batches)
        outputs.append(map_tensors(lambda tensor: tensor.float() if tensor.ndim == 2 else tensor, output))
        labels.append(batch.labels)
        done += len(batch.labels)
        progress(done)
    features = _gather(outputs, processes, precision.device)
    (described or FrozenOutputs()).check(find_bad_rows(features), total=len(flatten_tensors(features)[0]))
    return features, processes.all_gather_rows(labels).to(precision.device)


def _gather(outputs: list[Any], processes: ProcessGroup, device: torch.device) -> Any:
    if processes.is_single:
        return concatenate(outputs)
    mine = map_tensors(Tensor.cpu, concatenate(outputs)) if outputs else None  # there may be too few images for all
    gathered = [part for part in processes.all_gather(mine) if part is not None]
    return map_tensors(lambda tensor: tensor.to(device), concatenate(gathered))


@torch.no_grad()
def uses_map(head: Head, backbone: Backbone, *, image_size: tuple[int, int]) -> bool:
    """Returns whether a head uses `Features.map`: whether a map of NaN makes its logits NaN."""
    shapes = measure_stages(backbone, image_size) if head.stages else {}
    device = next((tensor.device for tensor in head.parameters()), torch.device("cpu"))
    features = random_features(backbone, [shapes[name][0] for name in head.stages])
    features = map_tensors(lambda tensor: tensor.to(device), features)
    training = head.training
    logits = head.eval()(features._replace(map=torch.full_like(features.map, torch.nan)))
    head.train(training)
    return bool(logits.isnan().any())
