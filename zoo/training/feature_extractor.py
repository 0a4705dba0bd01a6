"""Runs the frozen backbone of a job over the photos of a split, for all heads that might be fitted at once."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from zoo.events import Work
from zoo.models.fold_bn import fold_batch_norm
from zoo.training.estimate import FeatureEstimate
from zoo.training.finite import FrozenOutputs, locate_failure
from zoo.training.frozen.features import PooledBackbone, extract_features, tapped_by
from zoo.training.job import eval_batches, find_engine

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from zoo.data.loading.loader import Batch
    from zoo.plugins.contracts import Head
    from zoo.training.job import Job


class FeatureExtractor:
    """Computes what heads cache of the photos of a split.

    Args:
        job: The training.
        heads: The heads.

    Attributes:
        run: Maps images to the result of `Head.pool` for each head.
    """

    def __init__(self, job: Job, heads: Sequence[Head]) -> None:
        size, backbone = job.preprocess.size, job.classifier.backbone
        backbone.tapped_stages = tapped_by(heads)  # before the backbone is traced
        folded = fold_batch_norm(backbone, image_size=size, precision=job.precision)
        network = PooledBackbone(folded, heads, image_size=size).eval()
        images = len(job.images.train) + len(job.images.val) + len(job.images.test)
        self.run = find_engine(job, network, what="features", images=images).run
        self._job, self._network = job, network

    def __call__(self, split: str, *, flipped: bool = False) -> tuple[tuple[Any, ...], Tensor]:
        """Returns what each head caches of the photos, mirrored if `flipped`, and their labels, as in `Batch`."""
        job, batches = self._job, eval_batches(self._job, split)
        total, estimate = len(batches.store), FeatureEstimate(job)

        def report(done: int) -> None:
            done = min(total, done * job.processes.count)
            job.observer(Work(what=f"compute features of {split}", done=done, total=total))
            if split == "train":
                estimate(done)

        def flipped_batches() -> Iterator[Batch]:
            return map(_flip, batches) if flipped else iter(batches)

        def locate(number: int) -> str:
            start = number // batches.batch_size
            return locate_failure(self._network, islice(flipped_batches(), start, start + 1), job.precision)

        return extract_features(
            self.run,
            flipped_batches(),
            precision=job.precision,
            progress=report,
            micro_batches=job.micro_batches,
            processes=job.processes,
            described=FrozenOutputs(split=split, samples=batches.store.samples, locate=locate),
        )


def _flip(batch: Batch) -> Batch:
    return batch._replace(images=batch.images.flip(3))
