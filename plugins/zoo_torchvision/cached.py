"""Tells, without torchvision, whether its weights can be had at all."""

from __future__ import annotations

import os
import re
from pathlib import Path

from zoo.plugins.servers import WEIGHTS_HINT, require_server

_SERVER = "https://download.pytorch.org"
_FAMILY = 8  # letters that files of one family share: torchvision's file names are not quite its networks' names


def check_pretrained(name: str) -> None:
    """Makes sure that weights of the network's family are in torch's cache, or else that their server answers.

    Raises:
        WeightsError: Neither.
    """
    family = _plain(name)[:_FAMILY]
    if not any(_plain(file.name).startswith(family) for file in _cache().glob("*.pth")):
        require_server(_SERVER, what=f"The pretrained weights of {name}", hint=WEIGHTS_HINT)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _cache() -> Path:
    """Returns where torch.hub keeps files: https://docs.pytorch.org/docs/stable/hub.html."""
    home = os.environ.get("TORCH_HOME") or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache"), "torch")
    return Path(home, "hub", "checkpoints").expanduser()
