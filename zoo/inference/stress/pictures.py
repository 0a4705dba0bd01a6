"""The pictures of a stress test: curves, a map of the classes, and sheets of the photos that flip."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zoo.data.images.photo import decode_photo
from zoo.data.images.resize import preprocess
from zoo.data.targets import single_label
from zoo.errors import ImageError
from zoo.inference.stress.changes import CHANGES
from zoo.inference.stress.measure import CLEAN
from zoo.inference.stress.photos import random_of, shrink_to_network
from zoo.report.stress import Curve, Flip, write_classes, write_flips, write_stress_curves

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from zoo.inference.stress.measure import Subject
    from zoo.inference.stress.results import KindResult, ModelResult

_SHEETS = 4  # kinds with a sheet of flipped photos
_FLIPS = 12  # photos on a sheet


def write_pictures(folder: Path, results: Sequence[ModelResult], subjects: Sequence[Subject], *, seed: int) -> None:
    """Writes the pictures of one model into its folder, or the curves of several.

    Raises:
        RunError: A file cannot be written.
    """
    title = f"Accuracy under changes: {results[0].name if len(results) == 1 else f'{len(results)} models'}"
    subtitle = f"{results[0].count} photos, strengths 0 (as they are) to 5, with 95 % intervals"
    name = "comparison.png" if len(results) > 1 else "curves.png"
    write_stress_curves(folder / name, _panels(results), title=title, subtitle=subtitle)
    if len(results) > 1:
        return
    (result,), (subject,) = results, subjects
    if result.classes:
        kinds = [*result.classes[0].by_kind]
        write_classes(
            folder / "classes.png",
            {each.name: [each.clean - each.by_kind[kind] for kind in kinds] for each in result.classes},
            kinds=kinds,
            clean=[each.clean for each in result.classes],
            title=f"The classes that break first: {result.name}",
        )
    names = {change.name for change in CHANGES}
    worst = [kind for kind in result.kinds if kind.name in names and kind.mean.difference < 0][:_SHEETS]
    wanted = {f"flips-{kind.name}.png" for kind in worst}
    for old in folder.glob("flips-*.png"):
        if old.name not in wanted:  # of a test that went on, and found others worse
            old.unlink(missing_ok=True)
    for kind in worst:
        if flips := _find_flips(subject, kind, seed=seed):
            title = f"Photos that flip under {kind.name}: {result.name}"
            write_flips(folder / f"flips-{kind.name}.png", flips, classes=subject.predictor.classes, title=title)


def _panels(results: Sequence[ModelResult]) -> dict[str, list[Curve]]:
    """Returns the curves of all models for each kind, the worst kind of the first model first."""
    panels: dict[str, list[Curve]] = {}
    for result in results:
        low, high = result.clean_interval
        for kind in result.kinds:
            bounds = [each.interval for each in kind.strengths]
            # Attacks are measured on some of the photos; their curve begins with the accuracy on those.
            clean = kind.mean.accuracy - kind.mean.difference
            curve = Curve(
                model=result.name,
                accuracies=(clean, *(each.accuracy for each in kind.strengths)),
                lows=(min(low, clean), *(bound[0] for bound in bounds)),
                highs=(max(high, clean), *(bound[1] for bound in bounds)),
            )
            panels.setdefault(kind.name, []).append(curve)
    return panels


def _find_flips(subject: Subject, kind: KindResult, *, seed: int) -> list[Flip]:
    """Returns photos that are right as they are, and wrong from some strength on: those of the weakest first."""
    answers, clean = subject.shown(kind.name), subject.shown(CLEAN.name)
    change = next(change for change in CHANGES if change.name == kind.name)
    count = min(len(answers), len(clean))
    labels = np.array([single_label(sample) for sample in subject.samples[:count]])
    wrong = answers.predicted[:count] != labels[:, None]
    flipped = np.flatnonzero((clean.predicted[:count, 0] == labels) & wrong.any(axis=1))
    first = wrong[flipped].argmax(axis=1)
    confidence = answers.confidence[flipped, first]
    flips = []
    for place in np.lexsort((-confidence, first))[:_FLIPS]:
        index, strength = int(flipped[place]), int(first[place])
        sample = subject.samples[index]
        try:
            pixels = decode_photo(sample.source, name=sample.name)
        except ImageError:  # it was readable when it was measured
            continue
        spec = subject.predictor.preprocess
        photo = shrink_to_network(pixels, spec)
        changed = change.apply(photo, strength + 1, random_of(seed, change.name, sample.name))
        flips.append(
            Flip(
                name=sample.name,
                photo=preprocess(photo, spec),
                changed=preprocess(changed, spec),
                strength=strength + 1,
                label=int(labels[index]),
                predicted=int(answers.predicted[index, strength]),
                probability=float(answers.confidence[index, strength]),
            )
        )
    return flips
