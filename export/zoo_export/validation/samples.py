"""Finds and reads the photos that an exported file is compared, calibrated and scored on. Finding imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from zoo.data.images.decode import decode
from zoo.data.images.resize import preprocess
from zoo.data.sources.fingerprint import find_changed
from zoo.errors import ConfigError, DataError, ExportError, ImageError, ZooError
from zoo.events import Note
from zoo.inference.evaluate import load_run_splits, load_samples

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import torch
    from numpy.typing import NDArray

    from zoo.events import Observer
    from zoo.plugins.registry import Registry
    from zoo.plugins.specs import Sample
    from zoo.preprocess import Preprocess
    from zoo.runs.run import RunFolder

    Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSamples:
    """The photos of one export; the dataset of the run is loaded at most once.

    Attributes:
        comparison: Go through both the run and the file; empty without verification.
        train: Training photos of the run, to calibrate int8; empty in fp32.
        scored: Photos that the run was not trained on, to score the reduced precision: its validation photos, and those
            that the user passes; empty in fp32.
    """

    comparison: list[Sample]
    train: list[Sample]
    scored: list[Sample]


def find_export_samples(
    run: RunFolder,
    *,
    verify: bool,
    reduced: bool,
    data: str | None,
    photos: int,
    registry: Registry,
    observer: Observer,
) -> ExportSamples:
    """Finds the photos of an export.

    Args:
        run: The run to export.
        verify: Whether to compare the file with the run.
        reduced: Whether to reduce the precision.
        data: Data to compare and score on; the validation photos of the run by default.
        photos: How many photos to compare, evenly spaced.
        registry: The plugins that provide datasets.
        observer: Receives progress and notes.

    Raises:
        ExportError: There are no such photos.
    """
    splits: dict[str, list[Sample]] = {}
    if reduced or (verify and data is None):
        needed = ("train", "val") if reduced else ("val",)
        try:
            splits = load_run_splits(run, needed, registry=registry, observer=observer)
        except DataError as error:
            raise (_no_scores if reduced else _no_comparison)(run, error) from error
    other = [] if data is None else _find_other(run, data, registry, observer)
    comparison = take_evenly(splits["val"] if data is None else other, photos) if verify else []
    own = _select_known(run, splits) if reduced else {}
    scored = [*own["val"], *other] if reduced else []
    return ExportSamples(comparison=comparison, train=own.get("train", []), scored=scored)


def take_evenly(samples: Sequence[Sample], count: int) -> list[Sample]:
    """Returns `count` samples, evenly spaced; all of them if there are fewer."""
    count = min(count, len(samples))
    return [samples[i * len(samples) // count] for i in range(count)]


def decode_samples(samples: Sequence[Sample], observer: Observer) -> Iterator[tuple[str, Pixels]]:
    """Yields the name and the pixels of each photo; reports unreadable ones and leaves them out."""
    for sample in samples:
        try:
            yield sample.name, decode(sample.source, name=sample.name)
        except ImageError as error:
            observer(Note(text=f"Left out: {error.message}", warning=True))


def preprocess_batch(photos: Sequence[Pixels], spec: Preprocess) -> torch.Tensor:
    """Returns photos as the input that a run computes from them, float32 ``(N, 3, h, w)``."""
    return normalise_batch([preprocess(np.ascontiguousarray(pixels), spec) for pixels in photos], spec)


def normalise_batch(images: Sequence[Pixels], spec: Preprocess) -> torch.Tensor:
    """Returns preprocessed images, uint8 ``(h, w, 3)`` each, as the input of a network, float32 ``(N, 3, h, w)``."""
    import torch

    from zoo.data.loading.augment import normalise

    return normalise(torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2), spec).contiguous()


def _find_other(run: RunFolder, data: str, registry: Registry, observer: Observer) -> list[Sample]:
    try:
        # All of the photos are new to the run, and a folder of class folders has no validation split.
        return load_samples(run, split="test", data=data, registry=registry, observer=observer)
    except (ConfigError, DataError) as error:  # ConfigError: the dataset needs options, which nobody can pass here
        raise _no_comparison(run, error) from error


def _select_known(run: RunFolder, splits: Mapping[str, Sequence[Sample]]) -> dict[str, list[Sample]]:
    """Returns the samples that were in the same split when the run was trained, and have not changed.

    Data that has changed since then is split differently: a test photo may now be among the training photos.
    """
    known_samples = {}
    photos = run.photos()
    for split, samples in splits.items():
        recorded = photos.by_name(split)
        known = recorded.keys() - find_changed(samples, recorded)
        known_samples[split] = [sample for sample in samples if sample.name in known]
        if not known_samples[split]:
            reason = f"None of its {split} photos is still the same, and in the {split} split of its data."
            raise _no_scores(run, DataError(reason))
    return known_samples


def _no_comparison(run: RunFolder, error: ZooError) -> ExportError:
    return ExportError(
        f"There are no photos to compare {run.name} and its file on: {error.message}",
        hint="Pass other photos with --data, or --no-verify; the file then records that it was not verified.",
    )


def _no_scores(run: RunFolder, error: DataError) -> ExportError:
    return ExportError(
        f"A reduced precision cannot be evaluated without the photos of {run.name}: {error.message}",
        hint="Export it in fp32.",
    )
