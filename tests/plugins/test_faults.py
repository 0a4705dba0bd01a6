import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from contract_offers import CARD, IMAGES, png
from criteria import make_criterion

import zoo
from zoo.plugins.faults import card_fault, findings_fault, image_set_fault, probabilities_fault

GOOD = torch.tensor([[0.25, 0.75, 0.0], [1.0, 0.0, 0.0]])


def check(probabilities, *, loss="cross-entropy"):
    return probabilities_fault(probabilities, shape=(2, 3), criterion=make_criterion(loss))


def test_probabilities_may_be_arrays_and_tensors():
    assert check(GOOD) == check(GOOD.numpy()) == ""
    assert probabilities_fault(GOOD / 2, shape=(2, 3)) == ""


@pytest.mark.parametrize(
    ("probabilities", "fault"),
    [
        (None, "they are NoneType"),
        ([[0.25, 0.75]], "they are list"),
        (GOOD[:1], "they are (1, 3) float32, not (2, 3) float32"),
        (GOOD[:, :2], "they are (2, 2) float32, not (2, 3) float32"),
        (GOOD[0], "they are (3,) float32, not (2, 3) float32"),
        (GOOD.double(), "they are (2, 3) float64, not (2, 3) float32"),
        (GOOD.numpy().astype(np.float16), "they are (2, 3) float16, not (2, 3) float32"),
        (torch.full((2, 3), float("nan")), "they contain NaN"),
        (GOOD - 0.5, "they range from -0.5 to 0.5, not from 0 to 1"),
        (GOOD * 100, "they range from 0 to 100, not from 0 to 1"),
        (GOOD / float("inf") + float("inf"), "they range from inf to inf, not from 0 to 1"),
        (GOOD * 0.5, "those of an image sum to 0.5, not to 1"),
    ],
)
def test_what_is_no_probability_is_described(probabilities, fault):
    assert check(probabilities) == fault


def test_the_probabilities_of_independent_classes_need_not_sum_to_one():
    assert check(torch.full((2, 3), 0.9), loss="bce") == ""
    assert check(torch.full((2, 3), 0.9), loss="focal") == "those of an image sum to 2.7, not to 1"


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"name": "../../etc"}, "the name of its ImageSet must be valid as a file name; it is '../../etc'"),
        ({"name": None}, "the name of its ImageSet must be valid as a file name; it is None"),
        ({"note": None}, "note must be text; it is None"),
        ({"skipped": ["a"]}, "skipped must be a tuple of texts"),
        ({"classes": ("dark", 3)}, "classes must be a tuple of names"),
        ({"train": list(IMAGES.train)}, "train must be a tuple of zoo.Sample"),
        ({"val": (zoo.Sample(png(1), np.int64(1), "x"),)}, "labels must be int; that of 'x' in val is int64"),
        ({"val": (zoo.Sample(png(1), True, "x"),)}, "labels must be int; that of 'x' in val is bool"),
        ({"val": (zoo.Sample(png(1), 1, None),)}, "the name of a sample must be text; one in val is None"),
        ({"val": (zoo.Sample("a.png", 1, "x"),)}, "a source must be a Path or bytes; that of 'x' is str"),
        ({"multi_label": 1}, "multi_label must be True or False; it is 1"),
        (
            {"val": (zoo.Sample(png(1), (0, 1), "x"),)},
            "labels must be int unless multi_label is True; that of 'x' in val is (0, 1)",
        ),
        ({"val": IMAGES.train[:1]}, "the names of its samples must be unique across all splits"),
    ],
)
def test_what_is_wrong_with_a_dataset_is_described(changes, fault):
    assert image_set_fault(dataclasses.replace(IMAGES, **changes)) == fault


def test_good_results_have_no_fault():
    assert image_set_fault(dataclasses.replace(IMAGES, val=(zoo.Sample(Path("a.png"), 0, "a.png"),))) == ""
    assert findings_fault([zoo.Finding(about="a", status="ok", text="b")]) == ""
    assert image_set_fault(None, subject="load()") == "load() must return a zoo.ImageSet, not NoneType"


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"preprocess": None}, "the preprocess of its card must be a zoo.Preprocess, not NoneType"),
        ({"weights": "v1"}, "the weights of its card must be a zoo.WeightsInfo or None, not str"),
    ],
)
def test_what_is_wrong_with_a_card_is_described(changes, fault):
    assert card_fault(CARD) == ""
    assert card_fault({}) == "card() must return a BackboneCard, not dict"
    assert card_fault(dataclasses.replace(CARD, **changes)) == fault


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"size": (224,)}, "preprocess.size must be (height, width) in whole pixels; it is (224,)"),
        ({"size": (224, 0)}, "preprocess.size must be (height, width) in whole pixels; it is (224, 0)"),
        ({"resize": 0}, "preprocess.resize must be a length in pixels; it is 0"),
        ({"interpolation": "cubic"}, "preprocess.interpolation must be one of bilinear, bicubic; it is 'cubic'"),
        ({"mean": (120.0, 110.0, 100.0)}, "preprocess.mean and std must be three numbers each, in units of x / 255"),
        ({"std": (0.5, 0.5, 0.0)}, "preprocess.mean and std must be three numbers each, in units of x / 255"),
    ],
)
def test_what_is_wrong_with_its_preprocessing_is_described(changes, fault):
    preprocess = dataclasses.replace(CARD.preprocess, **changes)
    assert card_fault(dataclasses.replace(CARD, preprocess=preprocess)).startswith(fault)


@pytest.mark.parametrize(
    ("label", "fault"),
    [
        ((), ""),
        ((0, 1), ""),
        (1, "labels must be tuples in a multi-label set, as (0, 2) or (); that of 'x' in train is 1"),
        ([0, 1], "labels must be tuples in a multi-label set, as (0, 2) or (); that of 'x' in train is [0, 1]"),
        ((0, True), "labels must be int; that of 'x' in train is bool"),
        ((np.int64(0),), "labels must be int; that of 'x' in train is int64"),
        ((0, 2), "labels must be from 0 to 1; that of 'x' in train is 2"),
        ((-1, 0), "labels must be from 0 to 1; that of 'x' in train is -1"),
        ((1, 0), "the labels of a sample must be in ascending order; those of 'x' in train are (1, 0)"),
        ((1, 1), "the labels of a sample must be different; those of 'x' in train are (1, 1)"),
    ],
)
def test_what_is_wrong_with_sets_of_labels_is_described(label, fault):
    images = zoo.ImageSet(name="x", classes=("a", "b"), train=(zoo.Sample(png(1), label, "x"),), multi_label=True)
    assert image_set_fault(images) == fault
