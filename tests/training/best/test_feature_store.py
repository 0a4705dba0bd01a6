"""The features that attempts of a search share."""

import torch
from searches import source

from zoo.training.best.attempts import Attempt
from zoo.training.best.feature_store import FeatureStore
from zoo.training.best.plan import DEFAULT, PROBE


def attempt(name, size=224, values=PROBE, photos=None):
    return Attempt(source=source(name), image_size=size, values=values, photos=photos)


def test_attempts_with_the_same_network_and_photos_share_features():
    store = FeatureStore(budget=1000)
    store.find(attempt("a"))["train"] = ((torch.zeros(10),), torch.zeros(10))
    assert "train" in store.find(attempt("a", values=DEFAULT))
    for other in (attempt("b"), attempt("a", 288), attempt("a", photos=100)):
        assert not store.find(other)


def test_those_that_were_used_longest_ago_make_room():
    store = FeatureStore(budget=100)
    for name in "ab":
        store.find(attempt(name))["train"] = torch.zeros(10)  # 40 bytes
    store.find(attempt("a"))
    store.find(attempt("c"))["train"] = torch.zeros(10)
    store.find(attempt("d"))
    assert not store.find(attempt("b"))
    assert store.find(attempt("a"))
