"""Tests of the lessons of a server: what can be trained, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from zoo.errors import ConfigError
from zoo.inference.predictor import PhotoPredictor
from zoo.plugins.registry import Registry
from zoo.preprocess import Preprocess
from zoo_demo.lessons import lesson_store
from zoo_demo.lessons.lesson_store import LessonStore
from zoo_demo.lessons.training_process import TrainingProcess, TrainingProgress
from zoo_demo.models.model_pool import ModelPool

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

OPTIONS: dict[str, Any] = {"backbone": "resnet18", "head": "linear", "head_only": True, "pretrained": True, "epochs": 3}


class FakeTraining(TrainingProcess):
    """Starts no process; records its arguments."""

    arguments: tuple[str, ...] = ()

    def start(self) -> None:
        FakeTraining.arguments = tuple(self._arguments)

    def finish(self) -> None:
        self.progress = TrainingProgress(status="finished")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LessonStore:
    monkeypatch.setattr(lesson_store, "TrainingProcess", FakeTraining)
    return LessonStore(ModelPool(models={}, runs=tmp_path, device="cpu", registry=Registry([])))


class FakePredictor(PhotoPredictor):
    """A model that tests identify by its runtime."""

    classes = ("cat", "dog")
    preprocess = Preprocess(size=(8, 8), resize=8)

    def __init__(self, runtime: str) -> None:
        self.runtime = runtime

    def probabilities(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        return np.zeros((len(images), 2), np.float32)


def fill(store: LessonStore, name: str, **counts: int) -> None:
    for label, count in counts.items():
        store.lesson(name).add_class(label)
        for shade in range(count):
            store.lesson(name).add(label, np.full((8, 8, 3), shade, np.uint8))


def test_too_few_classes_or_photos_are_an_error(store: LessonStore) -> None:
    fill(store, "a", cat=3)
    with pytest.raises(ConfigError, match="at least two classes"):
        store.train("a", **OPTIONS)
    fill(store, "a", dog=1)
    with pytest.raises(ConfigError, match="'dog' has fewer than 2 photos"):
        store.train("a", **OPTIONS)
    assert store.training("a") is None


def test_one_lesson_trains_at_a_time(store: LessonStore) -> None:
    for name in ("a", "b"):
        fill(store, name, cat=2, dog=2)
    training = store.train("a", **OPTIONS)
    assert isinstance(training, FakeTraining)

    with pytest.raises(ConfigError, match="The lesson 'a' is training"):
        store.train("b", **OPTIONS)
    training.finish()
    store.train("b", **OPTIONS)

    assert store.training("a") is training
    assert store.names() == ["a", "b"]


@pytest.mark.parametrize(
    ("changes", "options"),
    [
        ({}, ("--freeze", "all")),
        ({"head_only": False}, ()),
        ({"pretrained": False}, ("--weights", "none")),
    ],
)
def test_the_choice_on_the_page_becomes_options_of_the_command(
    store: LessonStore, tmp_path: Path, changes: dict[str, Any], options: tuple[str, ...]
) -> None:
    fill(store, "a", cat=2, dog=2)

    store.train("a", **{**OPTIONS, **changes})

    folder = str(tmp_path / "lessons" / "a")
    common = ("resnet18", "--data", folder, "--head", "linear", "--runs", str(tmp_path), "--device", "cpu")
    assert FakeTraining.arguments == (*common, "--epochs", "3", *options)


@pytest.mark.parametrize("cached", [True, False])
def test_a_run_with_a_cached_graph_is_the_model_until_its_file_replaces_it(
    store: LessonStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cached: bool
) -> None:
    opened: list[tuple[Path, str]] = []

    def open_cached(run: Path, *, device: str, registry: Registry) -> PhotoPredictor | None:
        opened.append((run, device))
        return FakePredictor("run") if cached else None

    monkeypatch.setattr(lesson_store, "open_run", lambda folder: folder)
    monkeypatch.setattr(lesson_store, "open_cached", open_cached)
    monkeypatch.setattr(lesson_store, "find_model", lambda file, runs: file)
    monkeypatch.setattr(lesson_store, "load_model", lambda file, device: FakePredictor(file.name))
    fill(store, "a", cat=2, dog=2)
    training = store.train("a", **OPTIONS)

    assert training._on_trained(tmp_path / "run") is cached

    assert opened == [(tmp_path / "run", "cpu")]
    model = store.model("a")
    assert (model.predictor.runtime if model else None) == ("run" if cached else None)

    training._on_exported(tmp_path / "model.onnx")

    replacement = store.model("a")
    assert replacement is not None
    assert replacement.predictor.runtime == "model.onnx"
