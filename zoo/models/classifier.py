"""The classifier, a backbone with a head, and its frozen stages in training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from zoo.errors import ConfigError

if TYPE_CHECKING:
    from zoo.plugins.contracts import Backbone, Head

_NORMS_WITH_STATISTICS = nn.modules.batchnorm._BatchNorm


class Classifier(nn.Module):
    """A backbone with a head.

    Args:
        backbone: Maps images to features.
        head: Maps features to logits.
    """

    def __init__(self, backbone: Backbone, head: Head) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        backbone.tapped_stages = head.stages

    def forward(self, images: Tensor) -> Tensor:
        """Maps normalised images ``(N, 3, H, W)`` float32 to logits ``(N, classes)``."""
        logits: Tensor = self.head(self.backbone.extract(images))
        return logits

    def like(self, backbone: Backbone, head: Head) -> Classifier:
        """Returns a classifier of the same class with other modules."""
        return Classifier(backbone, head)


def freeze(classifier: Classifier, stages: int | None) -> None:
    """Freezes the first stages of the backbone, and unfreezes the others.

    Args:
        classifier: Changed in place.
        stages: Number of stages to freeze; None freezes all.

    Raises:
        ConfigError: The backbone has fewer stages.
    """
    known = classifier.backbone.stages()
    if stages is not None and stages > len(known):
        names = ", ".join(stage.name for stage in known)
        raise ConfigError(
            f"finetune: option 'freeze' is {stages}, but the backbone has {len(known)} stages.",
            hint=f"Its stages are {names}. --freeze all freezes all of them.",
        )
    frozen = {name for stage in known[:stages] for name in stage.parameters}
    for name, parameter in classifier.backbone.named_parameters():
        parameter.requires_grad_(name not in frozen)


def is_trained(classifier: Classifier, name: str, *, freeze_norm_stats: bool) -> bool:
    """Returns whether training changes an entry of the backbone's state dict.

    Buffers other than the statistics of batch normalisations count as trained: they are constants of the network, such
    as position indices, and not random.

    Args:
        classifier: The classifier, with its frozen stages frozen.
        name: The name of a parameter or a buffer in the backbone.
        freeze_norm_stats: As in `set_training`.
    """
    path, _, own = name.rpartition(".")
    module = classifier.backbone.get_submodule(path)
    value = getattr(module, own)
    if isinstance(value, nn.Parameter):
        return value.requires_grad
    if not isinstance(module, _NORMS_WITH_STATISTICS):
        return True
    return not (freeze_norm_stats or _is_frozen(module))


def set_training(classifier: Classifier, *, freeze_norm_stats: bool) -> None:
    """Puts a classifier into train mode, except frozen modules, which go into eval mode.

    A module whose parameters are all frozen must neither apply stochastic depth nor update batch statistics.

    Args:
        classifier: Changed in place.
        freeze_norm_stats: Whether to keep all batch normalisations of the backbone in eval mode; their scale and shift
            still train.
    """
    classifier.train()
    for module in classifier.backbone.modules():
        if _is_frozen(module) or (freeze_norm_stats and isinstance(module, _NORMS_WITH_STATISTICS)):
            module.eval()


def _is_frozen(module: nn.Module) -> bool:
    own = list(module.parameters())
    return bool(own) and not any(parameter.requires_grad for parameter in own)
