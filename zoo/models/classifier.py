"""A backbone and a head make a classifier: built from specs, checked, frozen in parts, sorted into parameter groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from zoo.errors import ConfigError

if TYPE_CHECKING:
    from zoo.plugins.contracts import Backbone, Head

_NORMS_WITH_STATISTICS = nn.modules.batchnorm._BatchNorm


class Classifier(nn.Module):
    """A backbone with a head on it.

    Args:
        backbone: Gives features.
        head: Makes logits of them.
    """

    def __init__(self, backbone: Backbone, head: Head) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, images: Tensor) -> Tensor:
        """Maps normalised images ``(N, 3, H, W)`` float32 to logits ``(N, classes)``."""
        logits: Tensor = self.head(self.backbone(images))
        return logits

    def like(self, backbone: Backbone, head: Head) -> Classifier:
        """Returns a classifier of the same kind that consists of other modules."""
        return Classifier(backbone, head)


def freeze(classifier: Classifier, stages: int | None) -> None:
    """Keeps the weights of the first `stages` stages of the backbone from learning; of all of them for None.

    Raises:
        ConfigError: The backbone has fewer stages.
    """
    known = classifier.backbone.stages()
    if stages is not None and stages > len(known):
        names = ", ".join(stage.name for stage in known)
        raise ConfigError(
            f"finetune: option 'freeze' is {stages}, but the backbone has {len(known)} stages.",
            hint=f"Its stages: {names}. Write --freeze all for all of them.",
        )
    frozen = {name for stage in known[:stages] for name in stage.parameters}
    for name, parameter in classifier.backbone.named_parameters():
        parameter.requires_grad_(name not in frozen)


def set_training(classifier: Classifier, *, freeze_norm_stats: bool) -> None:
    """Puts the classifier into train mode, but what is frozen into eval mode.

    A module all of whose own parameters are frozen must not drop paths or move its batch statistics either. With
    `freeze_norm_stats` no batch normalisation of the backbone does, though its scale and shift go on learning.
    """
    classifier.train()
    for module in classifier.backbone.modules():
        own = list(module.parameters())
        frozen = bool(own) and not any(parameter.requires_grad for parameter in own)
        if frozen or (freeze_norm_stats and isinstance(module, _NORMS_WITH_STATISTICS)):
            module.eval()
