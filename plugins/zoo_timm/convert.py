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
from zoo.models.random_state import restore_random_states
from zoo.runs.manifest import MANIFEST, update_manifest
from zoo.utils.files import atomic_write
from zoo_timm.backbone import TimmBackbone

if TYPE_CHECKING:
    from pathlib import Path

    from zoo.inference.run_predictor import Predictor
    from zoo.runs.run import RunFolder

TOLERANCE = 1e-4
_IMAGES = 4  # random images on which both networks must agree


@restore_random_states()
def convert_to_timm(run: RunFolder, folder: Path) -> Path:
    """Writes ``config.json`` and ``model.safetensors``, and verifies that timm computes the same logits from them.

    Args:
        run: A run whose backbone is from timm, or has the same weight names in timm (torchvision's ResNets), and whose
            head is one linear layer on the pooled features.
        folder: A new or empty folder.

    Returns:
        `folder`.

    Raises:
        ConfigError: The backbone or head has no counterpart in timm, or the folder is not empty.
        RunError: timm's network computes something else; the files are deleted again.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} exists and is not empty.", hint="Pass a new folder with --output.")
    predictor = load(run, device="cpu")
    name = _architecture(predictor)
    arguments = _arguments(name, predictor)
    network = _load_into_timm(predictor, name, arguments)
    _write(folder, network, predictor, name, arguments)
    _verify(folder, predictor)
    _add_to_manifest(folder, run)
    return folder


def _add_to_manifest(folder: Path, run: RunFolder) -> None:
    """Adds the files to the manifest of the run if they are in its folder."""
    inside, outer = folder.resolve(), run.path.resolve()
    if (outer / MANIFEST).is_file() and inside.is_relative_to(outer):
        update_manifest(outer, [path.relative_to(outer).as_posix() for path in inside.iterdir()])


def _architecture(predictor: Predictor) -> str:
    run, backbone = predictor.run, predictor.classifier.backbone
    name = run.backbone.rpartition("/")[2]
    if isinstance(backbone, TimmBackbone):
        # Another plugin may offer timm's network under a name of its own.
        architecture = str(backbone.net.pretrained_cfg["architecture"])
        name = name if name.partition(".")[0] == architecture else architecture
    if not timm.is_model(name):
        raise ConfigError(
            f"{run.name}: timm has no network '{name}'.", hint="Runs with a timm backbone or a ResNet can be converted."
        )
    return name


def _arguments(name: str, predictor: Predictor) -> dict[str, Any]:
    backbone = predictor.classifier.backbone
    given = backbone.arguments if isinstance(backbone, TimmBackbone) else {}
    fixed = timm.get_pretrained_cfg_value(name, "fixed_input_size")
    return {**given, "img_size": list(predictor.preprocess.size)} if fixed else given


def _load_into_timm(predictor: Predictor, name: str, arguments: dict[str, Any]) -> nn.Module:
    """Returns timm's network with the weights of the run."""
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
            hint="Runs with a timm backbone or a torchvision ResNet can be converted.",
        ) from error
    return network.eval()


def _single_linear(predictor: Predictor) -> tuple[Tensor, Tensor]:
    """Returns the weight and bias of a head that is one linear layer on `Features.pooled`."""
    head = predictor.classifier.head
    values = dict(head.named_parameters())
    layers = [module for module in head.modules() if isinstance(module, nn.Linear)]
    options = predictor.run.config["head_options"]
    if len(values) != 2 or len(layers) != 1 or options.get("pooling", "native") != "native":
        raise ConfigError(
            f"{predictor.run.name}: the head {predictor.run.head} has no counterpart in timm.",
            hint="The head 'linear' with the pooling of the backbone can be converted.",
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
            "fixed_input_size": "img_size" in arguments,
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
    with atomic_write(folder / "config.json") as temporary:
        temporary.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    with atomic_write(folder / "model.safetensors") as temporary:
        safetensors.torch.save_file({k: v.contiguous() for k, v in network.state_dict().items()}, temporary)


@torch.inference_mode()
def _verify(folder: Path, predictor: Predictor) -> None:
    network = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    images = torch.randn(_IMAGES, 3, *predictor.preprocess.size, generator=torch.Generator().manual_seed(0))
    difference = float((network(images) - predictor.classifier(images)).abs().max())
    if not difference <= TOLERANCE:
        for file in folder.iterdir():
            file.unlink()
        raise RunError(
            f"{predictor.run.name}: the logits of timm's network differ by {difference:.2g}, more than {TOLERANCE:g}.",
            hint="The options of the backbone have no counterpart in timm. No files remain.",
        )
