import dataclasses

import numpy as np
import pytest

from zoo.errors import RunError
from zoo.runs.predictions import PhotoPredictions, pool_predictions, read_predictions, write_predictions

CLASSES = ("cat", "=1+1", "a, b")


def make(*names, fold=1, seed=0):
    draw = np.random.default_rng(seed)
    return PhotoPredictions(
        names=names,
        groups=tuple("" if number % 2 else f"g{number}" for number in range(len(names))),
        folds=(fold,) * len(names),
        labels=draw.integers(3, size=len(names)),
        probabilities=draw.dirichlet([0.1] * 3, size=len(names)).astype(np.float32),
    )


def assert_equal(one, other):
    for field in dataclasses.fields(PhotoPredictions):
        assert np.array_equal(getattr(one, field.name), getattr(other, field.name))


def test_predictions_are_read_as_they_were_written(tmp_path):
    written = make("a/1.jpg", "-2.jpg", 'with "quotes".jpg', "two\nlines.jpg", *map(str, range(200)))
    write_predictions(tmp_path / "p.csv", written, CLASSES)
    assert_equal(read_predictions(tmp_path / "p.csv", CLASSES), written)


def test_several_are_pooled_in_their_order():
    pooled = pool_predictions([make("a", "b", fold=1), make("c", fold=2, seed=1)])
    assert (pooled.names, pooled.folds) == (("a", "b", "c"), (1, 1, 2))
    assert pooled.probabilities.shape == (3, 3)


@pytest.mark.parametrize("change", [lambda text: text[:40], lambda text: text.replace("cat", "dog"), lambda text: "x"])
def test_a_damaged_file_is_an_error_that_names_it(tmp_path, change):
    file = tmp_path / "p.csv"
    write_predictions(file, make("a", "b"), CLASSES)
    file.write_text(change(file.read_text()))
    with pytest.raises(RunError, match=r"p\.csv cannot be read"):
        read_predictions(file, CLASSES)


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(RunError, match=r"p\.csv cannot be read"):
        read_predictions(tmp_path / "p.csv", CLASSES)
