"""A linear probe of a dataset: features of all photos from a frozen backbone, and out-of-fold predictions from them."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from zoo.data.check.duplicates import find_copies, find_near_duplicates
from zoo.data.check.hash_index import RADIUS
from zoo.data.check.report import DataReport
from zoo.data.check.scan import scan_images
from zoo.events import Work
from zoo.models.random_state import restore_random_states
from zoo.models.runtime import tuned_runtime
from zoo.training.distributed.process_group import SINGLE_PROCESS
from zoo.training.feature_extractor import FeatureExtractor
from zoo.training.frozen.folds import assign_folds
from zoo.training.frozen.head_choice import choose_head
from zoo.training.frozen.solver import predict_folds
from zoo.training.job import eval_batches
from zoo.training.linear_probe import list_candidates
from zoo.training.micro_batches import concatenate
from zoo.training.prepare import prepare
from zoo.training.request import TrainingRequest
from zoo.training.suspects.duplicates import join_groups

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from zoo.events import Observer
    from zoo.plugins.registry import Registry
    from zoo.plugins.specs import ImageSet, Sample
    from zoo.training.frozen.head_choice import Candidate
    from zoo.training.request import ResolvedNames

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """The features of all readable photos of a dataset, and the heads that may be fitted to them.

    Attributes:
        samples: The N photos.
        splits: The split of each.
        candidates: The heads, which differ in the stages of the backbone that they read.
        features: What each head caches of the photos, ``(N, D)`` float32.
        groups: The group of each photo, which is in one fold; empty for a photo that is its own.
        classes: Number of classes.
    """

    samples: tuple[Sample, ...]
    splits: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    features: tuple[Any, ...]
    groups: tuple[str, ...]
    classes: int

    def predict(self, labels: NDArray[np.int64], *, seed: int, observer: Observer) -> NDArray[np.float64]:
        """Returns the probabilities ``(N, C)`` of all photos, each by fits that did not see its fold.

        They are the mean over the heads, each with the penalty of its lowest loss in cross-validation: that finds more
        wrong labels than the best of them (docs/suspects.md). Those of a photo that is in no fold, because no other
        group has its class, are NaN.

        Args:
            labels: The label of each photo, ``(N,)``.
            seed: Seeds the folds in which the penalties are chosen.
            observer: Receives progress.
        """
        targets = torch.as_tensor(labels, device=self.features[0].device)
        folds = assign_folds(targets, self.groups if any(self.groups) else ())
        total = torch.zeros((), dtype=torch.float64)
        for number, (candidate, features) in enumerate(zip(self.candidates, self.features, strict=True)):
            observer(Work(what="cross-validate heads", done=number, total=len(self.candidates)))
            _, chosen = choose_head(
                [candidate],
                [features],
                targets,
                classes=self.classes,
                strength="auto",
                seed=seed,
                groups=self.groups,
            )
            logits = predict_folds(candidate.head, features, targets, folds, strength=chosen["strength"])
            total = total + logits.double().softmax(dim=1).cpu() / len(self.candidates)
        observer(Work(what="cross-validate heads", done=len(self.candidates), total=len(self.candidates)))
        return total.numpy()


def build_probe(names: ResolvedNames, images: ImageSet, *, registry: Registry, observer: Observer) -> Probe:
    """Looks for duplicates among all photos of a dataset, and runs a pretrained backbone over them.

    Args:
        names: What a configuration with ``freeze="all"`` names.
        images: The dataset with its final splits.
        registry: The plugins.
        observer: Receives progress, and warnings about unreadable photos.

    Raises:
        ZooError: As in training: classes without photos, weights that cannot be loaded, features that are not finite.
    """
    source = dataclasses.replace(names.source, data=images, path=None, offer=None, images=images, exclusions={})

    def progress(what: str, done: int, total: int | None) -> None:
        observer(Work(what=what, done=done, total=total))

    photos = scan_images(images, decode=True, progress=progress)
    pairs = [*find_copies(photos), *find_near_duplicates(photos, radius=RADIUS, progress=progress)]
    checked = DataReport(name=images.name, counts={}, findings=(), photos=tuple(photos))  # so that none is read again
    with restore_random_states(), tempfile.TemporaryDirectory() as folder:
        request = TrainingRequest(
            config=names.config,
            names=dataclasses.replace(names, source=source),
            registry=registry,
            runs=Path(folder),
            observer=_only_progress(observer),
            processes=SINGLE_PROCESS,
            started=time.perf_counter(),
            pictures=False,
            trial=True,
            folder=Path(folder),
            report=checked,
        )
        job = prepare(request)
        job.observer = observer
        with tuned_runtime(job.precision):
            candidates = list_candidates(job)
            extract = FeatureExtractor(job, [candidate.head for candidate in candidates])
            present = [split for split in SPLITS if getattr(images, split)]
            extracted = [extract(split)[0] for split in present]
        samples = {split: eval_batches(job, split).store.samples for split in present}
    listed = tuple(sample for split in present for sample in samples[split])
    return Probe(
        samples=listed,
        splits=tuple(split for split in present for _ in samples[split]),
        candidates=tuple(candidates),
        features=tuple(concatenate(list(parts)) for parts in zip(*extracted, strict=True)),
        groups=join_groups(listed, pairs),
        classes=len(images.classes),
    )


def _only_progress(observer: Observer) -> Observer:
    """Returns an observer that passes on progress alone: other events of a preparation are about training."""

    def observe(event: Any) -> None:
        if isinstance(event, Work):
            observer(event)

    return observe
