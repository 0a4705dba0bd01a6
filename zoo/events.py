"""What the library tells while it works: plain values, handed to an observer. The library itself never prints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Something the user should know.

    Attributes:
        text: One sentence.
        warning: Whether it may make the result worse than expected.
    """

    text: str
    warning: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Progress of something that is not training: a download, decoding, keeping features.

    Attributes:
        what: ``"decode"``, ``"download hotdog.zip"``.
        done: How much is done, in whatever is counted.
        total: Of how much, or None when unknown.
    """

    what: str
    done: int
    total: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """Everything is checked, loaded and built; training begins.

    Attributes:
        run: Name of the run folder.
        backbone: Qualified name.
        head: Qualified name.
        weights: What was loaded, in one line.
        data: Name of the dataset.
        images: Count of photos a part: ``{"train": 1800, "val": 200, "test": 800}``.
        classes: Names.
        parameters: Count of all.
        trainable: Count of those that will change.
        device: ``"cpu"``, ``"cuda:0"``.
        precision: ``"fp32"``, ``"tf32"``, ``"bf16"``, ``"fp16"``.
        processes: How many train together.
        epochs: How many there will be.
        steps: Optimiser steps an epoch.
    """

    run: str
    backbone: str
    head: str
    weights: str
    data: str
    images: dict[str, int]
    classes: tuple[str, ...]
    parameters: int
    trainable: int
    device: str
    precision: str
    epochs: int
    steps: int
    processes: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """One optimiser step, told now and then.

    Attributes:
        epoch: From 1.
        step: From 1 within the epoch.
        steps: Steps an epoch.
        loss: Mean over the epoch so far.
        accuracy: On the augmented training batches of the epoch so far; NaN where targets are mixed.
        images_per_second: Over the epoch so far.
        seconds_left: Of the whole training, estimated.
    """

    epoch: int
    step: int
    steps: int
    loss: float
    accuracy: float
    images_per_second: float
    seconds_left: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochResult:
    """One finished epoch, evaluated. A row of ``metrics.jsonl``.

    Attributes:
        epoch: From 1; 0 is the probe, before any fine-tuning.
        train_loss: Mean over the epoch's (augmented) batches.
        train_accuracy: On the same batches; NaN where targets are mixed.
        val_loss: On the validation part, with the weights as they are after the epoch.
        val_accuracy: Top-1, 0 to 1.
        learning_rate: Of the backbone at the epoch's last step.
        seconds: Training and validation.
        images_per_second: Training alone.
        best: Whether it is the best epoch so far.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    learning_rate: float
    seconds: float
    images_per_second: float
    best: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The run folder is whole.

    Attributes:
        path: Of the run folder.
        results: As under ``results`` in ``run.json``.
    """

    path: str
    results: dict[str, Any]


Event = Note | Work | Started | StepResult | EpochResult | Finished
Observer = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Observes nothing."""


# What happens (``"download hotdog.zip"``), how much of it is done, and of how much (None when unknown).
Progress = Callable[[str, int, int | None], None]


def no_progress(what: str, done: int, total: int | None) -> None:
    """Reports nothing."""
