"""Tests of training in a separate process."""

from __future__ import annotations

import json
import signal
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from zoo.errors import RunError
from zoo.inference.session_predictor import open_cached
from zoo.plugins.registry import load_registry
from zoo.runs.open import open_run
from zoo_demo.lessons.lesson import open_lesson
from zoo_demo.lessons.training_process import TrainingProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Dark and bright noise: two classes that any network can separate."""
    lesson, random = open_lesson(tmp_path, "shades"), np.random.default_rng(0)
    for label, low in (("bright", 160), ("dark", 0)):
        lesson.add_class(label)
        for _ in range(10):
            lesson.add(label, random.integers(low, low + 90, (40, 40, 3), dtype=np.uint8))
    return lesson.folder


def arguments(photos: Path, runs: Path) -> list[str]:
    sizes = ["--image-size", "32", "--epochs", "2", "--batch-size", "8", "--precision", "fp32"]
    return ["resnet18", "--data", str(photos), "--weights", "none", "--runs", str(runs), *sizes]


def wait(training: TrainingProcess, seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while training.progress.running and time.monotonic() < deadline:
        time.sleep(0.05)


@pytest.mark.slow
def test_a_training_ends_with_a_run_and_an_exported_file(photos: Path, tmp_path: Path) -> None:
    trained: list[tuple[Path, bool]] = []
    exported: list[Path] = []

    def open_trained(run: Path) -> bool:
        cached = open_cached(open_run(run), device="cpu", registry=load_registry())
        trained.append((run, cached is not None))
        return True

    options = [*arguments(photos, tmp_path / "runs"), "--device", "cpu"]
    training = TrainingProcess(options, on_trained=open_trained, on_exported=exported.append)
    training.start()
    wait(training)

    progress = training.progress
    assert progress.status == "finished", progress.error
    assert [row["epoch"] for row in progress.epochs] == [1, 2]
    assert progress.run is not None
    assert open_run(progress.run).finished
    assert progress.file == progress.run / "model.onnx"
    assert trained == [(progress.run, True)]
    assert exported == [progress.file]


def test_the_error_of_the_command_is_reported(tmp_path: Path) -> None:
    training = TrainingProcess(["resnet18", "--data", str(tmp_path / "nowhere"), "--runs", str(tmp_path)])
    training.start()
    wait(training)

    assert training.progress.status == "failed"
    assert training.progress.message == "'zoo finetune' failed:"
    assert not training.progress.error.lower().startswith("error:")
    assert "nowhere" in training.progress.error
    assert "Traceback" not in training.progress.error


def test_a_model_that_cannot_be_opened_is_reported(tmp_path: Path) -> None:
    def fail(file: Path) -> None:
        assert training.progress.running  # the page must not offer the model yet
        raise RunError("It is broken.", hint="Make it again.")

    training = TrainingProcess([], on_exported=fail)
    training._finish(tmp_path / "model.onnx")

    assert (training.progress.status, training.progress.error) == ("failed", "It is broken.\nMake it again.")


def fail_to_open(run: Path) -> bool:
    raise RunError("It is broken.")


@pytest.mark.parametrize(
    ("on_trained", "usable", "message", "failure"),
    [
        (
            lambda run: True,
            True,
            "You can try the model below. Exporting",
            "You can try the model below, but 'zoo export'",
        ),
        (lambda run: False, False, "Exporting to ONNX", "'zoo export' failed:"),
        (fail_to_open, False, "Exporting to ONNX", "'zoo export' failed:"),
    ],
)
def test_a_trained_run_can_be_tried_before_and_without_its_export(
    on_trained: Callable[[Path], bool], usable: bool, message: str, failure: str, tmp_path: Path
) -> None:
    training = TrainingProcess([], on_trained=on_trained)
    training._handle_event(json.dumps({"event": "Finished", "path": str(tmp_path)}))

    progress = training.progress
    assert (progress.status, progress.run, progress.usable, progress.file) == ("exporting", tmp_path, usable, None)
    assert progress.message.startswith(message)

    training._run_command(["export", str(tmp_path / "nothing")], lambda line: None)

    assert (training.progress.status, training.progress.usable) == ("failed", usable)
    assert training.progress.message.startswith(failure)
    assert "nothing" in training.progress.error


@pytest.fixture
def _in_the_background() -> Iterator[None]:
    """Ignores Ctrl-C, as programs do that a script starts with ``&``, and the programs that they start."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_in_the_background")
def test_a_stopped_training_ends_soon_and_saves_its_state(photos: Path, tmp_path: Path) -> None:
    training = TrainingProcess([*arguments(photos, tmp_path / "runs"), "--epochs", "500"])
    training.start()
    while training.progress.status == "starting":
        time.sleep(0.05)
    training.stop_and_wait()

    assert training.progress.status == "stopped", training.progress
    (run,) = (tmp_path / "runs").glob("resnet18*")
    assert open_run(run).record.status == "interrupted"
