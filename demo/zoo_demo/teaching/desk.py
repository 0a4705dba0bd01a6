"""What the page of teaching works on: lessons, their trainings, and the models that come of them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from zoo.errors import ConfigError
from zoo.inference.open import find_model, load_model
from zoo_demo.served import Served
from zoo_demo.teaching.lesson import Lesson, list_lessons, open_lesson
from zoo_demo.teaching.training import Training, begin

if TYPE_CHECKING:
    from zoo_demo.offer import Offer

FEWEST = 2  # photos of a class: one to learn from, one to choose the epoch by


class Desk:
    """Lessons below the folder of runs; one of them trains at a time.

    Args:
        offer: Taught models join what is on offer.
    """

    def __init__(self, offer: Offer) -> None:
        self._offer = offer
        self._folder = offer.runs / "lessons"
        self._trainings: dict[str, Training] = {}
        self._lock = threading.Lock()

    def names(self) -> list[str]:
        """Returns the names of the lessons there are."""
        return list_lessons(self._folder)

    def lesson(self, name: str) -> Lesson:
        """Returns a lesson, which need not exist yet; raises `ConfigError` where it cannot be called so."""
        return open_lesson(self._folder, name)

    def training(self, name: str) -> Training | None:
        """Returns the last training of a lesson since the server started."""
        return self._trainings.get(self.lesson(name).name)

    def served(self, name: str) -> Served | None:
        """Returns the model that a lesson has taught, once there is one."""
        return self._offer.served.get(_model_name(self.lesson(name)))

    def train(
        self, name: str, *, backbone: str, head: str, head_alone: bool, pretrained: bool, epochs: int
    ) -> Training:
        """Begins a training.

        Args:
            name: Of the lesson.
            backbone: From the registry.
            head: From the registry.
            head_alone: Whether the backbone stays as it is, which takes seconds.
            pretrained: Whether the backbone begins with its pretrained weights.
            epochs: How often it sees all photos.

        Raises:
            ConfigError: There are too few photos or classes, or another lesson is being trained.
        """
        lesson = self.lesson(name)
        _check_photos(lesson)
        arguments = [backbone, "--data", str(lesson.folder), "--head", head, "--runs", str(self._offer.runs)]
        arguments += ["--device", self._offer.device, "--epochs", str(epochs)]
        if not pretrained:
            arguments += ["--weights", "none"]
        elif head_alone:
            arguments += ["--freeze", "all"]
        with self._lock:
            if busy := next((each for each, training in self._trainings.items() if training.progress.running), None):
                raise ConfigError(f"The lesson '{busy}' is being trained.", hint="Wait for its end, or stop it.")
            training = self._trainings[lesson.name] = begin(arguments, done=lambda each: self._take(lesson, each))
        return training

    def _take(self, lesson: Lesson, training: Training) -> None:
        file = training.progress.file
        assert file is not None
        predictor = load_model(find_model(file, runs=self._offer.runs), device=self._offer.device)
        name = _model_name(lesson)
        earlier = self._offer.served.get(name)
        self._offer.served[name] = Served(name, predictor)
        if earlier is not None:
            earlier.batcher.close()


def _model_name(lesson: Lesson) -> str:
    return f"lesson: {lesson.name}"


def _check_photos(lesson: Lesson) -> None:
    counts = lesson.classes()
    if len(counts) < 2:
        raise ConfigError("A lesson needs two classes or more.", hint="Add classes, and photos to each.")
    if few := [label for label, count in counts.items() if count < FEWEST]:
        raise ConfigError(f"The class '{few[0]}' has fewer than {FEWEST} photos.", hint="Ten or more make sense.")
