"""zoo.runs.weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import safetensors
import safetensors.torch

from zoo.errors import RunError
from zoo.runs.run import WEIGHTS, Run
from zoo.utils.files import atomic_write, require_regular_file

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn


def save_weights(folder: Path, classifier: nn.Module) -> None:
    """Writes ``model.safetensors``, whole or not at all."""
    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in classifier.state_dict().items()}
    content = safetensors.torch.save(state)  # in memory first: a full disk is then an OSError, which is told as one
    with atomic_write(folder / WEIGHTS) as aside:
        aside.write_bytes(content)


def load_weights(run: Run, classifier: nn.Module) -> None:
    """Loads the weights of a run into its classifier, every one of them.

    Raises:
        RunError: The file is missing or broken, or belongs to another network.
    """
    try:
        require_regular_file(run.weights_path)
        classifier.load_state_dict(safetensors.torch.load_file(run.weights_path, device="cpu"))
    except FileNotFoundError:
        raise RunError(
            f"The run {run.path} has no {WEIGHTS}.", hint="It was stopped before its first epoch ended."
        ) from None
    except (safetensors.SafetensorError, OSError) as error:
        raise RunError(f"{run.weights_path} cannot be read: {error}.", hint="Is the file cut off?") from error
    except RuntimeError as error:
        raise RunError(
            f"{run.weights_path} does not fit {run.record.backbone} with {run.record.head}: {error}",
            hint="Was the run made with another version of the plugin? 'run.json' tells which.",
        ) from error
