"""Checks that torchvision works, and that pretrained weights are available. Imports no torchvision at its top."""

from __future__ import annotations

import re

from zoo.plugins.servers import check_server, require_server
from zoo.plugins.specs import Finding
from zoo.utils.installer import pip_command
from zoo_torchvision.cache import cache_folder

_SERVER = "https://download.pytorch.org"
_PREFIX = 8  # letters that the files of a family share; torchvision's file names differ slightly from its network names


def check_installation() -> list[Finding]:
    """Runs one of torchvision's own operators, which fails if torch has another version."""
    return [_check_operators(), check_server(_SERVER, about="pytorch.org")]


def check_pretrained(name: str) -> None:
    """Checks that torch's cache contains weights of the network's family, or that their server answers.

    Raises:
        WeightsError: Neither is the case.
    """
    family = _normalise(name)[:_PREFIX]
    if not any(_normalise(file.name).startswith(family) for file in cache_folder().glob("*.pth")):
        require_server(_SERVER, what=f"The pretrained weights of {name}")


def _check_operators() -> Finding:
    try:
        import torch
        import torchvision

        boxes = torch.tensor([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 2.0, 1.9], [5.0, 5.0, 6.0, 6.0]])
        kept = torchvision.ops.nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5).tolist()
    except ModuleNotFoundError as error:
        text, advice = f"cannot be used without {error.name}", "To train, install torch and torchvision together."
        return Finding(about="torchvision", status="warning", text=text, advice=advice)
    except (ImportError, OSError, RuntimeError) as error:
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        return Finding(about="torchvision", status="problem", text=f"cannot be used: {reason}", advice=_reinstall())
    if kept != [0, 2]:
        return Finding(about="torchvision", status="problem", text="wrong results", advice=_reinstall())
    return Finding(about="torchvision", status="ok", text=f"{torchvision.__version__}, operators work with torch")


def _reinstall() -> str:
    return f"Install both together: {pip_command('install', '--force-reinstall', 'torch', 'torchvision')}"


def _normalise(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
