"""The contract of a dataset."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from zoo.models.random_state import restore_random_states
from zoo.plugins.calls import resolve_callable
from zoo.plugins.faults import image_set_fault
from zoo.plugins.specs import DatasetRequest, DatasetSpec, ImageSet, Sample
from zoo.testing.contract import Contract, check_local, check_options

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


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
    contract.require(bool(images.train), "train must not be empty")
    for samples in (images.train, images.val, images.test):
        # The first, the middle and the last: decoding all of a large dataset would take minutes.
        for index in sorted({0, len(samples) // 2, len(samples) - 1}) if samples else ():
            _check_readable(contract, samples[index])
    missing = sorted(set(range(len(images.classes))) - {label for sample in images.train for label in sample.labels})
    contract.require(not missing, f"train must contain every class; it lacks {[images.classes[i] for i in missing]}")
    contract.require(_load(contract, spec, request) == images, "two loads must give the same samples in the same order")


def _load(contract: Contract, spec: DatasetSpec, request: DatasetRequest) -> ImageSet:
    with contract.calling("load()"):
        images = resolve_callable(spec.load)(request)
    fault = image_set_fault(images, subject="load()", min_classes=2)
    contract.require(not fault, fault)
    return images


def _check_readable(contract: Contract, sample: Sample) -> None:
    from PIL import Image

    with (
        contract.calling(f"reading the image '{sample.name}' with Pillow"),
        Image.open(io.BytesIO(sample.source) if isinstance(sample.source, bytes) else sample.source) as image,
    ):
        image.load()
