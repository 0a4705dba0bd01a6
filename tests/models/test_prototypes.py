import numpy as np
import pytest

from zoo.models.prototypes import (
    NEIGHBOURS,
    choose_prototypes,
    choose_threshold,
    compute_familiarity,
    count_prototypes,
    to_units,
)


def make_vectors(*directions, each=40, width=16, noise=0.1):
    """Returns vectors around some axes, of lengths that must not matter."""
    random = np.random.default_rng(0)
    axes = np.eye(width, dtype=np.float32)[list(directions)].repeat(each, axis=0)
    lengths = random.uniform(0.5, 20, (len(axes), 1)).astype(np.float32)
    return lengths * (axes + noise * random.standard_normal(axes.shape).astype(np.float32))


def score(vectors, prototypes):
    return compute_familiarity(vectors, prototypes, neighbours=min(NEIGHBOURS, len(prototypes)))


def test_prototypes_are_unit_vectors_that_tell_strangers_apart():
    prototypes = choose_prototypes(make_vectors(0, 1, 2), 12, seed=0)
    assert (prototypes.shape, prototypes.dtype) == ((12, 16), np.float16)
    np.testing.assert_allclose(np.linalg.norm(prototypes.astype(np.float32), axis=1), 1, atol=2e-3)
    known, strangers = score(make_vectors(0, 1, 2, each=9), prototypes), score(make_vectors(5, 6), prototypes)
    assert known.dtype == np.float32
    assert known.min() > 0.8 > strangers.max()
    again = choose_prototypes(make_vectors(0, 1, 2), 12, seed=0)
    np.testing.assert_array_equal(prototypes, again)


def test_every_photo_is_a_prototype_where_there_are_few():
    vectors = make_vectors(0, 1, each=1)
    prototypes = choose_prototypes(vectors, 100, seed=0)
    np.testing.assert_allclose(prototypes, to_units(vectors), atol=1e-3)
    assert score(vectors, prototypes).shape == (2,)


def test_photos_without_a_direction_and_equal_photos_are_no_problem():
    nothing, equal = np.zeros((30, 4), dtype=np.float32), np.ones((30, 4), dtype=np.float32)
    assert score(nothing, choose_prototypes(nothing, 5, seed=0)).tolist() == [0] * 30
    found = score(np.stack([equal[0], -equal[0], nothing[0]]), choose_prototypes(equal, 5, seed=0))
    np.testing.assert_allclose(found, [1, -1, 0], atol=1e-3)


@pytest.mark.parametrize(("photos", "below"), [(5, 0), (19, 0), (39, 1), (100, 4), (1000, 49)])
def test_the_threshold_lets_95_percent_of_the_photos_pass(photos, below):
    scores = np.random.default_rng(0).permutation(np.linspace(0.2, 0.9, photos)).astype(np.float32)
    assert int((scores < choose_threshold(scores, share=0.95)).sum()) == below


def test_the_promise_of_the_threshold_holds_for_new_photos():
    random = np.random.default_rng(0)
    passed = [
        float((random.gamma(2, size=400) >= choose_threshold(random.gamma(2, size=60), share=0.95)).mean())
        for _ in range(300)
    ]
    assert 0.95 <= np.mean(passed) < 0.965


@pytest.mark.parametrize(
    ("classes", "width", "parameters", "count"),
    [
        (2, 320, 3_400_000, 100),
        (60, 320, 3_400_000, 120),
        (5_000, 320, 3_400_000, 400),
        (10, 512, 100_000, 19),  # 20 kB of 400 kB
        (10, 512, 1_000, 3),
    ],
)
def test_many_classes_get_more_prototypes_and_small_networks_fewer(classes, width, parameters, count):
    assert count_prototypes(classes=classes, width=width, parameters=parameters) == count
