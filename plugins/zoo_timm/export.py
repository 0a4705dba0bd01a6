"""Exports a run to a folder that ``timm.create_model("local-dir:...", pretrained=True)`` loads."""

from __future__ import annotations

import json
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors.torch
import timm
import torch
from PIL import Image
from torch import Tensor, nn

import zoo_export
from zoo.errors import ExportError
from zoo.events import Note, Work
from zoo.models.random_state import restore_random_states
from zoo_timm.backbone import TimmBackbone

if TYPE_CHECKING:
    from zoo.plugins.specs import ExportRequest
    from zoo.preprocess import Preprocess
    from zoo_export import Reference
    from zoo_export.model_card import InputKind, ModelCard

_INSTEAD = "Use --to onnx, which exports every run."
_CROP_MODES = {"shorter": "center", "squash": "squash", "longer": "border"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TimmNetwork:
    """A run as a network of timm.

    Attributes:
        name: The name of the network.
        arguments: What it is created with, besides the number of classes.
        network: It, with the weights of the run.
    """

    name: str
    arguments: dict[str, Any]
    network: nn.Module


@restore_random_states()
def export_to_timm(request: ExportRequest) -> Path:
    """Writes ``config.json`` and ``model.safetensors``, once timm has computed the logits of the run from them.

    The run needs a backbone from timm, or one with the same names of weights in timm (torchvision's ResNets), and a
    head that is one linear layer on the pooled features. Photos go through timm's own preprocessing.

    Returns:
        The folder; by default ``timm`` in the run folder.

    Raises:
        ExportError: The backbone or the head has no counterpart in timm, timm computes something else, or the folder is
            not empty or cannot be written.
    """
    folder = request.to or request.run / "timm"
    _check_folder(folder)
    reference = zoo_export.load_reference(request)
    converted = _convert(reference)
    try:
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
            written = Path(temporary) / folder.name
            written.mkdir()
            _write_weights(written, converted.network)
            _write_config(written, converted, reference.describe(input=_compared_input(reference.preprocess)))
            request.observer(Work(what="load the folder in timm", done=0, total=None))
            _write_config(written, converted, _compare(written, reference))
            if folder.exists():
                folder.rmdir()
            written.rename(folder)
    except OSError as error:
        raise ExportError(
            f"Cannot write {folder}: {error.strerror or error}.", hint="Choose another folder with -o."
        ) from error
    return folder


def _check_folder(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ExportError(f"{folder} exists and is not empty.", hint="Remove it, or pass a new folder with -o.")
    if not folder.parent.is_dir():
        raise ExportError(f"There is no folder {folder.parent} for {folder.name}.", hint="Create it first.")


def _convert(reference: Reference) -> TimmNetwork:
    """Returns timm's network with the weights of the run."""
    run = reference.run
    weight, bias = _output_layer(reference)
    name, arguments = _architecture(reference)
    network: Any = timm.create_model(name, num_classes=len(reference.classes), **arguments)
    classifier = network.pretrained_cfg["classifier"]
    if not isinstance(classifier, str):
        raise ExportError(f"{run.name}: timm's network '{name}' has several output layers.", hint=_INSTEAD)
    state = {
        key.removeprefix("net."): value
        for key, value in reference.classifier.backbone.state_dict().items()
        if key.startswith("net.")
    }
    try:
        network.load_state_dict(state | {f"{classifier}.weight": weight, f"{classifier}.bias": bias})
    except RuntimeError as error:
        raise ExportError(
            f"{run.name}: the weights of {run.backbone} do not fit timm's '{name}': "
            f"{str(error).splitlines()[-1].strip()}",
            hint=f"Runs with a timm backbone or a torchvision ResNet can be exported to timm. {_INSTEAD}",
        ) from error
    return TimmNetwork(name=name, arguments=arguments, network=network.eval())


def _architecture(reference: Reference) -> tuple[str, dict[str, Any]]:
    """Returns the name of the network in timm, and the arguments that it is created with."""
    run, backbone = reference.run, reference.classifier.backbone
    name = run.backbone.rpartition("/")[2]
    given: dict[str, Any] = {}
    if isinstance(backbone, TimmBackbone):
        # Another plugin may offer timm's network under a name of its own.
        architecture = str(backbone.net.pretrained_cfg["architecture"])
        name = name if name.partition(".")[0] == architecture else architecture
        given = backbone.arguments
    if not timm.is_model(name):
        raise ExportError(
            f"{run.name}: timm has no network '{name}', the backbone of the run.",
            hint=f"Runs with a timm backbone or a torchvision ResNet can be exported to timm. {_INSTEAD}",
        )
    if timm.get_pretrained_cfg_value(name, "fixed_input_size"):
        return name, {**given, "img_size": list(reference.preprocess.size)}
    return name, dict(given)


def _output_layer(reference: Reference) -> tuple[Tensor, Tensor]:
    """Returns the weight and the bias of a head that is one linear layer on `Features.pooled`."""
    run, head = reference.run, reference.classifier.head
    layers = [module for module in head.modules() if isinstance(module, nn.Linear)]
    reason = ""
    if head.stages:
        reason = f"it reads the maps of {len(head.stages)} stages"
    elif len(list(head.parameters())) != 2 or len(layers) != 1:
        reason = "it is not a single linear layer"
    elif (pooling := run.config["head_options"].get("pooling", "native")) != "native":
        reason = f"its pooling is '{pooling}', not that of the backbone"
    if reason:
        raise ExportError(
            f"{run.name}: the head {run.head} has no counterpart in timm, because {reason}.",
            hint=f"The head 'linear' with one stage and the pooling of the backbone can be exported. {_INSTEAD}",
        )
    return layers[0].weight, layers[0].bias


def _write_weights(folder: Path, network: nn.Module) -> None:
    state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    safetensors.torch.save_file(state, folder / "model.safetensors")


def _write_config(folder: Path, converted: TimmNetwork, card: ModelCard) -> None:
    """Writes ``config.json``: what timm reads, and under ``zoo`` the card, which timm ignores."""
    known: Any = converted.network.pretrained_cfg
    preprocess = card.preprocess
    config = {
        "architecture": converted.name.partition(".")[0],
        "num_classes": len(card.classes),
        "label_names": list(card.classes),
        "model_args": converted.arguments,
        "pretrained_cfg": {
            "input_size": [3, *preprocess.size],
            "fixed_input_size": "img_size" in converted.arguments,
            "interpolation": preprocess.interpolation,
            "crop_pct": _crop_share(preprocess),
            "crop_mode": _CROP_MODES[preprocess.resize_mode],
            "mean": list(preprocess.mean),
            "std": list(preprocess.std),
            "num_classes": len(card.classes),
            "first_conv": known["first_conv"],
            "classifier": known["classifier"],
        },
        "zoo": card.to_dict(),
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _crop_share(preprocess: Preprocess) -> float:
    """Returns the ``crop_pct`` from which timm computes ``floor(size / crop_pct)``, the side to resize to."""
    if preprocess.resize_mode == "squash":
        return 1.0
    size = min(preprocess.size)
    share = size / preprocess.resize
    return share if math.floor(size / share) == preprocess.resize else math.nextafter(share, 0)


def _compared_input(preprocess: Preprocess) -> InputKind:
    """Returns ``"pixels"`` if timm's preprocessing equals that of the run, and not only nearly."""
    square = preprocess.size[0] == preprocess.size[1]
    return (
        "pixels" if preprocess.resize_mode == "squash" or (square and preprocess.resize_mode == "shorter") else "tensor"
    )


def _compare(folder: Path, reference: Reference) -> ModelCard:
    """Loads the folder in timm, and compares it with the run from decoded photos on, if timm's resize is the same."""
    network: Any = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    transform: Any = timm.data.create_transform(**timm.data.resolve_model_data_config(network))

    def compute(photos: Tensor) -> Tensor:
        images = torch.stack([transform(Image.fromarray(photo.numpy())) for photo in photos])
        logits: Tensor = network(images)
        return logits

    if _compared_input(reference.preprocess) == "pixels":
        return reference.compare(compute, input="pixels", name="timm")
    text = "timm may resize a photo by one pixel less or more than the run: only what follows was compared."
    reference.observer(Note(text=text))
    return reference.compare(network, name="timm")
