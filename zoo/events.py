"""Events: plain values that report progress to an observer. The library itself never prints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Something the user should know.

    Attributes:
        text: One sentence.
        warning: Whether the result may be worse than expected.
    """

    text: str
    warning: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Progress of work other than training: downloading, decoding, caching activations.

    Attributes:
        what: The work: ``"decode train"``, ``"download hotdog.zip"``.
        done: Units completed (bytes, photos).
        total: Units in all, or None if unknown.
    """

    what: str
    done: int
    total: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """Training begins: data and network are ready.

    Attributes:
        run: Name of the run folder.
        backbone: Qualified name.
        head: Qualified name.
        weights: One line about the initial weights.
        data: Name of the dataset.
        images: Number of photos per split: ``{"train": 1800, "val": 200, "test": 800}``.
        classes: Class names.
        parameters: Number of parameters.
        trainable: Number of trainable parameters.
        device: ``"cpu"``, ``"cuda:0"``.
        precision: ``"fp32"``, ``"tf32"``, ``"bf16"``, ``"fp16"``.
        epochs: Number of epochs.
        steps: Optimizer steps per epoch.
        processes: Number of processes that share each step.
        backbone_reason: Why the backbone was chosen if the user named none; otherwise empty.
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
    backbone_reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """How long the work ahead takes on this machine, estimated from its first batches or steps.

    Attributes:
        seconds: The estimated time.
        work: The work: ``"1,505 photos once through the backbone"``.
        at_most: Whether training may end earlier.
    """

    seconds: float
    work: str
    at_most: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """Progress within an epoch, reported after some of its steps.

    Attributes:
        epoch: Counted from 1.
        step: Counted from 1 within the epoch.
        steps: Steps per epoch.
        loss: Mean over the epoch so far.
        accuracy: On the augmented training batches of the epoch so far; NaN if images are mixed.
        images_per_second: Mean over the epoch so far.
        seconds_left: Estimated time until training ends.
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
    """The results of a finished epoch: one row of ``metrics.jsonl``.

    Attributes:
        epoch: Counted from 1; 0 is the linear probe before fine-tuning.
        train_loss: Mean over the augmented training batches of the epoch.
        train_accuracy: On the same batches, as `val_accuracy`; NaN if images are mixed.
        val_loss: On the validation split, with the weights after the epoch.
        val_accuracy: Top-1, 0 to 1; with several labels per photo, the share of the photos for which all labels are
            right at a probability of 0.5. The mAP is then among `metrics`, as ``mean_ap``.
        learning_rate: Of the backbone, at the last step of the epoch.
        seconds: Time for training and validation.
        images_per_second: Training throughput, without validation.
        best: Whether this is the best epoch so far.
        metrics: The values of the chosen metrics on the validation split, by name.
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
    metrics: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as plain values; without ``metrics`` if none were chosen."""
        return {name: value for name, value in asdict(self).items() if name != "metrics" or value}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The run folder is complete.

    Attributes:
        path: The run folder.
        results: The value of ``results`` in ``run.json``.
    """

    path: str
    results: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyStarted:
    """A search for the best values of options begins, or is continued.

    Attributes:
        study: Its name.
        storage: Where it is stored, as other processes name it.
        objective: What is optimised: ``"log-loss"``, ``"val-accuracy"``.
        higher_is_better: Whether a higher value is better.
        search: The values of each option: ``{"lr": "1e-05..0.01:log"}``.
        trials: The number of trials in all, or None if only the time limits them.
        done: Those that were finished or pruned before.
    """

    study: str
    storage: str
    objective: str
    higher_is_better: bool
    search: Mapping[str, str]
    trials: int | None
    done: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialResult:
    """A trial of a study has ended.

    Attributes:
        trial: Its number, counted from 1; other processes have the numbers in between.
        done: How many trials are finished or pruned.
        trials: How many are to be in all, or None.
        state: ``"finished"``, ``"pruned"`` or ``"failed"``.
        value: The value of its best epoch, or None.
        best: Whether it is the best finished one so far.
        best_value: The value of the best one, or None.
        values: The values that it tried, by option.
        epochs: The last epoch.
        seconds: Its duration.
        seconds_left: Estimated time until this process ends, or None.
        reason: Why it was pruned or failed; otherwise empty.
    """

    trial: int
    done: int
    trials: int | None
    state: str
    value: float | None
    best: bool
    best_value: float | None
    values: Mapping[str, Any]
    epochs: int
    seconds: float
    seconds_left: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyResult:
    """The search ends, for good or until it is continued.

    Attributes:
        study: The name of the study.
        objective: What is optimised.
        counts: The number of trials by state: ``{"finished": 31, "pruned": 9}``.
        best: The number of the best trial, counted from 1; None if none is finished.
        value: Its value, or None.
        first_value: The value of the first trial, which has the values of a run without a search; None if it is not
            finished.
        values: The best values by option.
        importances: The share of each option in what decides about the value, most important first.
        recipe: Path of the recipe with the best values, or empty.
        report: Path of the report, or empty.
        picture: Path of its picture, or empty.
        run: Path of the run folder of the best trial; empty if it is on another machine.
        train: The command that trains with the best values, or empty.
        missing: How many trials are left to do, apart from those that run in other processes.
    """

    study: str
    objective: str
    counts: Mapping[str, int]
    best: int | None
    value: float | None
    first_value: float | None
    values: Mapping[str, Any]
    importances: Mapping[str, float]
    recipe: str = ""
    report: str = ""
    picture: str = ""
    run: str = ""
    train: str = ""
    missing: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossValidated:
    """All folds of a cross-validation are trained, and its folder is complete.

    Attributes:
        path: The folder.
        results: The value of ``results`` in ``folds.json``.
        command: The command that trains the final model on all photos; empty if none can name the data.
    """

    path: str
    results: dict[str, Any]
    command: str = ""


Event = (
    Note
    | Work
    | Started
    | Estimate
    | StepResult
    | EpochResult
    | Finished
    | StudyStarted
    | TrialResult
    | StudyResult
    | CrossValidated
)
Observer = Callable[[Event], None]


def ignore(event: Event) -> None:
    """An observer that discards every event."""


# Called with the same three values as `Work` has: what, done, total.
Progress = Callable[[str, int, int | None], None]


def no_progress(what: str, done: int, total: int | None) -> None:
    """A progress callback that does nothing."""
