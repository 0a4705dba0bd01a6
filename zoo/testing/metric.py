"""The contract of a metric."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.metrics.chosen import metric_fault
from zoo.models.random_state import restore_random_states
from zoo.plugins.calls import resolve_callable
from zoo.plugins.specs import MetricRequest, MetricValue
from zoo.testing.contract import Contract, check_options, option_variants, seeded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import FrameType

    from numpy.typing import NDArray

    from zoo.plugins.specs import MetricSpec

    Compute = Callable[[MetricRequest], Any]

CLASSES = ("cat", "dog", "hot dog", "\N{SLICE OF PIZZA}")
PHOTOS = 60
MANY, SECONDS = 100_000, 5.0
_FEW, _MORE = 300, 1300  # photos, for counting the steps of Python


@restore_random_states()
def check_metric(spec: MetricSpec, *, options: Mapping[str, Any] | None = None) -> None:
    """Checks a metric on random predictions, with every choice of its options.

    Args:
        spec: The metric, as returned by the hook ``zoo_metrics``.
        options: Values of its options; those that are missing keep their defaults.

    Raises:
        AssertionError: The metric violates its contract; the message says what the contract requires.
    """
    contract = Contract(f"metric {spec.name}")
    instance = check_options(contract, spec.options, options or {})
    with seeded():
        for variant in (instance, *option_variants(instance)):
            names = list(_check_values(contract, spec, _request(variant), "of random predictions"))
            for what, request in _unusual(variant).items():
                found = list(_check_values(contract, spec, request, what))
                contract.require(
                    found == names,
                    f"compute() must give values of the same names for all photos; of random predictions they are "
                    f"{names}, {what} {found}",
                )
            _check_order(contract, spec, variant)
        _check_direction(contract, spec, instance)
        _check_steps(contract, spec, instance)
        _check_time(contract, spec, instance)


def _request(options: Any, *, photos: int = PHOTOS, classes: int = len(CLASSES)) -> MetricRequest:
    targets = np.random.randint(0, classes, photos)
    scores = np.random.standard_normal((photos, classes)) + 1.5 * np.eye(classes)[targets]
    return _make(np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True), targets, options, classes)


def _make(
    probabilities: NDArray[Any], targets: NDArray[Any], options: Any, classes: int = len(CLASSES)
) -> MetricRequest:
    names = CLASSES if classes == len(CLASSES) else tuple(f"class {number}" for number in range(classes))
    return MetricRequest(
        probabilities=probabilities.astype(np.float32), targets=targets.astype(np.int64), classes=names, options=options
    )


def _unusual(options: Any) -> dict[str, MetricRequest]:
    """Returns predictions as they occur in small splits, and with other losses."""
    usual = _request(options)
    p, targets = usual.probabilities, usual.targets
    some = targets != 1
    return {
        "where a class has no photos": _make(p[some], targets[some], options),
        "where all photos are of one class": _make(p[targets == 0], targets[targets == 0], options),
        "of a single photo": _make(p[:1], targets[:1], options),
        "of perfect predictions": _make(np.eye(len(CLASSES))[targets], targets, options),
        "where no prediction is right": _make(np.eye(len(CLASSES))[(targets + 1) % len(CLASSES)], targets, options),
        "where all classes are equally probable": _make(np.full(p.shape, 1 / len(CLASSES)), targets, options),
        "of sigmoids, whose rows do not sum to one": _make(np.sqrt(p), targets, options),
    }


def _check_values(contract: Contract, spec: MetricSpec, request: MetricRequest, what: str) -> dict[str, MetricValue]:
    probabilities, targets = request.probabilities.copy(), request.targets.copy()
    before = _random_state()
    with contract.calling(f"compute() {what}"):
        values = resolve_callable(spec.compute)(request)
    contract.require(
        np.array_equal(probabilities, request.probabilities) and np.array_equal(targets, request.targets),
        "compute() must not change probabilities or targets in place",
    )
    contract.require(
        before == _random_state(),
        "compute() must draw no random numbers from the global generator: the same predictions have the same values",
    )
    fault = metric_fault(values)
    contract.require(not fault, f"compute() {what} must return a value or a zoo.MetricValue by name; {fault}")
    with contract.calling(f"compute() {what}"):
        again = resolve_callable(spec.compute)(request)
    found, repeated = _to_numbers(values), _to_numbers(again)
    contract.require(
        _are_close(found, repeated, tolerance=0.0),
        f"compute() must return the same values for the same predictions, not {found} and {repeated}",
    )
    return {name: each if isinstance(each, MetricValue) else MetricValue(value=each) for name, each in values.items()}


def _random_state() -> tuple[bytes, int]:
    _, keys, position, *_ = np.random.get_state(legacy=True)
    return np.asarray(keys).tobytes(), int(position)


def _to_numbers(values: Mapping[str, MetricValue | float]) -> dict[str, float]:
    return {name: float(each.value if isinstance(each, MetricValue) else each) for name, each in values.items()}


def _are_close(a: Mapping[str, float], b: Mapping[str, float], *, tolerance: float) -> bool:
    return a.keys() == b.keys() and all(
        math.isclose(a[name], b[name], rel_tol=tolerance, abs_tol=tolerance)
        or (math.isnan(a[name]) and math.isnan(b[name]))
        for name in a
    )


def _check_order(contract: Contract, spec: MetricSpec, options: Any) -> None:
    request = _request(options)
    order = np.random.permutation(PHOTOS)
    shuffled = _make(request.probabilities[order], request.targets[order], options)
    found = _to_numbers(_check_values(contract, spec, request, "of random predictions"))
    other = _to_numbers(_check_values(contract, spec, shuffled, "of shuffled predictions"))
    contract.require(
        _are_close(found, other, tolerance=1e-6),
        f"the values must not depend on the order of the photos; they are {found}, and {other} in another order",
    )


def _check_direction(contract: Contract, spec: MetricSpec, options: Any) -> None:
    requests = _unusual(options)
    best, worst = (
        next(iter(_check_values(contract, spec, requests[what], what).items()))
        for what in ("of perfect predictions", "where no prediction is right")
    )
    better = best[1].value - worst[1].value
    contract.require(
        not (better < 0 if spec.higher_is_better else better > 0),
        f"higher_is_better is {spec.higher_is_better}, but its first value, '{best[0]}', is {best[1].value:g} for "
        f"perfect predictions and {worst[1].value:g} where none is right",
    )


def _check_steps(contract: Contract, spec: MetricSpec, options: Any) -> None:
    few, more = (_count_steps(spec, _request(options, photos=photos)) for photos in (_FEW, _MORE))
    contract.require(
        more - few < (_MORE - _FEW) / 2,
        f"compute() must not loop over the photos in Python, which takes seconds for {MANY:,}: use numpy's functions "
        f"on whole arrays; it took {few:,} steps for {_FEW} photos and {more:,} for {_MORE:,}",
    )


def _count_steps(spec: MetricSpec, request: MetricRequest) -> int:
    """Returns how many lines of Python a call runs, whatever the machine is busy with."""
    steps = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal steps
        steps += event in ("line", "call")
        return trace

    compute = resolve_callable(spec.compute)
    compute(request)  # what it imports counts only once
    previous = sys.gettrace()
    sys.settrace(trace)
    try:
        compute(request)
    finally:
        sys.settrace(previous)
    return steps


def _check_time(contract: Contract, spec: MetricSpec, options: Any) -> None:
    request = _request(options, photos=MANY, classes=10)
    contract.call_within(SECONDS, f"compute() for {MANY:,} photos", lambda: resolve_callable(spec.compute)(request))
