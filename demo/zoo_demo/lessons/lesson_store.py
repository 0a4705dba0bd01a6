"""All lessons of a server, their trainings, and the models that they teach."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from zoo.errors import ConfigError
from zoo.inference.open import find_model, load_model
from zoo.inference.session_predictor import open_cached
from zoo.runs.open import open_run
from zoo_demo.lessons.lesson import Lesson, list_lessons, open_lesson
from zoo_demo.lessons.training_process import TrainingProcess
from zoo_demo.models.served_model import ServedModel

if TYPE_CHECKING:
    from pathlib import Path

    from zoo.inference.predictor import PhotoPredictor
    from zoo_demo.models.model_pool import ModelPool

_MIN_PHOTOS = 2  # per class: one to train on, one to validate with


class LessonStore:
    """The lessons in the folder ``lessons`` below the folder of runs. One of them trains at a time.

    Args:
        pool: Receives the trained models.
    """

    def __init__(self, pool: ModelPool) -> None:
        self._pool = pool
        self._folder = pool.runs / "lessons"
        self._trainings: dict[str, TrainingProcess] = {}
        self._lock = threading.Lock()

    def names(self) -> list[str]:
        """Returns the names of all lessons."""
        return list_lessons(self._folder)

    def lesson(self, name: str | None) -> Lesson:
        """Returns the lesson of a name, whether it exists yet or not; raises `ConfigError` for an invalid name."""
        return open_lesson(self._folder, name)

    def training(self, name: str | None) -> TrainingProcess | None:
        """Returns the latest training of a lesson since the server started."""
        return self._trainings.get(self.lesson(name).name)

    def model(self, name: str | None) -> ServedModel | None:
        """Returns the model that a lesson has trained, if any."""
        return self._pool.models.get(_model_name(self.lesson(name)))

    def train(
        self, name: str, *, backbone: str, head: str, head_only: bool, pretrained: bool, epochs: int
    ) -> TrainingProcess:
        """Starts a training; its model joins the pool when it is trained, and is replaced by the exported file.

        Args:
            name: The lesson.
            backbone: A name in the registry.
            head: A name in the registry.
            head_only: Whether the backbone stays frozen, which takes seconds. Only with `pretrained`.
            pretrained: Whether the backbone starts from its pretrained weights.
            epochs: Passes over all photos.

        Raises:
            ConfigError: There are too few photos or classes, or another lesson is training.
        """
        lesson = self.lesson(name)
        _check_photos(lesson)
        arguments = [backbone, "--data", str(lesson.folder), "--head", head, "--runs", str(self._pool.runs)]
        arguments += ["--device", self._pool.device, "--epochs", str(epochs)]
        if not pretrained:
            arguments += ["--weights", "none"]
        elif head_only:
            arguments += ["--freeze", "all"]
        with self._lock:
            running = (each for each, training in self._trainings.items() if training.progress.running)
            if (busy := next(running, None)) is not None:
                raise ConfigError(f"The lesson '{busy}' is training.", hint="Wait until it is done, or stop it.")
            training = TrainingProcess(
                arguments,
                on_trained=lambda run: self._add_run(lesson, run),
                on_exported=lambda file: self._add_file(lesson, file),
            )
            self._trainings[lesson.name] = training
            training.start()
        return training

    def _add_run(self, lesson: Lesson, run: Path) -> bool:
        """Adds a run if its graph is cached, because this process is to import no torch; returns whether it is."""
        predictor = open_cached(open_run(run), device=self._pool.device, registry=self._pool.registry)
        if predictor is not None:
            self._add_model(lesson, predictor)
        return predictor is not None

    def _add_file(self, lesson: Lesson, file: Path) -> None:
        self._add_model(lesson, load_model(find_model(file, runs=self._pool.runs), device=self._pool.device))

    def _add_model(self, lesson: Lesson, predictor: PhotoPredictor) -> None:
        name = _model_name(lesson)
        previous = self._pool.models.get(name)
        self._pool.models[name] = ServedModel(name, predictor)
        if previous is not None:
            previous.batcher.close()


def _model_name(lesson: Lesson) -> str:
    return f"lesson: {lesson.name}"


def _check_photos(lesson: Lesson) -> None:
    counts = lesson.classes()
    if len(counts) < 2:
        raise ConfigError("A lesson needs at least two classes.", hint="Add classes, and photos to each of them.")
    if few := [label for label, count in counts.items() if count < _MIN_PHOTOS]:
        raise ConfigError(
            f"The class '{few[0]}' has fewer than {_MIN_PHOTOS} photos.", hint="Add at least ten for good results."
        )
