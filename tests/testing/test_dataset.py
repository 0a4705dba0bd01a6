from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from contract_offers import (
    IMAGES,
    SAMPLES,
    dataset_spec,
    png,
    violation,
)

import zoo
from zoo.testing import check_dataset


def test_a_good_dataset_passes(tmp_path: Path) -> None:
    caches: list[Path] = []

    def load(request: zoo.DatasetRequest) -> zoo.ImageSet:
        caches.append(request.cache)
        file = tmp_path / "a.png"
        file.write_bytes(png(9))
        return dataclasses.replace(IMAGES, val=(zoo.Sample(file, 0, "a.png"),))

    check_dataset(dataset_spec(load), cache=tmp_path)
    assert caches == [tmp_path / "reds"] * 2


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"name": "a/b"}, "the name of its ImageSet must be valid as a file name; it is 'a/b'"),
        ({"train": ()}, "train must not be empty"),
        ({"classes": ["dark", "bright"]}, "classes must be a tuple of names"),
        ({"classes": ("one",)}, "it must have at least two classes; it has 1"),
        ({"classes": ("one", "one")}, "the names of its classes must differ"),
        ({"classes": ("dark", "bright", "blue")}, "train must contain every class; it lacks ['blue']"),
        ({"test": (zoo.Sample(png(1), 2, "x"),)}, "labels must be from 0 to 1; that of 'x' in test is 2"),
        ({"test": (zoo.Sample(png(1), -1, "x"),)}, "labels must be from 0 to 1; that of 'x' in test is -1"),
        ({"test": SAMPLES[:1]}, "the names of its samples must be unique across all splits"),
        ({"val": (zoo.Sample("a.png", 0, "x"),)}, "source must be a Path or bytes; that of 'x' is str"),
        ({"val": (zoo.Sample(b"no image", 0, "x"),)}, "reading the image 'x' with Pillow raised"),
        ({"val": (zoo.Sample(Path("/nowhere.png"), 0, "x"),)}, "raised FileNotFoundError"),
        ({"val": ((png(1), 0, "x"),)}, "val must be a tuple of zoo.Sample"),
        (
            {"multi_label": True},
            "labels must be tuples in a multi-label set, as (0, 2) or (); that of '0.png' in train",
        ),
        (
            {"multi_label": True, "train": (zoo.Sample(png(1), (0,), "x"), zoo.Sample(png(2), (), "y")), "test": ()},
            "train must contain every class; it lacks ['bright']",
        ),
    ],
)
def test_a_broken_dataset_is_refused_with_the_violated_rule(
    changes: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    images = dataclasses.replace(IMAGES, **changes)
    message = violation(lambda: check_dataset(dataset_spec(lambda request: images), cache=tmp_path))
    assert message.startswith("dataset reds: ")
    assert sentence in message


def test_a_good_dataset_of_several_labels_passes(tmp_path: Path) -> None:
    train = tuple(zoo.Sample(png(n), labels, f"{n}.png") for n, labels in enumerate([(0, 1), (), (1,)]))
    images = zoo.ImageSet(name="reds", classes=("dark", "bright"), train=train, multi_label=True)
    check_dataset(dataset_spec(lambda request: images), cache=tmp_path)


def test_a_dataset_that_changes_between_loads_is_refused(tmp_path: Path) -> None:
    orders = iter([IMAGES, dataclasses.replace(IMAGES, train=IMAGES.train[::-1])])
    spec = dataset_spec(lambda request: next(orders))
    assert "two loads must give the same samples" in violation(lambda: check_dataset(spec, cache=tmp_path))


def test_a_dataset_that_raises_or_returns_something_else_is_refused(tmp_path: Path) -> None:
    assert "load() raised StopIteration" in violation(
        lambda: check_dataset(dataset_spec(lambda r: next(iter(()))), cache=tmp_path)
    )
    assert "not list" in violation(lambda: check_dataset(dataset_spec(lambda request: []), cache=tmp_path))
