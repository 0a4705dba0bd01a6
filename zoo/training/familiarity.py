"""Chooses, once training is finished, the prototypes and the threshold by which unfamiliar photos are recognised."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from zoo.events import Work
from zoo.models.classifier import Classifier
from zoo.models.familiarity import FeatureVector
from zoo.models.fold_bn import fold_classifier
from zoo.models.prototypes import (
    NEIGHBOURS,
    SHARE,
    choose_prototypes,
    choose_threshold,
    compute_familiarity,
    count_prototypes,
)
from zoo.runs.familiarity import FamiliarityRecord, write_prototypes
from zoo.training.finite import FrozenOutputs
from zoo.training.frozen.features import extract_features
from zoo.training.job import eval_batches, find_engine
from zoo.training.linear_probe import find_features

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from zoo.plugins.contracts import Backbone, Head
    from zoo.plugins.specs import Sample
    from zoo.training.job import Job

    Vectors = NDArray[np.float32]

_PHOTOS, _PER_CLASS, _MOST_PHOTOS = 500, 10, 5_000  # that a trained backbone runs on once more


class _VectorNetwork(nn.Module):
    """Maps normalised images ``(N, 3, H, W)`` to the vectors by which photos are compared, ``(N, D)`` float32."""

    def __init__(self, backbone: Backbone, head: Head) -> None:
        super().__init__()
        self.backbone, self.vector = backbone, FeatureVector(head)

    def forward(self, images: Tensor) -> Tensor:
        vectors: Tensor = self.vector(self.backbone.extract(images))
        return vectors


def measure_familiarity(job: Job, *, unchanged: bool) -> FamiliarityRecord | None:
    """Writes the prototypes of a run into its folder; returns their record, or None where the configuration wants none.

    The prototypes stand for training photos, and the threshold is chosen on validation photos: a photo that is a
    prototype itself is always familiar.

    Args:
        job: A trained job, with its best weights.
        unchanged: Whether the backbone still has the weights of the start, so that cached features are valid.
    """
    if not job.config.familiarity:
        return None
    train, val = _cached_vectors(job) if unchanged else _compute_vectors(job)

    def measure() -> tuple[FamiliarityRecord, NDArray[np.float16]]:
        width = train.shape[1]
        parameters = sum(parameter.numel() for parameter in job.classifier.parameters())
        count = count_prototypes(classes=len(job.images.classes), width=width, parameters=parameters)
        prototypes = choose_prototypes(train, count, seed=job.config.seed)
        scores = compute_familiarity(val, prototypes, neighbours=min(NEIGHBOURS, len(prototypes)))
        record = FamiliarityRecord(
            threshold=choose_threshold(scores, share=SHARE),
            share=SHARE,
            photos=len(val),
            prototypes=len(prototypes),
            width=width,
            neighbours=min(NEIGHBOURS, len(prototypes)),
        )
        return record, prototypes

    record, prototypes = job.processes.broadcast(measure)
    if job.processes.is_main:
        write_prototypes(job.folder, prototypes)
    return record


def _cached_vectors(job: Job) -> tuple[Vectors, Vectors]:
    """Returns the vectors of training photos, of some if there are many, and of validation photos."""
    vectors = find_features(job).vectors
    assert vectors is not None  # as the configuration asks for them
    train, val = (each.cpu().numpy() for each in vectors)
    return train[_spread(len(train), _MOST_PHOTOS)], val


def _compute_vectors(job: Job) -> tuple[Vectors, Vectors]:
    """Runs the network over some training photos and all validation photos, and returns their vectors."""
    size = job.preprocess.size
    whole = Classifier(job.classifier.backbone, job.classifier.head)  # not split at the end of its frozen stages
    folded = fold_classifier(whole, image_size=size, precision=job.precision)
    network = _VectorNetwork(folded.backbone, folded.head).eval()
    most = min(max(_PHOTOS, _PER_CLASS * len(job.images.classes)), _MOST_PHOTOS)
    train = [job.images.train[index] for index in _spread(len(job.images.train), most)]
    run = find_engine(job, network, what="features", images=len(train) + len(job.images.val)).run
    return _extract(job, run, "train", train), _extract(job, run, "val", job.images.val)


def _extract(job: Job, run: Callable[[Tensor], Any], split: str, samples: Sequence[Sample]) -> Vectors:
    batches = eval_batches(job, split, samples)
    total = len(batches.store)
    vectors, _ = extract_features(
        run,
        batches,
        precision=job.precision,
        progress=lambda done: job.observer(Work(what=f"compute features of {split}", done=done, total=total)),
        micro_batches=job.micro_batches,
        processes=job.processes,
        described=FrozenOutputs(split=split, samples=batches.store.samples),
    )
    found: Vectors = vectors.cpu().numpy()
    return found


def _spread(count: int, most: int) -> list[int]:
    """Returns up to `most` indices, evenly spaced over `count` photos, which are sorted by class or not at all."""
    return [number * count // min(count, most) for number in range(min(count, most))]
