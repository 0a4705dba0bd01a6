"""The figures of a stress test: accuracies under each kind of change, with intervals, and paired with clean photos."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.inference.stress.store import MISSING
from zoo.metrics.intervals import influence_interval, paired_interval, wilson_interval

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from zoo.inference.stress.store import Answers

    Interval = tuple[float, float]
    Scores = NDArray[np.float64]

MIN_CLASS_PHOTOS = 5  # of a class whose accuracy is worth ranking


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """An accuracy, and how much higher it is than on the same photos unchanged.

    Attributes:
        accuracy: 0 to 1; of several strengths or kinds, their mean.
        interval: Its 95 % interval.
        difference: The accuracy minus that of the unchanged photos, -1 to 1.
        difference_interval: The 95 % interval of the difference, paired by photo.
    """

    accuracy: float
    interval: Interval
    difference: float
    difference_interval: Interval

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON."""
        return {
            "accuracy": self.accuracy,
            "interval": list(self.interval),
            "difference": self.difference,
            "difference_interval": list(self.difference_interval),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class KindResult:
    """A model under one kind of change.

    Attributes:
        name: The kind.
        summary: What it does.
        levels: The setting of each strength.
        count: Number of photos.
        strengths: The accuracy at each strength, from the weakest.
        mean: The mean over the strengths.
        adversarial: Whether the changes were computed to mislead the model. The mean over the kinds leaves them out.
    """

    name: str
    summary: str
    levels: tuple[float, ...]
    count: int
    strengths: tuple[Accuracy, ...]
    mean: Accuracy
    adversarial: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON."""
        rows = [
            {"strength": strength, "level": level, **each.to_dict()}
            for strength, (level, each) in enumerate(zip(self.levels, self.strengths, strict=True), start=1)
        ]
        plain = {"name": self.name, "count": self.count, "adversarial": self.adversarial, "mean": self.mean.to_dict()}
        return {**plain, "strengths": rows}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassResult:
    """A class under the changes that are not adversarial.

    Attributes:
        name: The class.
        count: Number of its photos.
        clean: Share of them that is right unchanged.
        changed: The same under changes, the mean over kinds and strengths.
        by_kind: The same for each kind.
        taken_for: The class that its changed photos are most often taken for, if they are wrong; empty if none is.
    """

    name: str
    count: int
    clean: float
    changed: float
    by_kind: Mapping[str, float]
    taken_for: str

    @property
    def loss(self) -> float:
        """How much of the accuracy the changes cost, -1 to 1."""
        return self.clean - self.changed

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON."""
        fields = ("name", "count", "clean", "changed", "loss", "taken_for")
        return {**{name: getattr(self, name) for name in fields}, "by_kind": dict(self.by_kind)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelResult:
    """A stress test of one model.

    Attributes:
        name: The model.
        count: Number of photos.
        clean: Accuracy on the photos as they are.
        clean_interval: Its 95 % interval.
        kinds: The kinds of change that were measured, the worst first; the adversarial ones come last.
        mean: The mean over the kinds that are not adversarial, each the mean of its strengths; None if there are none.
        classes: The classes with enough photos, the one that loses most first.
        dropped: The kinds for which the time did not suffice.
    """

    name: str
    count: int
    clean: float
    clean_interval: Interval
    kinds: tuple[KindResult, ...]
    mean: Accuracy | None
    classes: tuple[ClassResult, ...]
    dropped: tuple[str, ...] = ()

    @property
    def by_kind(self) -> dict[str, KindResult]:
        """The kinds by name."""
        return {kind.name: kind for kind in self.kinds}

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON."""
        return {
            "name": self.name,
            "count": self.count,
            "clean": {"accuracy": self.clean, "interval": list(self.clean_interval)},
            "mean": None if self.mean is None else self.mean.to_dict(),
            "kinds": [kind.to_dict() for kind in self.kinds],
            "classes": [each.to_dict() for each in self.classes],
            "dropped": list(self.dropped),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredKind:
    """The answers of a model for one kind of change.

    Attributes:
        name: The kind.
        summary: What it does.
        levels: The setting of each strength.
        answers: For the first photos of the order.
        adversarial: As in `KindResult`.
    """

    name: str
    summary: str
    levels: tuple[float, ...]
    answers: Answers
    adversarial: bool = False


def summarise_model(
    name: str,
    labels: NDArray[np.int64],
    clean: Answers,
    kinds: Sequence[MeasuredKind],
    *,
    classes: Sequence[str],
    dropped: Sequence[str] = (),
) -> ModelResult:
    """Returns the figures of a model. All arrays are cut to the photos that every kind was measured on.

    Args:
        name: The model.
        labels: int64 ``(N,)``: the true classes.
        clean: The answers for the photos as they are, ``(N, 1)``.
        kinds: The kinds of change, each with answers for at least one photo.
        classes: The class names.
        dropped: The kinds that were not measured.
    """
    count = min(len(clean), *(len(kind.answers) for kind in kinds)) if kinds else len(clean)
    readable = clean.predicted[:count, 0] != MISSING
    labels = labels[:count][readable]
    right = (clean.predicted[:count, 0][readable] == labels).astype(np.float64)
    cut = [_cut(kind, count, readable) for kind in kinds]
    results = [_summarise_kind(kind, labels, right) for kind in cut]
    plain = [kind for kind in cut if not kind.adversarial]
    mean = None
    if plain:
        scores = np.mean([_scores(kind, labels).mean(axis=1) for kind in plain], axis=0)
        mean = summarise_scores(scores, right)
    return ModelResult(
        name=name,
        count=len(labels),
        clean=float(right.mean()),
        clean_interval=wilson_interval(float(right.sum()), len(right)),
        kinds=tuple(sorted(results, key=lambda kind: (kind.adversarial, kind.mean.difference, kind.name))),
        mean=mean,
        classes=_rank_classes(plain, labels, right, classes) if plain else (),
        dropped=tuple(dropped),
    )


def summarise_scores(scores: Scores, clean: Scores) -> Accuracy:
    """Returns the accuracy of photos whose scores are means over several changes, each 0 to 1.

    The intervals are those of the delta method; where all photos score alike, which gives them no width, those of as
    many photos with one change each.

    Args:
        scores: ``(N,)``, N at least 1.
        clean: ``(N,)``: 1 for photos that are right unchanged, otherwise 0.
    """
    count, accuracy, difference = len(scores), float(scores.mean()), float((scores - clean).mean())
    own = influence_interval(accuracy, scores - accuracy)
    paired = influence_interval(difference, scores - clean - difference, low=-1.0)
    lost, gained = max(0.0, -difference) * count, max(0.0, difference) * count
    return Accuracy(
        accuracy=accuracy,
        interval=own or wilson_interval(accuracy * count, count),
        difference=difference,
        difference_interval=paired or paired_interval(round(lost), round(gained), count),
    )


def compare_kinds(
    one: Sequence[MeasuredKind], two: Sequence[MeasuredKind], labels: NDArray[np.int64]
) -> dict[str, Any]:
    """Returns the differences of two models by kind, and of the mean over those that are not adversarial.

    Args:
        one: The first model.
        two: The second; only kinds that both have are compared, on the photos that both were measured on.
        labels: int64 ``(N,)``: the true classes.

    Returns:
        ``difference`` (the second minus the first) and ``interval`` by the name of the kind; the mean as ``mean``.
    """
    others, found, differences = {kind.name: kind for kind in two}, {}, []
    shared = [(kind, others[kind.name]) for kind in one if kind.name in others]
    for first, second in shared:
        count = min(len(first.answers), len(second.answers))
        measured = np.ones(count, dtype=bool)
        for kind in (first, second):
            measured &= kind.answers.predicted[:count, 0] != MISSING
        if not measured.any():
            continue
        scores = [
            _scores(_cut(kind, count, measured), labels[:count][measured]).mean(axis=1) for kind in (first, second)
        ]
        found[first.name] = _describe_difference(scores[1] - scores[0])
        if not first.adversarial:
            differences.append(np.where(measured, 0.0, np.nan))
            differences[-1][measured] = scores[1] - scores[0]
    if differences:
        count = min(map(len, differences))
        mean = np.mean([each[:count] for each in differences], axis=0)
        found["mean"] = _describe_difference(mean[~np.isnan(mean)])
    return found


def _describe_difference(differences: Scores) -> dict[str, Any]:
    mean, count = float(differences.mean()), len(differences)
    interval = influence_interval(mean, differences - mean, low=-1.0)
    return {"difference": mean, "interval": list(interval or paired_interval(0, 0, count)), "count": count}


def _cut(kind: MeasuredKind, count: int, readable: NDArray[np.bool_]) -> MeasuredKind:
    answers = kind.answers
    cut = replace(
        answers, predicted=answers.predicted[:count][readable], confidence=answers.confidence[:count][readable]
    )
    return replace(kind, answers=cut)


def _scores(kind: MeasuredKind, labels: NDArray[np.int64]) -> Scores:
    """Returns whether each answer is right, float64 ``(N, strengths)``."""
    scores: Scores = (kind.answers.predicted == labels[:, None]).astype(np.float64)
    return scores


def _summarise_kind(kind: MeasuredKind, labels: NDArray[np.int64], right: Scores) -> KindResult:
    measured = kind.answers.predicted[:, 0] != MISSING  # attacks are measured on some of the photos
    scores, clean = _scores(kind, labels)[measured], right[measured]
    return KindResult(
        name=kind.name,
        summary=kind.summary,
        levels=kind.levels,
        count=len(clean),
        strengths=tuple(_compare_strength(column, clean) for column in scores.T),
        mean=summarise_scores(scores.mean(axis=1), clean),
        adversarial=kind.adversarial,
    )


def _compare_strength(scores: Scores, clean: Scores) -> Accuracy:
    count, lost, gained = len(scores), int((clean > scores).sum()), int((clean < scores).sum())
    return Accuracy(
        accuracy=float(scores.mean()),
        interval=wilson_interval(float(scores.sum()), count),
        difference=(gained - lost) / count,
        difference_interval=paired_interval(lost, gained, count),
    )


def _rank_classes(
    kinds: Sequence[MeasuredKind], labels: NDArray[np.int64], right: Scores, classes: Sequence[str]
) -> tuple[ClassResult, ...]:
    ranked = []
    for label, name in enumerate(classes):
        own = labels == label
        if own.sum() < MIN_CLASS_PHOTOS:
            continue
        by_kind = {kind.name: float(_scores(kind, labels)[own].mean()) for kind in kinds}
        # Each strength of each kind once, as in the mean of a kind with five strengths.
        wrong = np.concatenate([kind.answers.predicted[own].ravel() for kind in kinds])
        counts = np.bincount(wrong[wrong != label], minlength=1)
        ranked.append(
            ClassResult(
                name=name,
                count=int(own.sum()),
                clean=float(right[own].mean()),
                changed=float(np.mean([*by_kind.values()])),
                by_kind=by_kind,
                taken_for=classes[int(counts.argmax())] if counts.any() else "",
            )
        )
    return tuple(sorted(ranked, key=lambda each: (-each.loss, each.name)))
