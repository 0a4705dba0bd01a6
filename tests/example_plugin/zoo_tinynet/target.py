"""The export target tinynet-npz. Imports torch, so it is imported when a run is exported."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import numpy as np
import torch

import zoo_export

if TYPE_CHECKING:
    from pathlib import Path

    import zoo


def export(request: zoo.ExportRequest) -> Path:
    """Writes all weights for programs without torch, once a network with them has given the answers of the run."""
    reference = zoo_export.load_reference(request)
    weights = {name: tensor.numpy() for name, tensor in reference.classifier.state_dict().items()}
    network = copy.deepcopy(reference.classifier)
    network.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    card = reference.compare(network)
    path = request.to or request.run / "weights.npz"
    with path.open("wb") as file:
        np.savez(file, card=np.array(card.to_json()), **weights)
    return path
