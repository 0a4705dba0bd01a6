"""torchvision's networks as backbones. Imports torchvision."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import torch
from torchvision.models import SwinTransformer, VisionTransformer, get_model
from torchvision.models.vision_transformer import interpolate_embeddings

from zoo.errors import ConfigError, WeightsError
from zoo.models.features import image_size_error, measure_widths, tokens_to_map
from zoo.models.weights import load_backbone
from zoo.plugins.contracts import Backbone, Features, Stage
from zoo.plugins.servers import WEIGHTS_HINT
from zoo_torchvision.names import family_of
from zoo_torchvision.pretrained import card, fetch_state_dict
from zoo_torchvision.structure import STRUCTURES, Structure, copy_children, remove_layer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from zoo.plugins.specs import BackboneRequest

_PREFIX = "net."
# The names of DenseNet's layers in files from before torch 0.4.
_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12])\.")


class TorchvisionBackbone(Backbone):
    """A convolutional or windowed network of torchvision without its output layer.

    Args:
        net: The network, whose output layer this removes.
        structure: The parts of the network.

    Attributes:
        net: The network without its output layer.
    """

    def __init__(self, net: nn.Module, structure: Structure) -> None:
        super().__init__()
        remove_layer(net, structure.output)
        self.net = net
        self.structure = structure

    def forward(self, images: Tensor) -> Features:
        """Maps ``(N, 3, H, W)`` to the input of the removed output layer, and to the map that it is pooled from."""
        feature_map = self.structure.compute_map(self.net, images)
        return Features(pooled=self.structure.pool(self.net, feature_map), map=feature_map)

    def stages(self) -> tuple[Stage, ...]:
        """Returns the stem, then each block or each group of blocks that the network names."""
        return tuple(Stage(name, self._parameters_of(modules)) for name, modules in self.structure.stages(self.net))

    def stage_modules(self) -> dict[str, nn.Module]:
        """Returns the last module of each stage, apart from those that follow the pooling."""
        modules = {}
        for name, parts in self.structure.stages(self.net):
            if before := [part for part in parts if part.partition(".")[0] not in self.structure.neck]:
                modules[name] = self.net.get_submodule(before[-1])
        return modules

    def stage_map(self, output: Tensor, images: Tensor) -> Tensor:
        """Returns the output of a stage as ``(N, C, h, w)``; Swin's stages return ``(N, h, w, C)``."""
        return output.permute(0, 3, 1, 2) if isinstance(self.net, SwinTransformer) else output

    def adapt_state_dict(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Prefixes torchvision's names with ``net.``; see `Backbone.adapt_state_dict`."""
        ours = self.state_dict().keys()
        renamed = {name: _PREFIX + _OLD_DENSENET.sub(r"\1\2.", name) for name in state}
        return {renamed[name] if renamed[name] in ours else name: tensor for name, tensor in state.items()}

    def _parameters_of(self, modules: list[str]) -> tuple[str, ...]:
        return tuple(
            f"{_PREFIX}{module}.{name}"
            for module in modules
            for name, _ in self.net.get_submodule(module).named_parameters()
        )


class VisionTransformerBackbone(Backbone):
    """A vision transformer of torchvision without its output layer.

    Args:
        net: The network, whose output layer this removes.

    Attributes:
        net: The network without its output layer.
    """

    def __init__(self, net: VisionTransformer) -> None:
        super().__init__()
        remove_layer(net, "heads.head")
        self.net = net

    def forward(self, images: Tensor) -> Features:
        """Maps ``(N, 3, H, W)`` to the class token ``(N, C)``, and to the other tokens as a map ``(N, C, h, w)``."""
        tokens = self.net._process_input(images)
        class_token = self.net.class_token.expand(images.shape[0], -1, -1)
        tokens = self.net.encoder(torch.cat([class_token, tokens], dim=1))
        feature_map = tokens_to_map(tokens, prefix=1, image_size=(images.shape[2], images.shape[3]))
        return Features(pooled=self.net.heads(tokens[:, 0]), map=feature_map)

    def stages(self) -> tuple[Stage, ...]:
        """Returns the stem (patches, class token, position embeddings), each encoder layer, and the final norm."""
        stages: dict[str, list[str]] = {}
        for name, _ in self.named_parameters():
            layer = re.search(r"encoder\.layers\.(\w+)\.", name)
            stage = layer[1] if layer else "norm" if "encoder.ln." in name else "stem"
            stages.setdefault(stage, []).append(name)
        return tuple(Stage(name, tuple(parameters)) for name, parameters in stages.items())

    def stage_map(self, output: Tensor, images: Tensor) -> Tensor:
        """Returns the tokens of an encoder layer, without the class token, as a map ``(N, C, h, w)``."""
        return tokens_to_map(output, prefix=1, image_size=(images.shape[2], images.shape[3]))

    def adapt_state_dict(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Prefixes torchvision's names with ``net.``, and resizes position embeddings to the image size."""
        bare = {name.removeprefix(_PREFIX): tensor for name, tensor in state.items()}
        if _has_square_grid(bare.get("encoder.pos_embedding")):
            bare = dict(interpolate_embeddings(self.net.image_size, self.net.patch_size, bare))
        ours = self.state_dict().keys()
        return {_PREFIX + name if _PREFIX + name in ours else name: tensor for name, tensor in bare.items()}


def _has_square_grid(position: Tensor | None) -> bool:
    """Whether these are embeddings ``(1, 1 + n * n, C)``; `load_backbone` reports anything else."""
    if position is None or position.ndim != 3 or len(position) != 1 or position.shape[1] < 2:
        return False
    return math.isqrt(position.shape[1] - 1) ** 2 == position.shape[1] - 1


def build(name: str, request: BackboneRequest) -> Backbone:
    """Builds a network of torchvision as a backbone; see `zoo.plugins.specs.BackboneSpec.build`.

    Raises:
        ConfigError: The network does not accept the requested image size.
        WeightsError: The requested pretrained weights are not available.
    """
    # First, so that missing weights are reported before a large network is built.
    state = fetch_state_dict(name) if request.pretrained else None
    backbone = _build_backbone(name, request)
    backbone.pooled_width, backbone.map_width = measure_widths(
        backbone, request.image_size, owner=name, hint=_size_hint(name)
    )
    if state is not None:
        report = load_backbone(backbone, state, source=f"torchvision's weights of {name}")
        if report.missing or report.mismatched:
            raise WeightsError(f"torchvision's weights of {name} do not fit: {report.summary()}.", hint=WEIGHTS_HINT)
    return backbone


def _build_backbone(name: str, request: BackboneRequest) -> TorchvisionBackbone | VisionTransformerBackbone:
    family = family_of(name)
    try:
        net = get_model(name, weights=None, **_arguments(name, request))
    # MaxVit rejects a size in this way; all other arguments are correct.
    except ValueError as error:
        raise image_size_error(name, request.image_size, error, hint=_size_hint(name)) from error
    if isinstance(net, VisionTransformer):
        return VisionTransformerBackbone(net)
    # MNASNet rejects state dicts without version metadata, which safetensors does not store.
    return TorchvisionBackbone(copy_children(net) if family == "mnasnet" else net, STRUCTURES[family])


def _size_hint(name: str) -> str:
    native = card(name).preprocess.size[0]
    return f"Its weights were trained at {native} pixels: pass --image-size {native}."


def _arguments(name: str, request: BackboneRequest) -> dict[str, Any]:
    family = family_of(name)
    if family in ("googlenet", "inception"):
        # The auxiliary outputs help to train from scratch on ImageNet.
        return {"aux_logits": False, "init_weights": not request.pretrained}
    if family == "maxvit":
        return {"input_size": request.image_size}
    if family == "vit":
        height, width = request.image_size
        patch = int(name.rpartition("_")[2])
        if height != width or height % patch:
            raise ConfigError(
                f"{name} takes square images whose side is a multiple of {patch} pixels, not {height} x {width}.",
                hint=f"Pass, for example, --image-size {max(1, round(height / patch)) * patch}.",
            )
        return {"image_size": height}
    return {}
