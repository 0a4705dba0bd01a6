"""Decides what a search tries next, from what was tried so far and the time that is left. Pure functions.

The order is that of the cost of what can be learnt:

1. Probes of all backbones: on a part of the photos if there are many, then on four times as many, and so on. Each time
   the worse half drops out (successive halving, Jamieson and Talwalkar 2016), but never the first, the reference.
2. The recipe on the reference, as without a search: fine-tuning, which ends after an epoch where it does not pay. Where
   it pays, it is repeated for longer and with more stages, and the best of the other backbones follows.
3. Probes of the best two backbones joined, and of the best three if two are better than one.
4. Fine-tuning of the best single backbone. That of a joined one takes the memory of all its members at once.
5. Probes of the two best single backbones at other image sizes. A larger one is followed by a still larger one as long
   as that is better.
6. Fine-tuning of the best backbones, each at its best size.

Seconds are extrapolated from those of earlier attempts. What does not fit into the time that is left is not started.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from zoo.training.best.attempts import JOIN, OUT_OF_TIME, Attempt, Outcome, Source, join_sources
from zoo.training.best.choice import rank

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

FIRST_PHOTOS = 400  # training photos of the first probes, at least
_PER_CLASS = 5  # of these, of the smallest class, at least
_GROWTH = 4  # times as many photos for the better half
_BACKBONES_SHARE, _SIZES_SHARE = 0.4, 0.7  # of the time, after which no further backbone or size is probed
_MULTIPLE = 32  # of image sizes: the stride of most backbones
_LARGER, _SMALLER = (9 / 7, 12 / 7), (5 / 7,)  # 288, 384 and 160 pixels for 224
_TUNED_SOURCES = 3  # backbones to fine-tune
PROBE: Mapping[str, Any] = {"freeze": "all"}
DEFAULT: Mapping[str, Any] = {}
LONGER: Mapping[str, Any] = {"epochs": 10, "patience": 2, "freeze": "30%"}
_MIN_EPOCHS = 2  # fewer are not worth a start
_RESERVE_SHARE, _MIN_RESERVE, _MAX_RESERVE = 0.05, 4.0, 20.0  # of the time, to open and to write the chosen run
_UNSEEN = 1.2  # times the work that was seen: the first of each kind is not
_DOUBT = 1.3  # times the expected time of the last evaluation
# Seconds of an epoch, as a share of those of the probe of the same network, until one was measured.
_EPOCH_SHARE = 1.3
_SHARED = 0.5  # of the time of a probe, at least, that fine-tuning takes even if it finds the features of the probe


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a search has to work with.

    Attributes:
        sources: Backbones with weights, the best first, as far as that is known.
        photos: All training photos, those for validation included.
        test_photos: Test photos, which the chosen run is evaluated on.
        smallest: Those of the smallest class.
        seconds: Time for the whole search.
        epochs: Epochs of the recipe.
        joins: Whether backbones can be joined.
    """

    sources: tuple[Source, ...]
    photos: int
    test_photos: int
    smallest: int
    seconds: float
    epochs: int = 4
    joins: bool = True


def find_deadline(plan: Plan, outcomes: Sequence[Outcome], attempt: Attempt | None = None) -> float:
    """Returns the second of a search at which attempts have to end, so that the chosen run can be completed.

    That run is opened and evaluated on the test photos, and its pictures are written. A photo takes as long as in the
    probes, preparation included: of the network of `attempt`, if that was measured, or else of the slowest.
    """
    end = plan.seconds - min(max(_RESERVE_SHARE * plan.seconds, _MIN_RESERVE), _MAX_RESERVE)
    probes = [each for each in outcomes if each.done and each.attempt.is_probe]
    if not probes:
        return end * plan.photos / (plan.photos + _DOUBT * plan.test_photos)
    same = [each for each in probes if attempt is not None and each.attempt.source == attempt.source]
    slowest = max(each.seconds / (each.attempt.photos or plan.photos) for each in same or probes)
    return end - _DOUBT * plan.test_photos * slowest


def next_attempt(plan: Plan, outcomes: Sequence[Outcome], *, left: float) -> Attempt | None:
    """Returns the attempt that is worth most of those that fit into the time that is left; None if there is none.

    Args:
        plan: The search.
        outcomes: What was tried.
        left: Seconds until the last attempt has to end.
    """
    tried = {_key(each.attempt) for each in outcomes if each.status != OUT_OF_TIME}  # a resumed search may have more
    used = find_deadline(plan, outcomes) - left
    whole = _seconds_of_whole(plan, outcomes)
    for attempt in _wanted(plan, outcomes, used=used):
        if _key(attempt) in tried:
            continue
        # A probe on some of the photos must not take the time of the first one on all.
        kept = whole if attempt.photos is not None and whole <= left else 0.0
        fitted = fit(plan, attempt, outcomes, left=left - kept)
        if fitted is not None and _key(fitted) not in tried:
            return fitted
    return None


def fit(plan: Plan, attempt: Attempt, outcomes: Sequence[Outcome], *, left: float) -> Attempt | None:
    """Returns an attempt with as many epochs as fit into the time that is left, or None if it does not fit at all."""
    seconds = estimate(plan, attempt, outcomes)
    if seconds is None or seconds <= left:
        return attempt
    probe = estimate(plan, replace(attempt, values=PROBE), outcomes)
    if attempt.is_probe or probe is None:
        return None
    epochs = math.floor((left - probe) / (probe * _epoch_share(plan, attempt, outcomes)))
    least = plan.epochs + 1 if "epochs" in attempt.values else _MIN_EPOCHS  # what is for longer has to be longer
    return replace(attempt, values={**attempt.values, "epochs": epochs}) if epochs >= least else None


def estimate(plan: Plan, attempt: Attempt, outcomes: Sequence[Outcome]) -> float | None:
    """Returns the seconds that an attempt takes at most; None if nothing similar was measured.

    The time for a photo grows with the area of the image. Without a measurement of the backbone, the slowest of the
    others stands for it.
    """
    probes = [each for each in outcomes if each.attempt.is_probe and each.done]
    same = [each for each in probes if each.attempt.source == attempt.source]
    if not probes:
        return None
    pick = min if same else max
    if not same and attempt.source.is_joined:
        probe = _estimate_joined(plan, attempt, probes)
    else:
        probe = pick(_scale(each, attempt, photos=plan.photos) for each in same or probes)
    if attempt.is_probe:
        return probe
    epochs = int(attempt.values.get("epochs", plan.epochs))
    return probe * (1 + _epoch_share(plan, attempt, outcomes) * epochs)


def image_sizes(size: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Returns the larger sizes to try, in order, and the smaller ones, for a backbone made for images of `size` pixels.

    All are multiples of 32, the stride of most backbones.
    """
    larger, smaller = (
        dict.fromkeys(round(size * each / _MULTIPLE) * _MULTIPLE for each in shares) for shares in (_LARGER, _SMALLER)
    )
    return tuple(each for each in larger if size < each), tuple(each for each in smaller if 0 < each < size)


def probe_sizes(plan: Plan) -> list[int | None]:
    """Returns the numbers of training photos of the successive probes; None stands for all, and is the last."""
    # A class of fewer photos could not be cross-validated.
    first, sizes = max(FIRST_PHOTOS, math.ceil(_PER_CLASS * plan.photos / max(1, plan.smallest))), []
    count = plan.photos // _GROWTH
    while count > first / 2:
        sizes.append(max(first, count))
        count //= _GROWTH
    return [*reversed([each for each in sizes if 2 * each < plan.photos]), None]


def _key(attempt: Attempt) -> tuple[Any, ...]:
    """Returns what distinguishes attempts. The number of epochs does not: they are as many as fit."""
    source = attempt.source
    values = sorted((name, value) for name, value in attempt.values.items() if name != "epochs")
    options = sorted(source.options.items())
    return (source.backbone, source.weights, *options, attempt.image_size, attempt.photos, *values)


def _wanted(plan: Plan, outcomes: Sequence[Outcome], *, used: float) -> Iterator[Attempt]:
    """Yields attempts in the order of their worth; it goes on only once all before it were tried or do not fit."""
    if used < _BACKBONES_SHARE * plan.seconds or not any(each.done for each in outcomes):
        yield from _wanted_backbones(plan, outcomes)
    yield from _wanted_first(outcomes)
    groups = [each for each in _by_source(outcomes) if not each[0].attempt.source.is_joined]
    native = [_at_native_size(each[0].attempt.source, DEFAULT) for each in groups]
    others = [each for each in native if each.source != plan.sources[0]]
    if any(each.complete for each in outcomes):
        yield _at_native_size(plan.sources[0], DEFAULT)
    tuned = [each for each in outcomes if each.tuned and each.complete]
    if tuned:  # fine-tuning pays here
        for each in rank(tuned)[:1]:
            yield replace(each.attempt, values=LONGER)
        yield from others[:1]
    if plan.joins and used < _SIZES_SHARE * plan.seconds:
        yield from _wanted_joined(outcomes)
    yield from native[:1]
    if used < _SIZES_SHARE * plan.seconds:
        yield from _wanted_sizes(groups)
    yield from (replace(each[0].attempt, values=DEFAULT) for each in groups[:_TUNED_SOURCES])


def _at_native_size(source: Source, values: Mapping[str, Any]) -> Attempt:
    return Attempt(source=source, image_size=source.image_size, values=values)


def _wanted_backbones(plan: Plan, outcomes: Sequence[Outcome]) -> Iterator[Attempt]:
    field: list[Source] = list(plan.sources)
    for photos in probe_sizes(plan):
        yield from (Attempt(source=each, image_size=each.image_size, photos=photos, values=PROBE) for each in field)
        probes = [each for each in _probes(outcomes, photos=photos) if each.attempt.source in field]
        probes = [each for each in probes if each.attempt.is_native]
        if not probes:
            return
        best = [each.attempt.source for each in rank(probes)][: max(2, math.ceil(len(field) / 2))]
        field = [each for each in field if each in best or each == plan.sources[0]]


def _wanted_joined(outcomes: Sequence[Outcome]) -> Iterator[Attempt]:
    """Yields probes of the two best backbones joined, and of the three best if two are better than one."""
    probes = [each for each in _probes(outcomes, photos=None) if each.attempt.is_native]
    ranked = [each.attempt.source for each in rank(probes)] if probes else []
    singles = [each for each in ranked if not each.is_joined and each.is_joinable]
    for count in (2, 3):
        if len(singles) < count or (count == 3 and not ranked[0].is_joined):
            return
        yield _at_native_size(join_sources(singles[:count]), PROBE)


def _wanted_sizes(groups: Sequence[Sequence[Outcome]]) -> Iterator[Attempt]:
    """Yields probes at other sizes: of the best backbone up the ladder, then down, and of the next one up."""
    for place, probes in enumerate(groups[:2]):
        source = probes[0].attempt.source
        larger, smaller = image_sizes(source.image_size)
        sizes = {each.attempt.image_size: each for each in probes}
        attempt = Attempt(source=source, image_size=source.image_size, values=PROBE)
        for before, size in zip((source.image_size, *larger), larger, strict=False):
            yield replace(attempt, image_size=size)
            if size not in sizes or before not in sizes or rank([sizes[before], sizes[size]])[0] is sizes[before]:
                break
        if place == 0:
            yield from (replace(attempt, image_size=size) for size in smaller)


def _wanted_first(outcomes: Sequence[Outcome]) -> Iterator[Attempt]:
    """Yields probes on all photos of those that were best on some, until one is done."""
    if any(each.complete for each in outcomes):
        return
    done = [each for each in outcomes if each.done]
    most = max((each.attempt.photos or 0 for each in done), default=0)
    for each in rank([each for each in done if each.attempt.photos == most]) if done else ():
        yield replace(each.attempt, photos=None)


def _seconds_of_whole(plan: Plan, outcomes: Sequence[Outcome]) -> float:
    """Returns the seconds of the probe on all photos that would come first now; 0 if there is one, or none in sight."""
    first = next(_wanted_first(outcomes), None)
    return (estimate(plan, first, outcomes) or 0.0) if first else 0.0


def _probes(outcomes: Sequence[Outcome], *, photos: int | None) -> list[Outcome]:
    return [each for each in outcomes if each.done and each.attempt.is_probe and each.attempt.photos == photos]


def _by_source(outcomes: Sequence[Outcome]) -> list[list[Outcome]]:
    """Returns the probes on all photos by backbone: those with the lowest loss come first, of backbones and of each."""
    ranked = rank(probes) if (probes := _probes(outcomes, photos=None)) else []
    sources: list[Source] = []
    for each in ranked:
        if each.attempt.source not in sources:
            sources.append(each.attempt.source)
    return [[each for each in ranked if each.attempt.source == source] for source in sources]


def _scale(outcome: Outcome, attempt: Attempt, *, photos: int) -> float:
    """Returns the seconds of a probe, extrapolated to the photos and the image size of an attempt; never fewer."""
    had = outcome.attempt
    more = (attempt.photos or photos) / (had.photos or photos) * (attempt.image_size / had.image_size) ** 2
    work = min(outcome.work * _UNSEEN, outcome.seconds)
    return outcome.seconds + work * (max(1.0, more) - 1)


def _estimate_joined(plan: Plan, attempt: Attempt, probes: Sequence[Outcome]) -> float:
    """Returns the seconds of the probe of joined backbones: those of its members together."""
    members = attempt.source.backbone.split(JOIN)
    own = [[each for each in probes if each.attempt.source.backbone == name] or probes for name in members]
    return sum(min(_scale(each, attempt, photos=plan.photos) for each in found) for found in own)


def _epoch_share(plan: Plan, attempt: Attempt, outcomes: Sequence[Outcome]) -> float:
    """Returns the seconds of an epoch of fine-tuning, as a share of those of the probe of the same network."""
    work = _work(attempt.values)
    shares = [
        (each.seconds / probe - _SHARED) / each.epochs / _work(each.attempt.values)
        for each in outcomes
        if each.done and each.epochs and (probe := estimate(plan, replace(each.attempt, values=PROBE), outcomes))
    ]
    return max(max(shares, default=_EPOCH_SHARE), 0.05) * work


def _work(values: Mapping[str, Any]) -> float:
    """Returns the work of a step of fine-tuning, where that of the default recipe is 1."""
    trained = 1 - float(str(values.get("freeze", "60%")).rstrip("%")) / 100
    return (1 + 2 * trained) / 1.8
