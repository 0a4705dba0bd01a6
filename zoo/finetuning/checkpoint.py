"""Saves and loads the weights of a run, and the state that a run is resumed from."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import safetensors
import safetensors.torch
import torch

from zoo.engine.fit import TrainState
from zoo.engine.processes import ALONE
from zoo.errors import RunError
from zoo.run import CHECKPOINT, WEIGHTS, Run, written_aside

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from zoo.engine.processes import Processes


def save_weights(folder: Path, classifier: nn.Module) -> None:
    """Writes ``model.safetensors``, whole or not at all."""
    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in classifier.state_dict().items()}
    content = safetensors.torch.save(state)  # in memory first: a full disk is then an OSError, which is told as one
    with written_aside(folder / WEIGHTS) as aside:
        aside.write_bytes(content)


def load_weights(run: Run, classifier: nn.Module) -> None:
    """Loads the weights of a run into its classifier, every one of them.

    Raises:
        RunError: The file is missing or broken, or belongs to another network.
    """
    try:
        classifier.load_state_dict(safetensors.torch.load_file(run.weights_path, device="cpu"))
    except FileNotFoundError:
        raise RunError(
            f"The run {run.path} has no {WEIGHTS}.", hint="It was stopped before its first epoch ended."
        ) from None
    except (safetensors.SafetensorError, OSError) as error:
        raise RunError(f"{run.weights_path} cannot be read: {error}.", hint="Is the file cut off?") from error
    except RuntimeError as error:
        raise RunError(
            f"{run.weights_path} does not fit {run.record.get('backbone')} with {run.record.get('head')}: {error}",
            hint="Was the run made with another version of the plugin? 'run.json' tells which.",
        ) from error


def save_checkpoint(
    folder: Path,
    *,
    classifier: nn.Module,
    optimizer: torch.optim.Optimizer,
    state: TrainState,
    average: nn.Module | None,
    device: torch.device,
    processes: Processes = ALONE,
) -> None:
    """Writes all that a resumption needs, as it is at the end of an epoch."""
    random_states = processes.gather(_random_state(device))  # dropout draws from torch's global generators
    if not processes.first:
        return
    content = {
        "classifier": classifier.state_dict(),
        "optimizer": optimizer.state_dict(),
        "average": None if average is None else average.state_dict(),
        "random_states": random_states,
        "epoch": state.epoch,
        "best_accuracy": state.best_accuracy,
        "best_loss": state.best_loss,
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with written_aside(folder / CHECKPOINT) as aside:
        aside.write_bytes(buffer.getbuffer())


def load_checkpoint(
    folder: Path,
    *,
    classifier: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: nn.Module | None,
    device: torch.device,
    processes: Processes = ALONE,
) -> TrainState:
    """Brings everything back to the end of the last finished epoch.

    Processes that the run did not have before draw random numbers of their own.

    Raises:
        RunError: There is no checkpoint, it is broken, or it belongs to another network.
    """
    content = processes.decide(lambda: _read(folder))
    try:
        classifier.load_state_dict(content["classifier"])
        optimizer.load_state_dict(content["optimizer"])
        if average is not None:
            average.load_state_dict(content["average"])
        random_states = content["random_states"]
    except (RuntimeError, ValueError, KeyError) as error:
        raise RunError(
            f"{folder / CHECKPOINT} does not fit what 'run.json' describes: {error}",
            hint="Was the run begun with another version of the plugin? 'run.json' tells which.",
        ) from error
    if processes.rank < len(random_states):
        _set_random_state(random_states[processes.rank], device)
    return TrainState(epoch=content["epoch"], best_accuracy=content["best_accuracy"], best_loss=content["best_loss"])


def _read(folder: Path) -> dict[str, Any]:
    content: dict[str, Any]
    try:
        content = torch.load(folder / CHECKPOINT, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise RunError(f"The run {folder} has no {CHECKPOINT}: it is finished, or never ended an epoch.") from None
    except Exception as error:  # torch raises half a dozen kinds for a broken file
        raise RunError(f"{folder / CHECKPOINT} cannot be read: {error}.") from error
    return content


def _random_state(device: torch.device) -> dict[str, torch.Tensor]:
    on_cuda = {"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {}
    return {"cpu": torch.get_rng_state(), **on_cuda}


def _set_random_state(state: dict[str, torch.Tensor], device: torch.device) -> None:
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], device)
