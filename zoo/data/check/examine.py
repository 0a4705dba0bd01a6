"""The dataset doctor's examinations: the whole one of ``zoo data check``, and the fast one before every training."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from zoo.data.check.classes import judge_classes
from zoo.data.check.duplicates import find_copies, find_near, judge_twins
from zoo.data.check.files import judge_files
from zoo.data.check.near import RADIUS
from zoo.data.check.report import LEVELS, PARTS, Finding, Report
from zoo.data.check.scan import scan
from zoo.data.sources.exclusions import apply_exclusions
from zoo.data.sources.load import load_source
from zoo.data.sources.resolve import resolve_data
from zoo.data.sources.splits import make_splits
from zoo.errors import DataError
from zoo.events import no_progress
from zoo.plugins.registry import load_registry
from zoo.utils.machine import usable_cpus

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from zoo.data.check.report import Photo
    from zoo.events import Progress
    from zoo.plugins.registry import Registry
    from zoo.plugins.specs import ImageSet, Sample

# Bytes of photos a processor that the fast examination decodes to find near duplicates: about a second.
_FAST_BYTES = 12 << 20
# What nobody needs to be told before every training; the whole examination tells it.
_LEFT_TO_THE_WHOLE = ("skipped", "hidden-photos", "small", "large", "long", "treatment")


def check_data(
    data: str,
    *,
    registry: Registry | None = None,
    options: Mapping[str, str] | None = None,
    test_fraction: float = 0.2,
    val_fraction: float = 0.1,
    seed: int = 0,
    exclude: Path | None = None,
    near: int = RADIUS,
    threads: int | None = None,
    progress: Progress = no_progress,
) -> Report:
    """Examines what a training would be given as data, with the parts that it would make; see `check_images`.

    What training refuses, such as an empty class, is a finding.

    Args:
        data: A dataset's name, a folder, or a CSV of path,label.
        registry: Where datasets are looked up; found in the environment by default.
        options: The dataset's options.
        test_fraction: As in `zoo.config.FinetuneConfig`.
        val_fraction: Likewise.
        seed: Likewise.
        exclude: A list of photos to leave out.
        near: As in `check_images`.
        threads: As in `check_images`.
        progress: Called while it goes on.

    Raises:
        DataError: There is no such data, or nothing in it that is understood.
    """
    source = resolve_data(data, registry=registry or load_registry(), options=options or {}, exclude=exclude)
    images = load_source(source, progress=progress, strict=False)
    more: list[Finding] = []
    try:
        images = make_splits(images, test_fraction=test_fraction, val_fraction=val_fraction, count=None, seed=seed)
    except DataError as error:
        advice = "Only the parts that the data itself brings were compared."
        more.append(Finding(kind="split", about="parts", level="problem", text=error.message, advice=advice))
    fewer = apply_exclusions(images, source.exclusions)
    if exclude and fewer is images:
        text = f"None of the {len(source.exclusions)} photos that {exclude} lists is there."
        more.append(Finding(kind="exclude", about="exclusions", level="warning", text=text))
    images = fewer
    root = source.path if source.path is not None and source.path.is_dir() else None
    return check_images(images, near=near, root=root, more=more, threads=threads, progress=progress)


def check_images(
    images: ImageSet,
    *,
    near: int = RADIUS,
    root: Path | None = None,
    more: Sequence[Finding] = (),
    threads: int | None = None,
    progress: Progress = no_progress,
) -> Report:
    """Examines a dataset wholly: every photo is read, hashed and decoded, and compared with every other.

    Args:
        images: The dataset, its parts as they will be trained on; `zoo.data.sources.load.load_source` reads one that cannot
            be trained on with ``strict=False``.
        near: Bits of 128 in which the hashes of near duplicates may differ; 0 finds those that look exactly the same.
        root: The folder that `ImageSet.skipped` is relative to, if it names files.
        more: What was found already.
        threads: That decode; as many as there are processors by default.
        progress: Called while it goes on.

    Returns:
        The report. Nothing is written, and no file of the dataset changed.
    """
    started = time.perf_counter()
    photos = scan(images, decode=True, threads=threads, progress=progress)
    pairs = [*find_copies(photos), *find_near(photos, radius=near, progress=progress)]
    findings = [*more, *judge_twins(photos, pairs), *_judge_rest(images, photos, root)]
    return _report(images, photos, findings, started)


def check_fast(images: ImageSet, *, progress: Progress = no_progress) -> Report:
    """Examines a dataset as far as takes no time: it is done before every training.

    Every file is read and hashed: classes, leaks between the parts and photos with two labels are found. Where the
    photos take little (12 MiB a processor, about a second) they are decoded too, and near duplicates are found.

    Args:
        images: The dataset, its parts as they will be trained on.
        progress: Called while it goes on.
    """
    started = time.perf_counter()
    decode = _size(images) <= _FAST_BYTES * usable_cpus()
    photos = scan(images, decode=decode, progress=progress)
    pairs = find_copies(photos)
    if decode:
        pairs += find_near(photos, radius=RADIUS)
    findings = [*judge_twins(photos, pairs), *_judge_rest(images, photos, None)]
    wanted = [finding for finding in findings if finding.kind not in _LEFT_TO_THE_WHOLE]
    return _report(images, photos, wanted, started, near=decode)


def _judge_rest(images: ImageSet, photos: Sequence[Photo], root: Path | None) -> list[Finding]:
    counts = _counts(images, (photo for photo in photos if not photo.error))
    return [*judge_classes(images.classes, counts), *judge_files(photos, images.skipped, root=root)]


def _report(
    images: ImageSet, photos: Sequence[Photo], findings: Iterable[Finding], started: float, *, near: bool = True
) -> Report:
    return Report(
        name=images.name,
        counts=_counts(images, photos),
        findings=tuple(sorted(findings, key=lambda finding: LEVELS.index(finding.level))),
        photos=tuple(photos),
        near=near,
        note=images.note,
        seconds=time.perf_counter() - started,
    )


def _counts(images: ImageSet, photos: Iterable[Photo]) -> dict[str, dict[str, int]]:
    """Returns how many photos there are by part and class; parts that the dataset has, and all its classes."""
    counts = {part: dict.fromkeys(images.classes, 0) for part in reversed(PARTS) if getattr(images, part)}
    for photo in photos:
        counts[photo.part][photo.label] += 1
    return counts


def _size(images: ImageSet) -> int:
    return sum(_bytes_of(sample) for part in PARTS for sample in getattr(images, part))


def _bytes_of(sample: Sample) -> int:
    if isinstance(sample.source, bytes):
        return len(sample.source)
    try:
        return sample.source.stat().st_size
    except OSError:  # whoever reads it tells why
        return 0
