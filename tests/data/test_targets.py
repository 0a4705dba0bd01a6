import numpy as np
import pytest

from zoo.data.targets import make_targets, single_label
from zoo.errors import DataError
from zoo.plugins.specs import Sample


def make_samples(*labels):
    return [Sample(b"", label, f"{number}.jpg") for number, label in enumerate(labels)]


def test_one_label_for_each_photo_is_an_index():
    targets = make_targets(make_samples(2, 0), classes=3, multi_label=False)
    assert (targets.tolist(), targets.dtype) == ([2, 0], np.int64)


def test_several_labels_are_multi_hot():
    targets = make_targets(make_samples((0, 2), (), (1,)), classes=3, multi_label=True)
    assert (targets.tolist(), targets.dtype) == ([[1, 0, 1], [0, 0, 0], [0, 1, 0]], np.uint8)
    assert make_targets(make_samples(1, 0), classes=2, multi_label=True).tolist() == [[0, 1], [1, 0]]
    assert make_targets([], classes=3, multi_label=True).shape == (0, 3)


def test_no_label_of_several_is_picked_in_silence():
    with pytest.raises(DataError, match="is multi-label data"):
        make_targets(make_samples(0, (1,)), classes=2, multi_label=False)
    assert single_label(make_samples(1)[0]) == 1
