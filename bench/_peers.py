"""The other trainers, in their own environment: their commands, and the fastest settings on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

FOLDER = Path(__file__).resolve().parent / "peers"
_OWN_PYTHON = Path(__file__).resolve().parent / ".peers" / "bin" / "python"
# What each script needs to import.
PEERS = {
    "plain": "torchvision",
    "timm_pieces": "timm",
    "fastai_learner": "fastai.vision.all",
    "lightning_trainer": "lightning",
    "transformers_trainer": "transformers",
}


class Settings(NamedTuple):
    """The fastest settings of a training step in plain PyTorch.

    Attributes:
        precision: ``"fp32"`` or ``"bf16"``.
        channels_last: Whether images and weights have that layout.
        workers: Loader processes.
        capability: The instruction set that torch's own kernels use, such as ``"AVX512"``.
        images_per_second: What was measured.
    """

    precision: str
    channels_last: bool
    workers: int
    capability: str
    images_per_second: dict[str, float]

    @property
    def options(self) -> list[str]:
        """The options of a peer."""
        layout = ["--channels-last"] if self.channels_last else []
        return ["--precision", self.precision, *layout, "--workers", str(self.workers)]

    def __str__(self) -> str:
        layout = "channels-last" if self.channels_last else "contiguous"
        return f"{self.precision}, {layout}, {self.workers} workers"

    def describe_measurement(self) -> str:
        """Returns one line about how the settings were chosen."""
        figures = "; ".join(f"{name} {value:.3g}" for name, value in self.images_per_second.items())
        return f"Peers' best settings here: {self}. Measured in images/s of a training step: {figures}."


def default_python() -> Path:
    """Returns the interpreter of the peers' environment if there is one, else this one."""
    return _OWN_PYTHON if _OWN_PYTHON.exists() else Path(sys.executable)


def peer_command(python: Path, peer: str, *options: str) -> list[str]:
    """Returns the command line of a peer, to be run in `FOLDER` with `peer_environment`."""
    return [str(python), str(FOLDER / f"{peer}.py"), *options]


def peer_environment() -> dict[str, str]:
    """Returns the environment of a peer: without this project on its path, and with cached bytecode."""
    return {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")}


def find_missing_peers(python: Path, wanted: Iterable[str]) -> dict[str, str]:
    """Returns why each unavailable peer cannot run; imports the others once, which compiles their bytecode."""
    reasons = {}
    for peer in sorted(PEERS.keys() & set(wanted)):
        command = [str(python), "-c", f"import torchvision, safetensors, {PEERS[peer]}"]
        done = subprocess.run(command, capture_output=True, text=True, env=peer_environment())
        if done.returncode:
            reasons[peer] = f"{peer} is not measured: {done.stderr.strip().splitlines()[-1]}"
    return reasons


def choose_settings(python: Path, data: Path, *, image_size: int, batch_size: int, workers: int) -> Settings:
    """Measures the fastest precision, layout and number of workers in a process of its own, before anything is timed.

    Args:
        python: The peers' interpreter.
        data: Folder with class folders in ``train/``.
        image_size: Side of the network's input in pixels.
        batch_size: Images per step.
        workers: Largest number of workers to try.
    """
    options = ["--data", str(data), "--epochs", "1", "--image-size", str(image_size), "--batch-size", str(batch_size)]
    command = peer_command(python, "choose_settings", *options, "--workers", str(workers))
    done = subprocess.run(command, capture_output=True, text=True, env=peer_environment(), cwd=FOLDER)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
    values: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return Settings(**values)
