"""Statistics of accuracies: intervals over photos and over runs, and two classifiers on the same photos."""

from __future__ import annotations

import math
from collections import Counter
from statistics import NormalDist, fmean, stdev
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    import numpy as np
    from numpy.typing import NDArray

CONFIDENCE = 0.95
QUANTILE = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)  # half the width of an interval, in standard errors
# Student's t is 12.7 for two runs, 4.3 for three: from two runs an interval often spans more than 0 to 100 %.
MIN_RUNS = 3
_ROUNDING = 1e-9


def wilson_interval(correct: float, count: float) -> tuple[float, float]:
    """Returns the 95 % score interval of a proportion (Wilson 1927, https://doi.org/10.2307/2276774).

    Unlike the textbook's p +- 1.96 s, it keeps its level for few photos and near 0 and 1, and never leaves [0, 1]
    (Brown, Cai and DasGupta 2001, https://doi.org/10.1214/ss/1009213286).

    Args:
        correct: Number of successes.
        count: Number of trials, at least 1.
    """
    z = QUANTILE
    share, shrink = correct / count, 1 + z * z / count
    middle = (share + z * z / (2 * count)) / shrink
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / shrink
    # At 0 and 1 one bound is exact in theory; rounding would move it.
    return (0.0 if correct == 0 else middle - half), (1.0 if correct == count else middle + half)


def grouped_interval(correct: Sequence[bool], groups: Sequence[Hashable]) -> tuple[float, float]:
    """Returns the 95 % interval of the accuracy on photos of which those of a group are alike.

    It is `wilson_interval` with the effective number of photos, by the variance of the accuracy between the groups
    (Korn and Graubard 1998, Survey Methodology 24): as wide as for independent photos, or wider.

    Args:
        correct: Whether each photo is classified correctly; at least one.
        groups: The group of each photo.
    """
    sizes, hits = Counter(groups), Counter(group for group, right in zip(groups, correct, strict=True) if right)
    count = len(correct)
    accuracy = hits.total() / count
    deviations = sum((hits[group] - accuracy * size) ** 2 for group, size in sizes.items())
    if deviations > _ROUNDING and len(sizes) > 1:
        variance = deviations / count**2 * len(sizes) / (len(sizes) - 1)
        effective = min(count, accuracy * (1 - accuracy) / variance)
    else:  # all groups are equally good, which says nothing of their photos: as if those of a group were copies
        effective = count**2 / sum(size**2 for size in sizes.values())
    return wilson_interval(accuracy * effective, effective)


def mean_of_proportions(correct: Sequence[int], counts: Sequence[int]) -> tuple[float, tuple[float, float]]:
    """Returns the mean of several proportions, and its 95 % interval.

    It combines the Wilson intervals of the proportions as their mean varies, by the MOVER method (Zou and Donner 2008,
    https://doi.org/10.1002/sim.3095): unlike the textbook's, it has a width where all proportions are 0 or 1.

    Args:
        correct: Number of successes of each.
        counts: Number of trials of each, at least 1.
    """
    shares = [right / count for right, count in zip(correct, counts, strict=True)]
    intervals = [wilson_interval(right, count) for right, count in zip(correct, counts, strict=True)]
    mean = fmean(shares)
    below, above = (
        math.sqrt(math.fsum((share - bounds[side]) ** 2 for share, bounds in zip(shares, intervals, strict=True)))
        / len(shares)
        for side in (0, 1)
    )
    return mean, (max(0.0, mean - below), min(1.0, mean + above))


def influence_interval(
    value: float, influences: NDArray[np.float64], *, low: float = 0.0, high: float = 1.0
) -> tuple[float, float] | None:
    """Returns the 95 % interval of a statistic of many photos by the delta method; None where no photo moves it.

    Args:
        value: The statistic.
        influences: ``(N,)``: its derivative by the weight of each photo, times the number of photos. Their mean is 0.
        low: The smallest possible value.
        high: The largest possible value.
    """
    half = QUANTILE * math.sqrt(float((influences**2).mean()) / len(influences))
    return (max(low, value - half), min(high, value + half)) if half else None


def paired_loss_p(lost: int, gained: int) -> float:
    """Returns the p-value of McNemar's exact one-sided test that a second classifier is less accurate than a first.

    https://doi.org/10.1007/BF02295996. It is the probability of at least `lost` heads in ``lost + gained`` tosses.

    Args:
        lost: Number of photos that only the first classifies correctly.
        gained: Number of photos that only the second classifies correctly.
    """
    count = lost + gained
    return float(sum(math.comb(count, heads) for heads in range(lost, count + 1)) / 2**count)


def paired_loss_bound(lost: int, gained: int, count: int, *, confidence: float = CONFIDENCE) -> float:
    """Returns the upper bound of how much less accurate a second classifier is, as a share of all photos.

    The adjusted Wald interval of Bonett and Price 2012, https://doi.org/10.3102/1076998611411915, which keeps its level
    for few photos and few differences.

    Args:
        lost: As in `paired_loss_p`.
        gained: As in `paired_loss_p`.
        count: Number of all photos, at least 1.
        confidence: Level of the bound, 0 to 1.
    """
    loss, deviation = _adjusted_loss(lost, gained, count)
    return min(1.0, loss + NormalDist().inv_cdf(confidence) * deviation)


def paired_p(lost: int, gained: int) -> float:
    """Returns the p-value of McNemar's exact two-sided test that two classifiers are equally accurate.

    Args:
        lost: As in `paired_loss_p`.
        gained: As in `paired_loss_p`.
    """
    return min(1.0, 2 * paired_loss_p(max(lost, gained), min(lost, gained)))


def paired_interval(lost: int, gained: int, count: int) -> tuple[float, float]:
    """Returns the 95 % interval of how much more accurate a second classifier is, as a share of all photos.

    The interval of `paired_loss_bound`, with both ends.

    Args:
        lost: As in `paired_loss_p`.
        gained: As in `paired_loss_p`.
        count: Number of all photos, at least 1.
    """
    loss, deviation = _adjusted_loss(lost, gained, count)
    return max(-1.0, -loss - QUANTILE * deviation), min(1.0, -loss + QUANTILE * deviation)


def _adjusted_loss(lost: int, gained: int, count: int) -> tuple[float, float]:
    """Returns the difference of the shares, and its standard error, after adding one photo of each kind."""
    first, second = (lost + 1) / (count + 2), (gained + 1) / (count + 2)
    return first - second, math.sqrt((first + second - (first - second) ** 2) / (count + 2))


def mean_interval(values: Sequence[float]) -> tuple[float, float | None]:
    """Returns the mean of repeated measurements and the half width of its 95 % Student-t interval.

    Args:
        values: At least one, such as the accuracy of each seed. The half width of fewer than `MIN_RUNS` is None.
    """
    if len(values) < MIN_RUNS:
        return fmean(values), None
    from scipy.special import stdtrit  # the quantiles of scipy.stats.t; importing scipy.stats takes a second

    quantile = float(stdtrit(len(values) - 1, (1 + CONFIDENCE) / 2))
    return fmean(values), quantile * stdev(values) / math.sqrt(len(values))


def format_mean(accuracies: Sequence[float]) -> str:
    """Returns the mean accuracy of several runs in percent: ``"91.2 % ± 0.8"``.

    From fewer than `MIN_RUNS` runs there is no interval, and the text says so.

    Args:
        accuracies: One for each run, 0 to 1.
    """
    mean, half_width = mean_interval(accuracies)
    interval = "(too few runs for an interval)" if half_width is None else f"± {100 * half_width:.1f}"
    return f"{100 * mean:.1f} % {interval}"
