"""Saves and loads the checkpoint from which a run is resumed."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from zoo.errors import RunError
from zoo.models.random_state import random_states
from zoo.models.weights import describe_pickle_error
from zoo.runs.run import CHECKPOINT, METRICS, WEIGHTS
from zoo.training.distributed.process_group import SINGLE_PROCESS
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
    """Everything that training changes.

    Attributes:
        network: The network, with its weights and buffers.
        optimizer: The optimizer, with its moments.
        state: The position of the training.
        average: The moving average of the weights, if there is one.
    """

    network: Classifier
    optimizer: torch.optim.Optimizer
    state: TrainState
    average: WeightAverage | None = None


def save_checkpoint(
    folder: Path,
    learner: Learner,
    *,
    metadata: Mapping[str, Any],
    device: torch.device,
    processes: ProcessGroup = SINGLE_PROCESS,
) -> None:
    """Writes a checkpoint, and returns once it is on the disk. If that fails, the previous one is still whole.

    Args:
        folder: The run folder.
        learner: The learner between two steps.
        metadata: Plain values; `describe_checkpoint` returns them.
        device: The device of the network.
        processes: The processes that train together; all of them call this function.

    Raises:
        RunError: The disk is full, or the folder cannot be written to.
    """
    state = learner.state
    own = {"random": random_states(device), "meter": None if state.meter is None else state.meter.state_dict()}
    process_states = processes.all_gather(own)
    if not processes.is_main:
        return
    content = {
        "network": learner.network.state_dict(),
        "optimizer": learner.optimizer.state_dict(),
        "average": None if learner.average is None else learner.average.state_dict(),
        "scaler": None if state.scaler is None else state.scaler.state_dict(),
        "processes": process_states,
        "about": {
            **metadata,
            "epoch": state.epoch,
            "step": state.step,
            "best_epoch": state.best_epoch,
            "best_accuracy": state.best_accuracy,
            "best_loss": state.best_loss,
            "best_score": state.best_score,
            "highest_score": state.highest_score,
            "stale_epochs": state.stale_epochs,
        },
        "best_losses": state.best_losses,
        "lowest_losses": state.lowest_losses,
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with atomic_write(folder / CHECKPOINT, durable=True) as aside:
        # After a power failure, the checkpoint must not record a best epoch whose weights are lost.
        sync_files(folder, (WEIGHTS, METRICS))
        aside.write_bytes(buffer.getbuffer())


def load_checkpoint(
    folder: Path, learner: Learner, *, device: torch.device, processes: ProcessGroup = SINGLE_PROCESS
) -> dict[str, Any] | None:
    """Restores a learner from the checkpoint of a run.

    Returns:
        The states of the random generators: pass them to `zoo.models.random_state.set_random_states` just before
        training continues. None for a process that the run did not have before.

    Raises:
        RunError: There is no checkpoint, it is damaged, or it belongs to another network.
    """
    content = processes.broadcast(lambda: _read(folder))
    try:
        metadata, process_states = content["about"], content["processes"]
        learner.network.load_state_dict(content["network"])
        learner.optimizer.load_state_dict(content["optimizer"])
        if learner.average is not None:
            learner.average.load_state_dict(content["average"])
        own = process_states[processes.rank] if processes.rank < len(process_states) else None
        learner.state.best_losses, learner.state.lowest_losses = content["best_losses"], content["lowest_losses"]
        _restore(learner.state, metadata, own, content["scaler"], device)
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(
            f"{folder / CHECKPOINT} does not fit the network that 'run.json' describes: {error}",
            hint="Was the run started with another version of the plugin? See 'plugins' in 'run.json'.",
        ) from error
    return None if own is None else own["random"]


def describe_checkpoint(folder: Path) -> Mapping[str, Any]:
    """Returns the metadata of a checkpoint, with its ``epoch`` and ``step``, without reading its tensors.

    Raises:
        RunError: There is no checkpoint, or it is damaged.
    """
    metadata = _read(folder, mmap=True).get("about")
    if not isinstance(metadata, dict) or not {"epoch", "step", "config", "seconds", "machine"} <= metadata.keys():
        raise RunError(
            f"{folder / CHECKPOINT} is not a checkpoint that this version can read.",
            hint="Was it written by another version? Start a new run.",
        )
    return metadata


def _restore(
    state: TrainState,
    metadata: Mapping[str, Any],
    own: Mapping[str, Any] | None,
    scaler: dict[str, Any] | None,
    device: torch.device,
) -> None:
    state.epoch, state.step = metadata["epoch"], metadata["step"]
    for name in ("best_epoch", "best_accuracy", "best_loss", "best_score", "highest_score", "stale_epochs"):
        setattr(state, name, metadata[name])
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
        raise RunError(f"The run {folder} has no {CHECKPOINT}: it is finished, or was not saved yet.") from None
    except Exception as error:  # torch raises half a dozen types for a damaged file
        reason = describe_pickle_error(error)
        raise RunError(
            f"{folder / CHECKPOINT} cannot be read: {reason}.", hint="Without it, --resume starts the run again."
        ) from error
    if not isinstance(content, dict):
        raise RunError(f"{folder / CHECKPOINT} cannot be read: it is not a checkpoint.")
    return content
