"""Tells, without timm, whether its weights can be had at all."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import constants

from zoo.errors import WeightsError
from zoo.plugins.servers import WEIGHTS_HINT, require_server


def check_pretrained(name: str) -> None:
    """Makes sure that weights of the network are in the hub's cache, or else that the hub answers.

    Raises:
        WeightsError: Neither.
    """
    network = name.partition(".")[0]
    if any(Path(constants.HF_HUB_CACHE).glob(f"models--*{network}*")):
        return
    what = f"The pretrained weights of {name}"
    if constants.HF_HUB_OFFLINE:
        raise WeightsError(f"{what} are not in the local cache, and HF_HUB_OFFLINE is set.", hint=WEIGHTS_HINT)
    require_server(constants.ENDPOINT, what=what, hint=WEIGHTS_HINT)
