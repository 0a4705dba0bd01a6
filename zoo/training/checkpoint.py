"""Saves and loads the weights of a run, and the state that a run is resumed from."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from zoo.errors import RunError
from zoo.runs.run import CHECKPOINT, METRICS, WEIGHTS
from zoo.training.distributed.process_group import SINGLE_PROCESS
from zoo.training.random_state import random_states
from zoo.training.state import Meter, TrainState
from zoo.utils.files import atomic_write, require_regular_file, sync_files

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from zoo.models.classifier import Classifier
    from zoo.training.distributed.process_group import ProcessGroup
    from zoo.training.ema import WeightAverage


@dataclass(slots=True, kw_only=True)
class Learner:
    """All that a training changes.

    Attributes:
        network: Its weights and buffers.
        optimizer: With its moments.
        state: The place in the training.
        average: Of the weights, where one is kept.
    """

    network: Classifier
    optimizer: torch.optim.Optimizer
    state: TrainState
    average: WeightAverage | None = None


def save_checkpoint(
    folder: Path,
    learner: Learner,
    *,
    about: Mapping[str, Any],
    device: torch.device,
    processes: ProcessGroup = SINGLE_PROCESS,
) -> None:
    """Writes all that a resume_point needs, and returns when it is on the disk: whole, or the one before still is.

    Args:
        folder: A run folder.
        learner: As it is between two steps.
        about: Plain values, which `describe_checkpoint` returns.
        device: On which the network is.
        processes: Those that train together, all of which are here.

    Raises:
        RunError: The disk is full, or the folder cannot be written to.
    """
    state = learner.state
    own = {"random": random_states(device), "meter": None if state.meter is None else state.meter.state_dict()}
    own_states = processes.all_gather(own)  # each draws and sums for itself
    if not processes.is_main:
        return
    content = {
        "network": learner.network.state_dict(),
        "optimizer": learner.optimizer.state_dict(),
        "average": None if learner.average is None else learner.average.state_dict(),
        "scaler": None if state.scaler is None else state.scaler.state_dict(),
        "processes": own_states,
        "about": {
            **about,
            "epoch": state.epoch,
            "step": state.step,
            "best_accuracy": state.best_accuracy,
            "best_loss": state.best_loss,
        },
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with atomic_write(folder / CHECKPOINT, durable=True) as aside:
        sync_files(folder, (WEIGHTS, METRICS))  # power lost, it must not know of a best epoch whose weights are gone
        aside.write_bytes(buffer.getbuffer())


def load_checkpoint(
    folder: Path, learner: Learner, *, device: torch.device, processes: ProcessGroup = SINGLE_PROCESS
) -> dict[str, Any] | None:
    """Brings a learner back to where it was saved.

    Returns:
        What `zoo.training.random_state.set_random_states` is to be given right before training goes on; None for a process
        that the run did not have before.

    Raises:
        RunError: There is no checkpoint, it is broken, or it belongs to another network.
    """
    content = processes.broadcast(lambda: _read(folder))
    try:
        about, own_states = content["about"], content["processes"]
        learner.network.load_state_dict(content["network"])
        learner.optimizer.load_state_dict(content["optimizer"])
        if learner.average is not None:
            learner.average.load_state_dict(content["average"])
        own = own_states[processes.rank] if processes.rank < len(own_states) else None
        _restore(learner.state, about, own, content["scaler"], device)
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(
            f"{folder / CHECKPOINT} does not fit what 'run.json' describes: {error}",
            hint="Was the run begun with another version of the plugin? 'run.json' tells which.",
        ) from error
    return None if own is None else own["random"]


def describe_checkpoint(folder: Path) -> Mapping[str, Any]:
    """Returns what was said about a checkpoint, with its ``epoch`` and ``step``, without reading its tensors.

    Raises:
        RunError: There is none, or it is broken.
    """
    about = _read(folder, mmap=True).get("about")
    if not isinstance(about, dict) or not {"epoch", "step", "config", "seconds", "machine"} <= about.keys():
        raise RunError(f"{folder / CHECKPOINT} is no checkpoint that this version writes.", hint="Start the run anew.")
    return about


def _restore(
    state: TrainState,
    about: Mapping[str, Any],
    own: Mapping[str, Any] | None,
    scaler: dict[str, Any] | None,
    device: torch.device,
) -> None:
    state.epoch, state.step = about["epoch"], about["step"]
    state.best_accuracy, state.best_loss = about["best_accuracy"], about["best_loss"]
    if own is not None and own["meter"] is not None:
        state.meter = Meter(device)
        state.meter.load_state_dict(own["meter"])
    if state.scaler is not None and scaler:
        state.scaler.load_state_dict(scaler)


def _read(folder: Path, *, mmap: bool = False) -> dict[str, Any]:
    content: dict[str, Any]
    try:
        require_regular_file(folder / CHECKPOINT)
        content = torch.load(folder / CHECKPOINT, map_location="cpu", weights_only=True, mmap=mmap)
    except FileNotFoundError:
        raise RunError(f"The run {folder} has no {CHECKPOINT}: it is finished, or nothing was saved yet.") from None
    except Exception as error:  # torch raises half a dozen kinds for a broken file
        raise RunError(f"{folder / CHECKPOINT} cannot be read: {error}.") from error
    if not isinstance(content, dict):
        raise RunError(f"{folder / CHECKPOINT} cannot be read: it holds no checkpoint.")
    return content
