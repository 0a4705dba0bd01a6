"""The contract of a dataset."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.models.random_state import restore_random_states
from zoo.plugins.calls import resolve_callable
from zoo.plugins.specs import DatasetRequest, DatasetSpec, ImageSet, Sample
from zoo.testing.contract import Contract, check_local, check_options

if TYPE_CHECKING:
    from collections.abc import Mapping


@restore_random_states()
def check_dataset(spec: DatasetSpec, *, cache: Path, options: Mapping[str, Any] | None = None) -> None:
    """Checks a dataset by loading it twice.

    Args:
        spec: The dataset.
        cache: A folder for its downloads; for a large dataset, keep it between test runs.
        options: Values of its options; those that are missing keep their defaults.

    Raises:
        AssertionError: The dataset violates its contract; the message says what the contract requires.
    """
    contract = Contract(f"dataset {spec.name}")
    request = DatasetRequest(cache=cache / spec.name, options=check_options(contract, spec.options, options or {}))
    check_local(contract, spec.is_local, request.cache)
    images = _load(contract, spec, request)
    _check_classes(contract, images)
    splits = {"train": images.train, "val": images.val, "test": images.test}
    for split, samples in splits.items():
        _check_samples(contract, split, samples, classes=len(images.classes))
    names = [sample.name for samples in splits.values() for sample in samples]
    contract.require(len(set(names)) == len(names), "the names of its samples must be unique across all splits")
    missing = sorted(set(range(len(images.classes))) - {sample.label for sample in images.train})
    contract.require(not missing, f"train must contain every class; it lacks {[images.classes[i] for i in missing]}")
    contract.require(_load(contract, spec, request) == images, "two loads must give the same samples in the same order")


def _load(contract: Contract, spec: DatasetSpec, request: DatasetRequest) -> ImageSet:
    with contract.calling("load()"):
        images = resolve_callable(spec.load)(request)
    contract.require(isinstance(images, ImageSet), f"load() must return a zoo.ImageSet, not {type(images).__name__}")
    contract.require(
        bool(images.name) and Path(images.name).name == images.name,
        f"the name of its ImageSet must be valid as a file name; it is {images.name!r}",
    )
    return images


def _check_classes(contract: Contract, images: ImageSet) -> None:
    classes = images.classes
    contract.require(
        isinstance(classes, tuple) and all(isinstance(name, str) and name for name in classes),
        "classes must be a tuple of names",
    )
    contract.require(len(classes) >= 2, f"it must have at least two classes; it has {len(classes)}")
    contract.require(len(set(classes)) == len(classes), f"the names of its classes must differ; they are {classes}")
    contract.require(bool(images.train), "train must not be empty")


def _check_samples(contract: Contract, split: str, samples: tuple[Sample, ...], *, classes: int) -> None:
    contract.require(
        isinstance(samples, tuple) and all(isinstance(sample, Sample) for sample in samples),
        f"{split} must be a tuple of zoo.Sample",
    )
    for sample in samples:
        contract.require(
            isinstance(sample.label, int) and 0 <= sample.label < classes,
            f"labels must be from 0 to {classes - 1}; that of '{sample.name}' in {split} is {sample.label!r}",
        )
        contract.require(
            isinstance(sample.source, (Path, bytes)),
            f"a source must be a Path or bytes; that of '{sample.name}' is {type(sample.source).__name__}",
        )
    # The first, the middle and the last: decoding all of a large dataset would take minutes.
    for index in sorted({0, len(samples) // 2, len(samples) - 1}) if samples else ():
        _check_readable(contract, samples[index])


def _check_readable(contract: Contract, sample: Sample) -> None:
    from PIL import Image

    with (
        contract.calling(f"reading the image '{sample.name}' with Pillow"),
        Image.open(io.BytesIO(sample.source) if isinstance(sample.source, bytes) else sample.source) as image,
    ):
        image.load()
