"""Temperature scaling: fits temperatures on logits of photos that the network had not seen, and compares them."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.metrics.calibration import Calibration, Method
from zoo.metrics.reliability import log_losses, measure_reliability

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from zoo.plugins.specs import Activation

FOLDS = 5
_MIN_PHOTOS = 20  # to compare anything: each fold then holds out four
_MOST_NUMBERS = 2**22  # logits at a time, and of the photos that are used: a second or two
_PRIOR = 0.5  # the standard deviation of the logarithm of a temperature, before any photo was seen
_LOWEST, _HIGHEST = 1 / 20, 20.0
_TOLERANCE = 1e-3  # of the logarithm of a temperature


def calibrate(
    logits: NDArray[np.float32], targets: NDArray[Any], *, activation: Activation, wanted: str, seed: int
) -> Calibration:
    """Chooses how probabilities are calibrated, and fits it.

    Each method is fitted on four of five folds and measured on the fifth; the lowest log loss is chosen, and of equal
    ones the first: none, a temperature, and with several labels per photo one temperature for each label.

    Args:
        logits: Of photos that the network had not seen, ``(N, classes)``.
        targets: Classes ``(N,)``, or multi-hot ``(N, classes)``.
        activation: What turns logits into probabilities.
        wanted: ``"none"``, ``"temperature"`` (with several labels also one for each), or ``"auto"`` for the best.
        seed: Seeds the folds.
    """
    order = np.random.default_rng(seed).permutation(len(logits))[: max(1, _MOST_NUMBERS // logits.shape[1])]
    exact, targets = logits[order].astype(np.float64), targets[order]
    several: tuple[Method, ...] = ("temperature-per-label",) if targets.ndim == 2 else ()
    methods: tuple[Method, ...] = ("none", "temperature", *several)
    start = Calibration(method="none", activation=activation, photos=len(exact))
    if wanted == "none":
        return dataclasses.replace(start, note="as requested")
    if len(exact) < _MIN_PHOTOS:
        return dataclasses.replace(start, note=f"{len(exact)} photos are too few; {_MIN_PHOTOS} are needed")
    compared: dict[str, dict[str, float]] = {
        method: _cross_validate(exact, targets, method, activation) for method in methods
    }
    allowed = methods if wanted == "auto" else methods[1:]
    chosen = min(allowed, key=lambda method: compared[method]["loss"])
    return dataclasses.replace(
        start, method=chosen, temperature=fit_temperature(exact, targets, chosen, activation), compared=compared
    )


def fit_temperature(
    logits: NDArray[np.float64], targets: NDArray[Any], method: Method, activation: Activation
) -> tuple[float, ...]:
    """Returns the temperatures that maximise the likelihood times a prior.

    The logarithm of a temperature has a normal prior with mean 0, without which photos that are all classified
    correctly would make every probability 1. From some hundred photos on, it counts for little.

    Args:
        logits: ``(N, classes)``.
        targets: As for `calibrate`.
        method: The method.
        activation: As for `calibrate`. With sigmoids and one class per photo, the likelihood is that of all answers.
    """
    if method == "none":
        return ()
    if activation == "softmax":
        return (_fit_softmax(logits, targets),)
    answers = _answers(targets, logits.shape[1], activation)
    if method == "temperature":
        return (_fit_sigmoid(logits.ravel(), answers.ravel()),)
    return tuple(_fit_sigmoid(own, truth) for own, truth in zip(logits.T, answers.T, strict=True))


def to_probabilities(logits: NDArray[Any], temperature: Sequence[float], activation: Activation) -> NDArray[np.float64]:
    """Returns the probabilities of logits divided by a temperature, ``(N, classes)``."""
    scaled = logits.astype(np.float64) / np.array(temperature or 1.0)
    if activation == "softmax":
        return _softmax(scaled)
    return _sigmoid(scaled)


def remove_temperature(probabilities: NDArray[Any], calibration: Calibration) -> NDArray[np.float32]:
    """Returns the probabilities before their calibration, float32 ``(N, classes)``.

    They follow from the calibrated ones, so that an exported file needs no second output for them.

    Args:
        probabilities: Calibrated ones, ``(N, classes)``.
        calibration: Their calibration.
    """
    tiny = float(np.finfo(np.float32).tiny)
    found = np.empty(probabilities.shape, dtype=np.float32)
    rows = max(1, _MOST_NUMBERS // probabilities.shape[1])
    for start in range(0, len(found), rows):
        p = probabilities[start : start + rows].astype(np.float64)
        logits = np.log(np.maximum(p, tiny))
        if calibration.activation == "sigmoid":
            logits -= np.log(np.maximum(1 - p, tiny))
        logits *= np.array(calibration.temperature or 1.0)
        found[start : start + rows] = to_probabilities(logits, (), calibration.activation)
    return found


def _cross_validate(
    logits: NDArray[np.float64], targets: NDArray[Any], method: Method, activation: Activation
) -> dict[str, float]:
    """Returns how reliable a method makes the probabilities of photos that were held out while it was fitted."""
    folds, held_out = np.arange(len(logits)) % FOLDS, np.empty_like(logits)  # the photos are in random order
    for fold in range(FOLDS):
        fitted = folds != fold
        temperature = fit_temperature(logits[fitted], targets[fitted], method, activation)
        held_out[~fitted] = to_probabilities(logits[~fitted], temperature, activation)
    loss = float(log_losses(held_out, _answers(targets, logits.shape[1], activation)).mean())
    return {**measure_reliability(held_out, targets).to_dict(), "loss": loss}


def _answers(targets: NDArray[Any], classes: int, activation: Activation) -> NDArray[Any]:
    """Returns targets whose likelihood has a maximum: that of all answers where each output is an answer of its own."""
    return np.eye(classes, dtype=np.uint8)[targets] if targets.ndim == 1 and activation == "sigmoid" else targets


def _fit_softmax(logits: NDArray[np.float64], labels: NDArray[Any]) -> float:
    own = logits[np.arange(len(logits)), labels]

    def slope(factor: float) -> float:
        return float(((_softmax(factor * logits) * logits).sum(axis=1) - own).sum())

    return _fit(slope)


def _fit_sigmoid(logits: NDArray[np.float64], answers: NDArray[Any]) -> float:
    def slope(factor: float) -> float:
        return float(((_sigmoid(factor * logits) - answers) * logits).sum())

    return _fit(slope)


def _fit(slope: Callable[[float], float]) -> float:
    """Returns the temperature at which the negative log-posterior is lowest.

    Args:
        slope: The derivative of the negative log-likelihood of all photos by what multiplies the logits.
    """

    def posterior_slope(exponent: float) -> float:
        factor = math.exp(exponent)
        return factor * slope(factor) + exponent / _PRIOR**2

    low, high = -math.log(_HIGHEST), -math.log(_LOWEST)
    while high - low > _TOLERANCE:  # bisection: scipy, which has faster methods, takes longer to import
        middle = (low + high) / 2
        low, high = (low, middle) if posterior_slope(middle) > 0 else (middle, high)
    return math.exp(-(low + high) / 2)


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    values = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: NDArray[np.float64] = values / values.sum(axis=1, keepdims=True)
    return result


def _sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    result: NDArray[np.float64] = 0.5 * (1 + np.tanh(logits / 2))  # never overflows
    return result
