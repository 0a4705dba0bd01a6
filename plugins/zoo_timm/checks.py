"""Checks that timm works, and that pretrained weights are available. Imports neither torch nor timm at its top."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import constants

from zoo.errors import WeightsError
from zoo.plugins.servers import WEIGHTS_HINT, check_server, require_server
from zoo.plugins.specs import Finding
from zoo.utils.installer import pip_command


def check_installation() -> list[Finding]:
    """Builds and runs a small network, and checks that the Hugging Face Hub answers."""
    try:
        import timm
        import torch

        network = timm.create_model("resnet10t", pretrained=False, num_classes=0).eval()
        with torch.inference_mode():
            shape = tuple(network(torch.zeros(1, 3, 64, 64)).shape)
    except ModuleNotFoundError as error:
        text, advice = f"cannot be used without {error.name}", "To train its networks, install torch and timm."
        return [Finding(about="timm", status="warning", text=text, advice=advice)]
    except (ImportError, OSError, RuntimeError) as error:
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        advice = f"Install it again: {pip_command('install', '--force-reinstall', '--no-deps', 'timm')}"
        return [Finding(about="timm", status="problem", text=f"cannot be used: {reason}", advice=advice)]
    installed = Finding(about="timm", status="ok", text=f"{timm.__version__}, a network returns {shape}")
    if constants.HF_HUB_OFFLINE:
        text = "skipped, because HF_HUB_OFFLINE is set; weights must be in the cache"
        return [installed, Finding(about="Hugging Face", status="ok", text=text)]
    return [installed, check_server(constants.ENDPOINT, about="Hugging Face")]


def check_pretrained(name: str) -> None:
    """Checks that the cache of the Hugging Face Hub contains weights of the network, or that the Hub answers.

    Raises:
        WeightsError: Neither is the case.
    """
    network = name.partition(".")[0]
    if any(Path(constants.HF_HUB_CACHE).glob(f"models--*{network}*")):
        return
    what = f"The pretrained weights of {name}"
    if constants.HF_HUB_OFFLINE:
        raise WeightsError(
            f"{what} are not in the local cache, and HF_HUB_OFFLINE is set.", hint=WEIGHTS_HINT, offline=True
        )
    require_server(constants.ENDPOINT, what=what)
