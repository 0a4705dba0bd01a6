"""Saves and loads the weights of a run. Imports torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import safetensors
import safetensors.torch

from zoo.errors import RunError
from zoo.models.finite import find_bad_entries
from zoo.models.weights import shorten, unreadable_weights
from zoo.runs.run import WEIGHTS, RunFolder
from zoo.utils.files import atomic_write, require_regular_file

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn


def save_weights(folder: Path, classifier: nn.Module) -> None:
    """Writes ``model.safetensors`` atomically.

    Raises:
        RunError: The disk is full, or the folder cannot be written to.
    """
    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in classifier.state_dict().items()}
    content = safetensors.torch.save(state)  # in memory first, so that a full disk raises an OSError in our code
    with atomic_write(folder / WEIGHTS) as temporary:
        temporary.write_bytes(content)


def load_weights(run: RunFolder, classifier: nn.Module) -> None:
    """Loads all weights of a run into its classifier.

    Raises:
        RunError: The file is missing or broken, belongs to another network, or has values that are not finite.
    """
    try:
        require_regular_file(run.weights_path)
        state = safetensors.torch.load_file(run.weights_path, device="cpu")
        classifier.load_state_dict(state)
    except FileNotFoundError:
        raise RunError(
            f"The run {run.path} has no {WEIGHTS}.", hint="It was stopped before the end of its first epoch."
        ) from None
    except safetensors.SafetensorError as error:
        unreadable = unreadable_weights(run.weights_path, str(error))
        raise RunError(unreadable.message, hint=unreadable.hint) from error
    except OSError as error:
        raise RunError(f"{run.weights_path} cannot be read: {error}.") from error
    except RuntimeError as error:
        raise RunError(
            f"{run.weights_path} does not fit {run.record.backbone} with {run.record.head}: {error}",
            hint="The run may have been made with another version of the plugin; 'plugins' in run.json names it.",
        ) from error
    if bad := find_bad_entries(state, classifier):
        raise RunError(
            f"{run.weights_path} has weights that are not finite: {shorten(bad)}.",
            hint="Its training diverged, or another program has changed the file: train the run again.",
        )
