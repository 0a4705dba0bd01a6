"""The pretrained weights of torchvision's networks: their properties, and their download. Imports torchvision."""

from __future__ import annotations

import pickle
import sys
import urllib.error
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torchvision.models import get_model_weights
from torchvision.transforms import InterpolationMode

from zoo.errors import WeightsError
from zoo.models.weights import describe_pickle_error
from zoo.plugins.servers import WEIGHTS_HINT, require_server
from zoo.plugins.specs import BackboneCard, WeightsInfo
from zoo.preprocess import Preprocess

if TYPE_CHECKING:
    from torch import Tensor


def card(name: str) -> BackboneCard:
    """Returns the preprocessing, licence and accuracy that torchvision states for the best weights of a network."""
    weights = default_weights(name)
    transform, meta = weights.transforms(), weights.meta
    crop = int(transform.crop_size[0])
    bicubic = transform.interpolation is InterpolationMode.BICUBIC
    return BackboneCard(
        preprocess=Preprocess(
            size=(crop, crop),
            resize=int(transform.resize_size[0]),
            interpolation="bicubic" if bicubic else "bilinear",
            mean=tuple(transform.mean),
            std=tuple(transform.std),
        ),
        weights=WeightsInfo(
            name=weights.name,
            source=weights.url,
            licence=meta.get("license", ""),
            accuracy=meta["_metrics"]["ImageNet-1K"]["acc@1"],
        ),
    )


def default_weights(name: str) -> Any:
    """Returns the weights that torchvision calls the best of a network."""
    return get_model_weights(name).DEFAULT


def fetch_state_dict(name: str) -> dict[str, Tensor]:
    """Returns the pretrained state dict of a network, from torch's cache or downloaded with a verified hash.

    Raises:
        WeightsError: The weights are neither in the cache nor can be downloaded, or the file in the cache is damaged.
    """
    weights = default_weights(name)
    cached = Path(torch.hub.get_dir(), "checkpoints", weights.url.rpartition("/")[2])
    what = f"The pretrained weights of {name}"
    if not cached.exists():
        require_server(weights.url, what=what)
    try:
        # weights_only, which torchvision does not set: files in the cache are not hashed, and may come from anyone.
        return dict(weights.get_state_dict(progress=sys.stderr.isatty(), check_hash=True, weights_only=True))
    except (urllib.error.URLError, ConnectionError, TimeoutError) as error:
        raise WeightsError(f"{what} cannot be downloaded: {error}.", hint=WEIGHTS_HINT, offline=True) from error
    # A wrong hash, a full disk, a file that another program left truncated.
    except (RuntimeError, OSError, EOFError, ValueError, pickle.UnpicklingError) as error:
        reason = describe_pickle_error(error)
        hint = f"Delete {cached} and try again. {WEIGHTS_HINT}" if cached.exists() else WEIGHTS_HINT
        raise WeightsError(f"{what} are not usable: {reason}.", hint=hint) from error
