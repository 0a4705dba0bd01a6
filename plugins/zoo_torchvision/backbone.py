"""torchvision's networks as backbones. Imports torchvision."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import torch
from torchvision.models import VisionTransformer, get_model
from torchvision.models.vision_transformer import interpolate_embeddings

from zoo.errors import ConfigError, WeightsError
from zoo.models.features import measure, tokens_to_map, wrong_size
from zoo.models.weights import load_backbone
from zoo.plugins.contracts import Backbone, Features, Stage
from zoo.plugins.servers import WEIGHTS_HINT
from zoo_torchvision.anatomy import ANATOMIES, Anatomy, plain, take_out
from zoo_torchvision.names import family_of
from zoo_torchvision.pretrained import card, fetch_state_dict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from zoo.plugins.specs import BackboneRequest

_PREFIX = "net."
# Files of before torch 0.4 name DenseNet's layers in this way.
_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12])\.")


class TorchvisionBackbone(Backbone):
    """A network of torchvision without its output layer.

    Args:
        net: The network; its output layer is taken out here.
        anatomy: How it is taken apart.

    Attributes:
        net: The original network minus its output layer.
    """

    def __init__(self, net: nn.Module, anatomy: Anatomy) -> None:
        super().__init__()
        take_out(net, anatomy.output)
        self.net = net
        self.anatomy = anatomy

    def forward(self, images: Tensor) -> Features:
        """Maps ``(N, 3, H, W)`` to what the output layer would be given, and to the map that it is made from."""
        feature_map = self.anatomy.map(self.net, images)
        return Features(pooled=self.anatomy.pooled(self.net, feature_map), map=feature_map)

    def stages(self) -> tuple[Stage, ...]:
        """Returns the stem and then each block, or each run of blocks that the network names."""
        return tuple(Stage(name, self._parameters_of(modules)) for name, modules in self.anatomy.stages(self.net))

    def adapt_state_dict(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Puts ``net.`` before the names that torchvision gives; see `Backbone.adapt_state_dict`."""
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
        net: The network; its output layer is taken out here.

    Attributes:
        net: The original network minus its output layer.
    """

    def __init__(self, net: VisionTransformer) -> None:
        super().__init__()
        take_out(net, "heads.head")
        self.net = net

    def forward(self, images: Tensor) -> Features:
        """Maps ``(N, 3, H, W)`` to the class token ``(N, C)`` and the other tokens, as a map ``(N, C, h, w)``."""
        tokens = self.net._process_input(images)
        class_token = self.net.class_token.expand(images.shape[0], -1, -1)
        tokens = self.net.encoder(torch.cat([class_token, tokens], dim=1))
        feature_map = tokens_to_map(tokens, prefix=1, image_size=(images.shape[2], images.shape[3]))
        return Features(pooled=self.net.heads(tokens[:, 0]), map=feature_map)

    def stages(self) -> tuple[Stage, ...]:
        """Returns the stem (patches, class token, position embeddings), each encoder layer, and the last norm."""
        stages: dict[str, list[str]] = {}
        for name, _ in self.named_parameters():
            layer = re.search(r"encoder\.layers\.(\w+)\.", name)
            stage = layer[1] if layer else "norm" if "encoder.ln." in name else "stem"
            stages.setdefault(stage, []).append(name)
        return tuple(Stage(name, tuple(parameters)) for name, parameters in stages.items())

    def adapt_state_dict(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Puts ``net.`` before the names that torchvision gives; position embeddings are resized to the image size."""
        bare = {name.removeprefix(_PREFIX): tensor for name, tensor in state.items()}
        if _has_square_grid(bare.get("encoder.pos_embedding")):
            bare = dict(interpolate_embeddings(self.net.image_size, self.net.patch_size, bare))
        ours = self.state_dict().keys()
        return {_PREFIX + name if _PREFIX + name in ours else name: tensor for name, tensor in bare.items()}


def _has_square_grid(position: Tensor | None) -> bool:
    """Says whether these are embeddings ``(1, 1 + n * n, C)``; what is not is for `load_backbone` to report."""
    if position is None or position.ndim != 3 or len(position) != 1 or position.shape[1] < 2:
        return False
    return math.isqrt(position.shape[1] - 1) ** 2 == position.shape[1] - 1


def build(name: str, request: BackboneRequest) -> Backbone:
    """Builds a network of torchvision as a backbone; see `zoo.plugins.specs.BackboneSpec.build`.

    Raises:
        ConfigError: The network cannot take images of the size asked for.
        WeightsError: Pretrained weights were asked for and cannot be had.
    """
    # First of all, so that weights that cannot be had are reported before a large network is built.
    state = fetch_state_dict(name) if request.pretrained else None
    backbone = _take_apart(name, request)
    backbone.pooled_width, backbone.map_width = measure(backbone, request.image_size, owner=name, hint=_size_hint(name))
    if state is not None:
        report = load_backbone(backbone, state, source=f"torchvision's weights of {name}")
        if report.missing or report.mismatched:
            raise WeightsError(f"torchvision's weights of {name} do not fit it: {report.summary()}.", hint=WEIGHTS_HINT)
    return backbone


def _take_apart(name: str, request: BackboneRequest) -> TorchvisionBackbone | VisionTransformerBackbone:
    family = family_of(name)
    try:
        net = get_model(name, weights=None, **_arguments(name, request))
    # How MaxVit refuses a size; the arguments are ours otherwise.
    except ValueError as error:
        raise wrong_size(name, request.image_size, error, hint=_size_hint(name)) from error
    if isinstance(net, VisionTransformer):
        return VisionTransformerBackbone(net)
    # MNASNet refuses state dicts without version metadata, which safetensors does not keep.
    return TorchvisionBackbone(plain(net) if family == "mnasnet" else net, ANATOMIES[family])


def _size_hint(name: str) -> str:
    native = card(name).preprocess.size[0]
    return f"Its weights were trained at {native} pixels: --image-size {native}."


def _arguments(name: str, request: BackboneRequest) -> dict[str, Any]:
    family = family_of(name)
    if family in ("googlenet", "inception"):
        # The auxiliary outputs serve training from scratch on ImageNet.
        return {"aux_logits": False, "init_weights": not request.pretrained}
    if family == "maxvit":
        return {"input_size": request.image_size}
    if family == "vit":
        height, width = request.image_size
        patch = int(name.rpartition("_")[2])
        if height != width or height % patch:
            raise ConfigError(
                f"{name} takes square images whose side is a multiple of {patch} pixels, not {height} x {width}.",
                hint=f"For example: --image-size {max(1, round(height / patch)) * patch}.",
            )
        return {"image_size": height}
    return {}
