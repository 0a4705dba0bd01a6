from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize

from zoo.data.images.decode import decode
from zoo.errors import ConfigError, DataError
from zoo.plugins.options import make_options
from zoo.plugins.specs import DatasetRequest
from zoo.testing import check_dataset
from zoo_datasets import zoo_datasets
from zoo_datasets.cartoon import CLASSES, CartoonOptions, load

(SPEC,) = (spec for spec in zoo_datasets() if spec.name == "hotdog-cartoon")


def draw(**options):
    return load(DatasetRequest(cache=Path("nowhere"), options=CartoonOptions(**options)))


def pixels(samples):
    return np.stack([decode(sample.source) for sample in samples])


def test_the_dataset_fulfils_the_contract(tmp_path):
    check_dataset(SPEC, cache=tmp_path, options={"images": "5", "size": "24"})


def test_note_and_summary_say_that_these_are_drawings():
    images = draw(images=5, size=16)
    assert "generated drawings" in images.note
    assert "not photos" in SPEC.summary
    assert "cartoon" in images.name


def test_more_than_the_memory_holds_is_an_error_before_drawing():
    with pytest.raises(DataError, match=r"The drawings would take \d+\.\d GiB, more than half of the available memory"):
        draw(images=10_000_000, size=1024)


def test_splits_and_classes():
    images = draw(images=10, size=16)
    assert images.classes == CLASSES == ("hotdog", "not-hotdog")
    assert [len(split) for split in (images.train, images.val, images.test)] == [20, 4, 8]
    samples = images.train + images.val + images.test
    assert len({sample.name for sample in samples}) == len(samples)
    assert len({sample.source for sample in samples}) == len(samples)
    for split in (images.train, images.val, images.test):
        assert sum(sample.label for sample in split) * 2 == len(split)


@pytest.mark.parametrize("size", [16, 64, 97])
def test_images_have_the_requested_size(size):
    assert pixels(draw(images=5, size=size).train).shape == (10, size, size, 3)


def test_images_depend_on_the_seed_only():
    one = draw(images=6, size=32, seed=3)
    assert draw(images=6, size=32, seed=3) == one
    other = draw(images=6, size=32, seed=4)
    assert not {sample.source for sample in one.train} & {sample.source for sample in other.train}


def test_an_image_does_not_depend_on_the_number_of_images():
    few, many = draw(images=5, size=32), draw(images=12, size=32)
    assert {sample.name: sample.source for sample in few.train}.items() <= {
        sample.name: sample.source for sample in many.train
    }.items()


def test_drawing_leaves_the_global_random_state_alone():
    state = np.random.get_state()[1].tolist()
    images = pixels(draw(images=60, size=24).train)
    assert np.random.get_state()[1].tolist() == state
    # No image is almost black, white or of a single colour.
    assert (images.std(axis=(1, 2, 3)) > 8).all()
    assert (images.mean(axis=(1, 2, 3)) > 25).all()


def test_progress_is_reported():
    steps = []
    options = CartoonOptions(images=5, size=16)
    load(DatasetRequest(cache=Path("x"), options=options, progress=lambda *step: steps.append(step)))
    assert steps[-1] == ("draw cartoons", 16, 16)


def test_invalid_options_are_an_error():
    for invalid in ({"images": "0"}, {"size": "4"}, {"seed": "-1"}, {"colour": "red"}):
        with pytest.raises(ConfigError, match=f"option '{next(iter(invalid))}'"):
            make_options(CartoonOptions, invalid, owner="dataset hotdog-cartoon")


def test_colours_alone_do_not_separate_the_classes():
    images = draw(images=200, size=32)
    features, labels = histograms(images.train), np.array([sample.label for sample in images.train])
    held_out, truth = histograms(images.test), np.array([sample.label for sample in images.test])
    assert accuracy(features, labels, held_out, truth) < 0.8


def histograms(samples, bins=4):
    """Returns histograms of bins**3 colours, (N, bins**3), and a constant column."""
    codes = pixels(samples).astype(int) // (256 // bins) @ np.array([bins * bins, bins, 1])
    counts = np.stack([np.bincount(code.ravel(), minlength=bins**3) for code in codes])
    return np.hstack([np.sqrt(counts / codes[0].size) * 10, np.ones((len(codes), 1))])


def accuracy(features, labels, held_out, truth):
    """Returns the accuracy of a logistic regression on held-out images."""
    sign = 2 * labels - 1

    def loss(weights):
        margin = sign * (features @ weights)
        slope = -sign / (1 + np.exp(np.clip(margin, -50, 50)))
        value = np.logaddexp(0, -margin).mean() + 1e-3 * weights @ weights
        return value, features.T @ slope / len(sign) + 2e-3 * weights

    weights = minimize(loss, np.zeros(features.shape[1]), jac=True, method="L-BFGS-B").x
    return ((held_out @ weights > 0) == truth).mean()
