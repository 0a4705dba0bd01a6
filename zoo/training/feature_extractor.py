"""Runs the frozen backbone of a job over the photos of a split, for all heads that might be fitted at once."""

from __future__ import annotations

from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

from zoo.events import Work
from zoo.models.fold_bn import fold_batch_norm
from zoo.training.estimate import FeatureEstimate
from zoo.training.finite import FrozenOutputs, locate_failure
from zoo.training.frozen.features import PooledBackbone, extract_features, tapped_by
from zoo.training.job import eval_batches, find_engine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor

    from zoo.data.loading.loader import Batch
    from zoo.plugins.contracts import Head
    from zoo.training.job import Job


class FeatureExtractor:
    """Computes what heads cache of the photos of a split, unless another training of the search did.

    Args:
        job: The training.
        heads: The heads.

    Attributes:
        vectors: The feature vectors of the photos, by split, for each head; empty if the configuration needs none.
    """

    def __init__(self, job: Job, heads: Sequence[Head]) -> None:
        size, backbone = job.preprocess.size, job.classifier.backbone
        backbone.tapped_stages = tapped_by(heads)  # before the backbone is traced
        folded = fold_batch_norm(backbone, image_size=size, precision=job.precision)
        self._network = PooledBackbone(folded, heads, image_size=size, vectors=job.config.familiarity).eval()
        self.vectors: dict[str, tuple[Tensor, ...]] = {}
        self._job, self._described = job, (job.config.familiarity, *map(repr, heads))
        self._heads = len(heads)

    @cached_property
    def run(self) -> Callable[[Tensor], Any]:
        """Maps images to the result of `Head.pool` for each head, in the fastest engine."""
        job = self._job
        images = len(job.images.train) + len(job.images.val) + len(job.images.test)
        return find_engine(job, self._network, what="features", images=images).run

    def __call__(self, split: str, *, flipped: bool = False) -> tuple[tuple[Any, ...], Tensor]:
        """Returns what each head caches of the photos, mirrored if `flipped`, and their labels, as in `Batch`."""
        shared: dict[tuple[Any, ...], Any] = {} if self._job.shared_features is None else self._job.shared_features
        key = (split, flipped, *self._described)
        if key not in shared:
            shared[key] = self._compute(split, flipped=flipped)
        outputs, labels = shared[key]
        if not flipped:
            self.vectors[split] = outputs[self._heads :]
        return outputs[: self._heads], labels

    def _compute(self, split: str, *, flipped: bool) -> tuple[tuple[Any, ...], Tensor]:
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
