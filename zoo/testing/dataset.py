"""The contract of a dataset."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.plugins.calls import resolve_callable
from zoo.plugins.specs import DatasetRequest, DatasetSpec, ImageSet, Sample
from zoo.testing.subject import Subject, check_options

if TYPE_CHECKING:
    from collections.abc import Mapping


def check_dataset(spec: DatasetSpec, *, cache: Path, options: Mapping[str, Any] | None = None) -> None:
    """Checks one dataset by loading it twice.

    Args:
        spec: The dataset.
        cache: A folder for its downloads; keep it between runs where the dataset is large.
        options: Values of its options, where the defaults will not do.

    Raises:
        AssertionError: The contract is broken; the sentence says what it wants.
    """
    subject = Subject(f"dataset {spec.name}")
    request = DatasetRequest(cache=cache / spec.name, options=check_options(subject, spec.options, options or {}))
    images = _load(subject, spec, request)
    _check_classes(subject, images)
    parts = {"train": images.train, "val": images.val, "test": images.test}
    for part, samples in parts.items():
        _check_samples(subject, part, samples, classes=len(images.classes))
    names = [sample.name for samples in parts.values() for sample in samples]
    subject.want(len(set(names)) == len(names), "the names of its samples must differ, in all parts together")
    missing = sorted(set(range(len(images.classes))) - {sample.label for sample in images.train})
    subject.want(not missing, f"train must show every class; it lacks {[images.classes[i] for i in missing]}")
    subject.want(_load(subject, spec, request) == images, "two loads must give the same samples in the same order")


def _load(subject: Subject, spec: DatasetSpec, request: DatasetRequest) -> ImageSet:
    with subject.calling("load()"):
        images = resolve_callable(spec.load)(request)
    subject.want(isinstance(images, ImageSet), f"load() must return a zoo.ImageSet, not {type(images).__name__}")
    subject.want(
        bool(images.name) and Path(images.name).name == images.name,
        f"the name of its ImageSet must be fit for a file name; it is {images.name!r}",
    )
    return images


def _check_classes(subject: Subject, images: ImageSet) -> None:
    classes = images.classes
    subject.want(
        isinstance(classes, tuple) and all(isinstance(name, str) and name for name in classes),
        "classes must be a tuple of names",
    )
    subject.want(len(classes) >= 2, f"it must have two classes at least; it has {len(classes)}")
    subject.want(len(set(classes)) == len(classes), f"the names of its classes must differ; they are {classes}")
    subject.want(bool(images.train), "train must not be empty")


def _check_samples(subject: Subject, part: str, samples: tuple[Sample, ...], *, classes: int) -> None:
    subject.want(
        isinstance(samples, tuple) and all(isinstance(sample, Sample) for sample in samples),
        f"{part} must be a tuple of zoo.Sample",
    )
    for sample in samples:
        subject.want(
            isinstance(sample.label, int) and 0 <= sample.label < classes,
            f"labels must be from 0 to {classes - 1}; that of '{sample.name}' in {part} is {sample.label!r}",
        )
        subject.want(
            isinstance(sample.source, (Path, bytes)),
            f"a sample's source must be a Path or bytes; that of '{sample.name}' is {type(sample.source).__name__}",
        )
    # The first, the middle and the last: reading all would take minutes on a large set.
    for place in sorted({0, len(samples) // 2, len(samples) - 1}) if samples else ():
        _check_decodes(subject, samples[place])


def _check_decodes(subject: Subject, sample: Sample) -> None:
    from PIL import Image

    with (
        subject.calling(f"reading the image '{sample.name}' with Pillow"),
        Image.open(io.BytesIO(sample.source) if isinstance(sample.source, bytes) else sample.source) as image,
    ):
        image.load()
