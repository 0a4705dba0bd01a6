"""Training in a process of its own."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from zoo.errors import RunError
from zoo.runs.open import open_run
from zoo_demo.teaching.lesson import open_lesson
from zoo_demo.teaching.training import Training, begin

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Dark and bright noise: two classes that anything can tell apart."""
    lesson, random = open_lesson(tmp_path, "shades"), np.random.default_rng(0)
    for label, low in (("bright", 160), ("dark", 0)):
        lesson.add_class(label)
        for _ in range(10):
            lesson.add(label, random.integers(low, low + 90, (40, 40, 3), dtype=np.uint8))
    return lesson.folder


def arguments(photos: Path, runs: Path) -> list[str]:
    sizes = ["--image-size", "32", "--epochs", "2", "--batch-size", "8", "--precision", "fp32"]
    return ["resnet18", "--data", str(photos), "--weights", "none", "--runs", str(runs), *sizes]


def wait(training: Training, seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while training.progress.running and time.monotonic() < deadline:
        time.sleep(0.05)


@pytest.mark.slow
def test_a_training_ends_with_a_run_and_an_exported_file(photos: Path, tmp_path: Path) -> None:
    taken: list[Training] = []

    training = begin(arguments(photos, tmp_path / "runs"), done=taken.append)
    wait(training)

    progress = training.progress
    assert progress.status == "finished", progress.error
    assert [row["epoch"] for row in progress.epochs] == [1, 2]
    assert progress.run is not None
    assert open_run(progress.run).finished
    assert progress.file == progress.run / "model.onnx"
    assert taken == [training]


def test_what_is_wrong_is_told(tmp_path: Path) -> None:
    training = begin(["resnet18", "--data", str(tmp_path / "nowhere"), "--runs", str(tmp_path)])
    wait(training)

    assert training.progress.status == "failed"
    assert "nowhere" in training.progress.error
    assert "Traceback" not in training.progress.error


def test_a_model_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    def done(training: Training) -> None:
        assert training.progress.running  # nobody is to try it yet
        raise RunError("It is broken.", hint="Make it again.")

    training = Training()
    training._hand_over(tmp_path / "model.onnx", done)

    assert (training.progress.status, training.progress.error) == ("failed", "It is broken.\nMake it again.")


@pytest.fixture
def _in_the_background() -> Iterator[None]:
    """Programs that a script starts with ``&`` ignore Ctrl-C, and so do those that they start."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_in_the_background")
def test_a_training_that_is_stopped_ends_soon(photos: Path, tmp_path: Path) -> None:
    training = begin([*arguments(photos, tmp_path / "runs"), "--epochs", "500"])
    while training.progress.status == "starting":
        time.sleep(0.05)
    training.end()

    assert training.progress.status == "stopped", training.progress
    (run,) = (tmp_path / "runs").glob("resnet18*")
    assert open_run(run).record["status"] == "interrupted"
