"""Converts a run to a folder that ``timm.create_model("local-dir:...", pretrained=True)`` loads."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import safetensors.torch
import timm
import torch
from torch import Tensor, nn

from zoo.errors import ConfigError, RunError
from zoo.inference.run_predictor import load
from zoo.runs.manifest import MANIFEST, update_manifest
from zoo.utils.files import atomic_write

if TYPE_CHECKING:
    from pathlib import Path

    from zoo.inference.run_predictor import Predictor
    from zoo.preprocess import Preprocess
    from zoo.runs.run import Run

TOLERANCE = 1e-4
_PROBES = 4  # random images on which both networks must agree


def to_timm(run: Run, folder: Path) -> Path:
    """Writes ``config.json`` and ``model.safetensors`` and proves that timm computes the same logits from them.

    Args:
        run: A run with a timm backbone, or one whose weights timm knows by the same names (torchvision's ResNets),
            and a head that is one linear layer on the pooled features.
        folder: New or empty.

    Returns:
        `folder`.

    Raises:
        ConfigError: Backbone or head have no counterpart in timm, or the folder is not empty.
        RunError: timm's network does not compute the same; nothing is left behind.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} is there already.", hint="Name a new folder with --output.")
    predictor = load(run, device="cpu")
    name = _architecture(run)
    arguments = _arguments(name, predictor.preprocess)
    network = _transplant(predictor, name, arguments)
    _write(folder, network, predictor, name, arguments)
    _verify(folder, predictor)
    _take_in(folder, run)
    return folder


def _take_in(folder: Path, run: Run) -> None:
    """Enters the files into the manifest of the run, if they lie in its folder."""
    inside, outer = folder.resolve(), run.path.resolve()
    if (outer / MANIFEST).is_file() and inside.is_relative_to(outer):
        update_manifest(outer, [path.relative_to(outer).as_posix() for path in inside.iterdir()])


def _architecture(run: Run) -> str:
    name = run.backbone.rpartition("/")[2]
    if not timm.is_model(name):
        raise ConfigError(
            f"{run.name}: timm has no network '{name}'.", hint="Runs with a timm backbone convert, and ResNets."
        )
    return name


def _arguments(name: str, preprocess: Preprocess) -> dict[str, Any]:
    fixed = timm.get_pretrained_cfg_value(name, "fixed_input_size")
    return {"img_size": list(preprocess.size)} if fixed else {}


def _transplant(predictor: Predictor, name: str, arguments: dict[str, Any]) -> nn.Module:
    """Returns timm's network with the weights of the run in it."""
    network: nn.Module = timm.create_model(name, num_classes=len(predictor.classes), **arguments)
    layer = _single_linear(predictor)
    state = {
        key.removeprefix("net."): value
        for key, value in predictor.classifier.backbone.state_dict().items()
        if key.startswith("net.")
    }
    classifier = str(network.pretrained_cfg["classifier"])  # type: ignore[index]
    state[f"{classifier}.weight"], state[f"{classifier}.bias"] = layer
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ConfigError(
            f"{predictor.run.name}: the weights of {predictor.run.backbone} do not fit timm's '{name}': "
            f"{str(error).splitlines()[-1].strip()}",
            hint="Runs with a timm backbone convert, and torchvision's ResNets, whose weights have the same names.",
        ) from error
    return network.eval()


def _single_linear(predictor: Predictor) -> tuple[Tensor, Tensor]:
    """Returns weight and bias of a head that is one linear layer on `Features.pooled`."""
    head = predictor.classifier.head
    values = dict(head.named_parameters())
    layers = [module for module in head.modules() if isinstance(module, nn.Linear)]
    options = predictor.run.config["head_options"]
    if len(values) != 2 or len(layers) != 1 or options.get("pooling", "native") != "native":
        raise ConfigError(
            f"{predictor.run.name}: the head {predictor.run.head} has no counterpart in timm.",
            hint="The head 'linear' with its own pooling converts.",
        )
    return layers[0].weight, layers[0].bias


def _write(folder: Path, network: nn.Module, predictor: Predictor, name: str, arguments: dict[str, Any]) -> None:
    preprocess = predictor.preprocess
    crop_mode = {"shorter": "center", "squash": "squash", "longer": "border"}[preprocess.resize_mode]
    config = {
        "architecture": name.partition(".")[0],
        "num_classes": len(predictor.classes),
        "label_names": list(predictor.classes),
        "model_args": arguments,
        "pretrained_cfg": {
            "input_size": [3, *preprocess.size],
            "fixed_input_size": bool(arguments),
            "interpolation": preprocess.interpolation,
            "crop_pct": 1.0 if crop_mode == "squash" else min(preprocess.size) / preprocess.resize,
            "crop_mode": crop_mode,
            "mean": list(preprocess.mean),
            "std": list(preprocess.std),
            "num_classes": len(predictor.classes),
            "first_conv": network.pretrained_cfg["first_conv"],  # type: ignore[index]
            "classifier": network.pretrained_cfg["classifier"],  # type: ignore[index]
        },
    }
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(folder / "config.json") as aside:
        aside.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    with atomic_write(folder / "model.safetensors") as aside:
        safetensors.torch.save_file({k: v.contiguous() for k, v in network.state_dict().items()}, aside)


@torch.inference_mode()
def _verify(folder: Path, predictor: Predictor) -> None:
    theirs = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    images = torch.randn(_PROBES, 3, *predictor.preprocess.size, generator=torch.Generator().manual_seed(0))
    apart = float((theirs(images) - predictor.classifier(images)).abs().max())
    if not apart <= TOLERANCE:
        for file in folder.iterdir():
            file.unlink()
        raise RunError(
            f"{predictor.run.name}: timm's network gives logits that differ by {apart:.2g}, more than {TOLERANCE:g}.",
            hint="The backbone's options have no counterpart in timm; nothing was written.",
        )
