"""What is known about probabilities: their temperature, the scores of prediction sets, and how reliable they are.

Values of ``run.json`` and of exported files, which other modules compute: `zoo.metrics.temperature`, `conformal` and
`reliability`. Imports no numpy.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from zoo.errors import ConfigError
from zoo.plugins.specs import Activation

if TYPE_CHECKING:
    from collections.abc import Mapping

Method = Literal["none", "temperature", "temperature-per-label"]
SetScore = Literal["lac", "aps"]
MAX_SCORES = 400  # that are stored; more would not change a set that anybody sees
MAX_TEMPERATURE = 1000.0  # far beyond what is fitted: only values of other programs are refused


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionSets:
    """Conformal scores of photos that the network had not seen, from which the sets of any coverage are made.

    Split conformal prediction (Vovk et al. 2005; Lei et al. 2018, https://arxiv.org/abs/1604.04173). The set of a photo
    has all classes whose score is not above a quantile of these scores: it contains the right class with at least the
    probability that the user names, on average over photos like those of the training data.

    Attributes:
        score: ``"lac"``: one minus the probability of the class (Sadinle et al. 2019, https://arxiv.org/abs/1609.00451);
            ``"aps"``: the sum of the probabilities of all classes that are more probable (Romano et al. 2020,
            https://arxiv.org/abs/2006.02544), without the random number of that paper.
        photos: Number of photos.
        scores: Their scores for the right class, ascending. Of more than `MAX_SCORES` photos, as many order statistics
            at even distances, the largest among them.
        compared: What the choice between the scores was based on, by score: ``coverage`` and ``size`` of the sets for
            held-out photos.
    """

    score: SetScore
    photos: int
    scores: tuple[float, ...]
    compared: Mapping[str, Any] = field(default_factory=dict)

    def quantile(self, coverage: float) -> float:
        """Returns the largest score of the classes in a set: the ``ceil((n + 1) coverage)``-th smallest of n scores.

        Args:
            coverage: The probability that a set contains the right class, more than 0 and less than 1.

        Raises:
            ConfigError: The photos are too few for the coverage.
        """
        rank = self.rank(coverage)
        if rank > self.photos:
            most = 100 * self.photos / (self.photos + 1)
            raise ConfigError(
                f"A coverage of {format_coverage(coverage)} needs {needed_photos(coverage):,} photos that did not "
                f"train the network; there were {self.photos:,}.",
                hint=f"They are enough for {math.floor(10 * most) / 10:g} %. More training photos allow more.",
            )
        # Ranks that are not stored are rounded up, so that the coverage holds.
        return self.scores[-(-rank * len(self.scores) // self.photos) - 1]

    def rank(self, coverage: float) -> int:
        """Returns the rank of the score that is the quantile, from 1; above `photos` if they are too few."""
        check_coverage(coverage)
        return math.ceil((self.photos + 1) * coverage - 1e-9)  # 0.9 is a little more than nine tenths

    @classmethod
    def from_scores(
        cls, score: SetScore, ascending: list[float], *, compared: Mapping[str, Any] | None = None
    ) -> PredictionSets:
        """Returns the sets for all scores of the photos, of which only as many as needed are kept.

        Args:
            score: What they are.
            ascending: The scores of at least one photo, sorted.
            compared: As the attribute.
        """
        count = len(ascending)
        kept = min(count, MAX_SCORES)
        places = [-(-(number + 1) * count // kept) - 1 for number in range(kept)]
        rounded = [math.ceil(ascending[place] * 1e6) / 1e6 for place in places]  # up: sets grow, and never shrink
        return cls(score=score, photos=count, scores=tuple(rounded), compared=compared or {})

    @classmethod
    def from_json(cls, values: Any) -> PredictionSets:
        """Returns the value for what JSON contains.

        Raises:
            ValueError: It is not what `zoo` writes.
        """
        found = _mapping(values, "sets")
        score: SetScore = _choice(found, "score", get_args(SetScore))
        photos, scores = found.get("photos"), found.get("scores")
        if type(photos) is not int or not isinstance(scores, list) or len(scores) != min(photos, MAX_SCORES):
            raise ValueError("'scores' does not have the score of each photo")
        if not scores or not all(_is_number(each) and 0 <= each < math.inf for each in scores):
            raise ValueError("'scores' are not numbers from 0")
        if sorted(scores) != scores:
            raise ValueError("'scores' are not sorted")
        return cls(
            score=score,
            photos=photos,
            scores=tuple(map(float, scores)),
            compared=_mapping(found.get("compared", {}), "compared"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How the probabilities of a run were calibrated after its training.

    Attributes:
        method: ``"none"``, ``"temperature"``: all logits are divided by one number (Guo et al. 2017,
            https://arxiv.org/abs/1706.04599); ``"temperature-per-label"``: those of each label by its own.
        activation: What turns logits into probabilities.
        temperature: The divisors: none, one, or one for each label. Calibrated probabilities are the activation of
            ``logits / temperature``, so that the order of the classes stays the same with one.
        fitted_on: ``"out-of-fold"``: on predictions for training and validation photos in cross-validation, each by a
            fit that did not see the photo; or ``"validation"``.
        photos: Number of these photos.
        compared: By method, ``loss``, ``brier`` and ``calibration_error`` (`zoo.metrics.reliability`) of photos that
            were held out while the method was fitted; empty if nothing was compared.
        note: Why nothing was compared, or empty.
        sets: What prediction sets are made from; None with several labels per photo.
    """

    method: Method
    activation: Activation = "softmax"
    temperature: tuple[float, ...] = ()
    fitted_on: str = ""
    photos: int = 0
    compared: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    sets: PredictionSets | None = None

    @property
    def changes(self) -> bool:
        """Whether probabilities differ from those of the network."""
        return bool(self.temperature)

    def describe(self) -> str:
        """Returns the method in words: ``"temperature 1.38, from 270 out-of-fold predictions"``."""
        if not self.temperature:
            return f"none{': ' if self.note else ''}{self.note}"
        low, high = min(self.temperature), max(self.temperature)
        value = f"{low:.3g}" if len(self.temperature) == 1 else f"{low:.3g} to {high:.3g}, one for each label"
        kind = "out-of-fold predictions" if self.fitted_on == "out-of-fold" else f"{self.fitted_on} photos"
        return f"temperature {value}, from {self.photos:,} {kind}"

    @classmethod
    def from_json(cls, values: Any, *, classes: int) -> Calibration:
        """Returns the value for what JSON contains.

        Args:
            values: An object of JSON.
            classes: Number of classes.

        Raises:
            ValueError: It is not what `zoo` writes.
        """
        found = _mapping(values, "calibration")
        method: Method = _choice(found, "method", get_args(Method))
        activation: Activation = _choice(found, "activation", get_args(Activation))
        temperature = found.get("temperature", [])
        wanted = {"none": 0, "temperature": 1, "temperature-per-label": classes}[method]
        if not isinstance(temperature, list) or len(temperature) != wanted:
            raise ValueError(f"'temperature' is not a list of {wanted} numbers")
        if not all(_is_number(each) and 1 / MAX_TEMPERATURE <= each <= MAX_TEMPERATURE for each in temperature):
            raise ValueError(f"a temperature is not a number from {1 / MAX_TEMPERATURE:g} to {MAX_TEMPERATURE:g}")
        photos, sets = found.get("photos", 0), found.get("sets")
        return cls(
            method=method,
            activation=activation,
            temperature=tuple(map(float, temperature)),
            fitted_on=str(found.get("fitted_on", "")),
            photos=photos if type(photos) is int else 0,
            compared=_mapping(found.get("compared", {}), "compared"),
            note=str(found.get("note", "")),
            sets=None if sets is None else PredictionSets.from_json(sets),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """How far probabilities can be relied on.

    Attributes:
        loss: Mean negative log-likelihood of a photo, in nats; probabilities below 1e-12 count as 1e-12.
        brier: The Brier score (`zoo.metrics.reliability.brier_score`).
        calibration_error: The debiased calibration error (`zoo.metrics.reliability.debiased_calibration_error`).
    """

    loss: float
    brier: float
    calibration_error: float

    def to_dict(self) -> dict[str, float]:
        """Returns plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class SetCoverage:
    """How often the prediction sets of photos contain the right class.

    Attributes:
        promised: The coverage that was asked for, 0 to 1.
        measured: The share of the photos whose set contains their class.
        interval: Its 95 % interval (`zoo.metrics.intervals.wilson_interval`).
        size: Mean number of classes in a set.
    """

    promised: float
    measured: float
    interval: tuple[float, float]
    size: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityReport:
    """How far the probabilities of a model can be relied on, measured on labelled photos.

    Attributes:
        calibrated: Of the probabilities that the model returns.
        uncalibrated: Of those before their calibration; None if the model has none.
        sets: The coverage of prediction sets; empty if the model has none, or too few photos for these coverages.
    """

    calibrated: Reliability
    uncalibrated: Reliability | None = None
    sets: tuple[SetCoverage, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON."""
        sets = [{**asdict(each), "interval": list(each.interval)} for each in self.sets]
        return {**asdict(self), "sets": sets}


def check_coverage(coverage: float) -> None:
    """Checks that a coverage is a probability that sets can have.

    Raises:
        ConfigError: It is not between 0 and 1.
    """
    if not 0 < coverage < 1:
        raise ConfigError(f"The coverage is {coverage:g}.", hint="Pass a number between 0 and 1, such as 0.95.")


def needed_photos(coverage: float) -> int:
    """Returns how many photos a coverage needs: as many as give a set that does not always have all classes."""
    return math.ceil(coverage / (1 - coverage) - 1e-6)


def format_coverage(coverage: float) -> str:
    """Returns a coverage in percent: ``"95 %"``, ``"99.5 %"``."""
    return f"{100 * coverage:.6g} %"


def _mapping(value: Any, key: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"'{key}' is not an object")
    return value


def _choice(values: Mapping[str, Any], key: str, known: tuple[str, ...]) -> Any:
    value = values.get(key)
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"'{key}' is not one of {', '.join(known)}")
    return value


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)
