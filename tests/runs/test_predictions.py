import dataclasses

import numpy as np
import pytest

from zoo.errors import RunError
from zoo.runs.predictions import PhotoPredictions, pool_predictions, read_predictions, write_predictions

CLASSES = ("cat", "=1+1", "a, b")


def make(*names, fold=1, seed=0, multi_label=False):
    draw = np.random.default_rng(seed)
    shape = (len(names), 3) if multi_label else (len(names),)
    labels, predicted = (draw.integers(2 if multi_label else 3, size=shape) for _ in range(2))
    return PhotoPredictions(
        names=names,
        groups=tuple("" if number % 2 else f"g{number}" for number in range(len(names))),
        folds=(fold,) * len(names),
        labels=labels,
        predicted=predicted,
        probabilities=draw.dirichlet([0.1] * 3, size=len(names)).astype(np.float32),
    )


def assert_equal(one, other):
    for field in dataclasses.fields(PhotoPredictions):
        assert np.array_equal(getattr(one, field.name), getattr(other, field.name))


def test_predictions_are_read_as_they_were_written(tmp_path):
    written = make("a/1.jpg", "-2.jpg", 'with "quotes".jpg', "two\nlines.jpg", *map(str, range(200)))
    write_predictions(tmp_path / "p.csv", written, CLASSES)
    assert_equal(read_predictions(tmp_path / "p.csv", CLASSES, multi_label=False), written)


@pytest.mark.parametrize("classes", [CLASSES, ("a|b", "c;d", "e,f"), ("|", ";,/\t", "\n")])
def test_labels_of_any_name_are_read_as_they_were_written(tmp_path, classes):
    written = make(*map(str, range(60)), multi_label=True)
    assert not written.labels.any(axis=1).all(), "a photo without a label"
    write_predictions(tmp_path / "p.csv", written, classes)
    read = read_predictions(tmp_path / "p.csv", classes, multi_label=True)
    assert_equal(read, written)
    assert (read.labels.dtype, read.predicted.dtype) == (np.uint8, bool)
    with pytest.raises(RunError, match="its columns are not those of the run"):
        read_predictions(tmp_path / "p.csv", classes, multi_label=False)


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
        read_predictions(file, CLASSES, multi_label=False)


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(RunError, match=r"p\.csv cannot be read"):
        read_predictions(tmp_path / "p.csv", CLASSES, multi_label=False)
