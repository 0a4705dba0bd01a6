"""Checks a dataset: completely for ``zoo data check``, or quickly before every training."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from zoo.data.check.classes import check_classes
from zoo.data.check.duplicates import check_duplicates, find_copies, find_near_duplicates
from zoo.data.check.files import check_files, check_left_out
from zoo.data.check.groups import check_groups, check_missing_groups
from zoo.data.check.hash_index import RADIUS
from zoo.data.check.label_sets import check_label_sets
from zoo.data.check.report import LEVELS, SPLITS, DataFinding, DataReport
from zoo.data.check.scan import scan_images
from zoo.data.sources.corrections import apply_corrections, describe_corrections, find_corrections
from zoo.data.sources.exclusions import apply_exclusions
from zoo.data.sources.groups import apply_groups, find_group_table
from zoo.data.sources.load import load_source
from zoo.data.sources.resolve import resolve_data
from zoo.data.sources.splits import make_splits
from zoo.errors import ConfigError, DataError
from zoo.events import no_progress
from zoo.plugins.registry import REGISTRY, Registry, load_registry
from zoo.utils.arguments import DICT, FUNCTION, NUMBER, PATH, TEXT, WHOLE_NUMBER, accepts
from zoo.utils.machine import usable_cpus

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from zoo.data.check.report import CheckedPhoto, DuplicatePair, Level
    from zoo.events import Progress
    from zoo.plugins.specs import ImageSet, Sample

# Up to this size per processor the quick check decodes photos to find near duplicates: about a second.
_QUICK_BYTES = 12 << 20
# Findings that would only distract before every training, or that loading reports: part of the complete check alone.
_COMPLETE_ONLY = (
    "no-label",
    "label-pairs",
    "label-bound",
    "left-out",
    "skipped",
    "hidden-photos",
    "small",
    "large",
    "long",
    "treatment",
    "turned-two-labels",
)


@accepts(
    registry=REGISTRY | None,
    options=DICT | None,
    test_fraction=NUMBER,
    val_fraction=NUMBER,
    seed=WHOLE_NUMBER,
    groups=PATH | TEXT,
    exclude=PATH | None,
    labels=PATH | None,
    near=WHOLE_NUMBER,
    threads=WHOLE_NUMBER | None,
    progress=FUNCTION,
)
def check_data(
    data: str | os.PathLike[str] | ImageSet,
    *,
    registry: Registry | None = None,
    options: Mapping[str, str] | None = None,
    test_fraction: float = 0.2,
    val_fraction: float = 0.1,
    seed: int = 0,
    groups: str | os.PathLike[str] = "auto",
    exclude: str | os.PathLike[str] | None = None,
    labels: str | os.PathLike[str] | None = None,
    near: int = RADIUS,
    threads: int | None = None,
    progress: Progress = no_progress,
) -> DataReport:
    """Checks data as training would use it, with the same splits; see `check_images`.

    Data that training refuses, such as an empty class, is a finding.

    Args:
        data: A dataset's name, a folder, a CSV of path,label, or an `ImageSet`.
        registry: Where datasets are looked up; the plugins of the environment by default.
        options: Options of the dataset.
        test_fraction: As in `zoo.config.FinetuneConfig`.
        val_fraction: As in `zoo.config.FinetuneConfig`.
        seed: As in `zoo.config.FinetuneConfig`.
        groups: As in `zoo.config.FinetuneConfig`.
        exclude: A list of photos to leave out.
        labels: A CSV file of path,label: labels that replace those of the data.
        near: As in `check_images`.
        threads: As in `check_images`.
        progress: Called during the check.

    Raises:
        UnknownNameError: There is no dataset of that name.
        DataError: The data does not exist or has an unsupported layout.
    """
    if threads is not None and threads < 1:
        raise ConfigError(f"check_data: argument 'threads' is {threads}.", hint="Pass at least 1.")
    source = resolve_data(
        data, registry=registry or load_registry(), options=options or {}, exclude=exclude, labels=labels
    )
    groups = os.fspath(groups)
    table = find_group_table(groups, source)
    images = apply_groups(load_source(source, progress=progress, strict=False), groups, table)
    corrections = {} if source.corrections is None else find_corrections(images, source.corrections)
    findings: list[DataFinding] = []
    try:
        images = make_splits(images, test_fraction=test_fraction, val_fraction=val_fraction, count=None, seed=seed)
    except DataError as error:
        advice = "Only the splits that the data already has were compared."
        findings.append(DataFinding(kind="split", about="splits", level="problem", text=error.message, advice=advice))
    if source.corrections is not None:
        images = apply_corrections(images, corrections, source=source.corrections.path)
        text = describe_corrections(images, source.corrections)
        level: Level = "note" if images.corrected else "warning"
        findings.append(DataFinding(kind="labels", about="corrected labels", level=level, text=text))
    remaining = apply_exclusions(images, source.exclusions)
    if exclude and remaining is images:
        text = f"None of the {len(source.exclusions)} photos listed in {exclude} is in the data."
        findings.append(DataFinding(kind="exclude", about="exclusions", level="warning", text=text))
    return check_images(remaining, near=near, findings=findings, threads=threads, progress=progress)


def check_images(
    images: ImageSet,
    *,
    near: int = RADIUS,
    findings: Sequence[DataFinding] = (),
    threads: int | None = None,
    progress: Progress = no_progress,
) -> DataReport:
    """Checks a dataset completely: reads, hashes and decodes every photo, and compares it with every other.

    Args:
        images: The dataset with its final splits. `zoo.data.sources.load.load_source` with ``strict=False`` loads one
            that cannot be trained on.
        near: The largest distance of near duplicates, of 128; 0 finds photos that look exactly the same.
        findings: Earlier findings, to be included in the report.
        threads: Number of decoding threads; by default the number of processors.
        progress: Called during the check.

    Returns:
        The report. Nothing is written, and no file of the dataset changes.
    """
    started = time.perf_counter()
    photos = scan_images(images, decode=True, threads=threads, progress=progress)
    pairs = [*find_copies(photos), *find_near_duplicates(photos, radius=near, progress=progress)]
    findings = [*findings, *_find_all(images, photos, pairs)]
    return _make_report(images, photos, findings, started)


def check_quickly(images: ImageSet, *, progress: Progress = no_progress) -> DataReport:
    """Checks a dataset in little time, before every training.

    Reads and hashes every file, which finds problems of the classes, leaks between splits and photos with two labels.
    Decodes the photos too and finds near duplicates if they are small: up to 12 MiB per processor, about a second.

    Args:
        images: The dataset with its final splits.
        progress: Called during the check.
    """
    started = time.perf_counter()
    decode = _total_size(images) <= _QUICK_BYTES * usable_cpus()
    photos = scan_images(images, decode=decode, progress=progress)
    pairs = find_copies(photos)
    if decode:
        pairs += find_near_duplicates(photos, radius=RADIUS)
    relevant = [finding for finding in _find_all(images, photos, pairs) if finding.kind not in _COMPLETE_ONLY]
    return _make_report(images, photos, relevant, started, near=decode)


def _find_all(images: ImageSet, photos: Sequence[CheckedPhoto], pairs: Sequence[DuplicatePair]) -> list[DataFinding]:
    counts = _count_photos(images, (photo for photo in photos if not photo.error))
    return [
        *check_groups(images, photos),
        *check_missing_groups(images, pairs),
        *check_duplicates(photos, pairs, multi_label=images.multi_label),
        *check_left_out(images),
        *check_classes(images.classes, counts, noun="label" if images.multi_label else "class"),
        *(check_label_sets(photos) if images.multi_label else ()),
        *check_files(photos, images.skipped),
    ]


def _make_report(
    images: ImageSet,
    photos: Sequence[CheckedPhoto],
    findings: Iterable[DataFinding],
    started: float,
    *,
    near: bool = True,
) -> DataReport:
    return DataReport(
        name=images.name,
        counts=_count_photos(images, photos),
        findings=tuple(sorted(findings, key=lambda finding: LEVELS.index(finding.level))),
        photos=tuple(photos),
        multi_label=images.multi_label,
        near=near,
        note=images.note,
        seconds=time.perf_counter() - started,
    )


def _count_photos(images: ImageSet, photos: Iterable[CheckedPhoto]) -> dict[str, dict[str, int]]:
    """Returns the number of photos by split and class: of the splits that the dataset has, and all its classes."""
    counts = {split: dict.fromkeys(images.classes, 0) for split in reversed(SPLITS) if getattr(images, split)}
    for photo in photos:
        for label in photo.labels:
            counts[photo.split][label] += 1
    return counts


def _total_size(images: ImageSet) -> int:
    return sum(_size(sample) for split in SPLITS for sample in getattr(images, split))


def _size(sample: Sample) -> int:
    if isinstance(sample.source, bytes):
        return len(sample.source)
    try:
        return sample.source.stat().st_size
    except OSError:  # reported when the photo is read
        return 0
