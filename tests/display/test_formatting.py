import math

import pytest

from zoo.display.formatting import (
    format_accuracy,
    format_classes,
    format_count,
    format_duration,
    format_estimate,
    format_option,
    format_percent,
    pluralize,
)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "about 5 s"),
        (41.0, "about 40 s"),
        (87.4, "about 85 s"),
        (88.0, "about 1 min"),
        (170.0, "about 3 min"),
        (7500.0, "about 2 h 5 min"),
    ],
)
def test_an_estimate_has_few_digits(seconds, text):
    assert format_estimate(seconds) == text


@pytest.mark.parametrize(("share", "text"), [(0.931, "93.1 %"), (1.0, "100.0 %"), (None, "-"), (math.nan, "-")])
def test_percent(share, text):
    assert format_percent(share) == text


def test_an_accuracy_shows_half_the_width_of_its_interval():
    assert format_accuracy(0.931, (0.911, 0.947)) == "93.1 % ± 1.8"
    assert format_accuracy(0.931) == "93.1 %"
    assert format_accuracy(None, (0, 1)) == "-"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.6, "1 min 0 s"),
        (192.3, "3 min 12 s"),
        (7500, "2 h 5 min"),
        (None, "-"),
        (math.inf, "-"),
        (math.nan, "-"),
    ],
)
def test_duration(seconds, text):
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0"), (999, "999"), (1000, "1.0 k"), (999_960, "1.0 M"), (11_177_538, "11.2 M")]
)
def test_count(number, text):
    assert format_count(number) == text


@pytest.mark.parametrize(
    ("value", "text"), [(True, "yes"), (False, "no"), (None, "none"), (1e-4, "0.0001"), ("sgd", "sgd")]
)
def test_option(value, text):
    assert format_option(value) == text


def test_classes():
    assert format_classes(["cat", "dog"]) == "2 classes (cat, dog)"
    assert format_classes(list("abcde")) == "5 classes (a, b, c, d, ...)"
    assert format_classes(list("abcde"), limit=5) == "5 classes (a, b, c, d, e)"


@pytest.mark.parametrize(("number", "text"), [(0, "no problems"), (1, "1 problem"), (2, "2 problems")])
def test_pluralize(number, text):
    assert pluralize(number, "problem") == text
