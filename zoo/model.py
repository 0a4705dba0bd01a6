"""A backbone and a head make a classifier: built from specs, checked, frozen in parts, sorted into parameter groups."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from zoo.contracts import Backbone, Features, Head, Stage
from zoo.errors import ConfigError, PluginError, ZooError
from zoo.specs import BackboneRequest, HeadRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from zoo.config import FinetuneConfig
    from zoo.engine.frontier import Frontier, Kept
    from zoo.losses import Criterion
    from zoo.registry import Offer
    from zoo.specs import BackboneSpec, HeadSpec

T = TypeVar("T")
_NORMS_WITH_STATISTICS = nn.modules.batchnorm._BatchNorm


class Classifier(nn.Module):
    """A backbone with a head on it.

    Args:
        backbone: Gives features.
        head: Makes logits of them.

    Attributes:
        frontier: Where the frozen part of the backbone ends, if that is known; what comes before it runs folded.
    """

    def __init__(self, backbone: Backbone, head: Head) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.frontier: Frontier | None = None

    def forward(self, images: Tensor | Kept) -> Tensor:
        """Maps normalised images ``(N, 3, H, W)`` float32, or what is kept of them, to logits ``(N, classes)``."""
        if self.frontier is not None:
            kept = self.frontier.keep(images) if isinstance(images, Tensor) else images
            features = self.frontier.go_on(self.backbone, kept)
        else:
            features = self.backbone(images)
        logits: Tensor = self.head(features)
        return logits


def build_backbone(
    offer: Offer[BackboneSpec], *, pretrained: bool, image_size: tuple[int, int], options: Any
) -> Backbone:
    """Builds a backbone and checks, on a small batch, that it keeps the contract.

    Raises:
        WeightsError: Pretrained weights cannot be had.
        ConfigError: The backbone cannot work at this image size.
        PluginError: The plugin broke its contract.
    """
    request = BackboneRequest(pretrained=pretrained, image_size=image_size, options=options)
    backbone = _ask(offer, "be built", lambda: offer.spec.build(request))
    if not isinstance(backbone, Backbone):
        raise PluginError(f"{offer.name}: build returned {type(backbone).__name__}, not a zoo.Backbone.")
    for width in ("pooled_width", "map_width"):
        if not isinstance(getattr(backbone, width, None), int):
            raise PluginError(f"{offer.name}: the backbone does not say its {width}, a whole number.")
    _ask(offer, "tell its stages", lambda: check_stages(backbone, offer.name))
    _check_features(backbone, offer.name, image_size, pretrained=pretrained)
    return backbone


def build_head(
    offer: Offer[HeadSpec], backbone: Backbone, *, outputs: int, dropout: float, criterion: Criterion, options: Any
) -> Head:
    """Builds a head for a backbone; its fresh weights come from torch's global generator.

    Raises:
        ConfigError: An option does not fit the backbone's features.
        PluginError: The plugin broke its contract.
    """
    request = HeadRequest(
        pooled_width=backbone.pooled_width,
        map_width=backbone.map_width,
        outputs=outputs,
        dropout=dropout,
        criterion=criterion,
        options=options,
    )
    head = _ask(offer, "be built", lambda: offer.spec.build(request))
    if not isinstance(head, Head):
        raise PluginError(f"{offer.name}: build returned {type(head).__name__}, not a zoo.Head.")
    _check_head(offer, head, backbone, outputs)
    return head


def check_stages(backbone: Backbone, name: str) -> tuple[Stage, ...]:
    """Returns the stages of a backbone.

    Raises:
        PluginError: A parameter is in no stage, in two, or does not exist.
    """
    stages = backbone.stages()
    told = Counter(parameter for stage in stages for parameter in stage.parameters)
    known = {parameter for parameter, _ in backbone.named_parameters()}
    if twice := [parameter for parameter, count in told.items() if count > 1]:
        raise PluginError(f"{name}: the parameter '{min(twice)}' is in two stages.")
    if wrong := set(told) ^ known:
        raise PluginError(f"{name}: stages() and named_parameters() disagree about '{min(wrong)}'.")
    return stages


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


def parameter_groups(classifier: Classifier, config: FinetuneConfig) -> list[dict[str, Any]]:
    """Sorts what learns into groups for an optimiser.

    Each group has ``params``, ``weight_decay`` and ``lr_scale``: the factor on the learning rate, which is
    `head_lr_multiplier` for the head, and falls by `layer_decay` from stage to stage towards the input
    (Howard & Ruder 2018, https://arxiv.org/abs/1801.06146). Biases and normalisation layers take no weight decay
    unless `decay_norms`.
    """
    stages = classifier.backbone.stages()
    scale_of = {
        f"backbone.{name}": config.layer_decay ** (len(stages) - 1 - depth)
        for depth, stage in enumerate(stages)
        for name in stage.parameters
    }
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in classifier.named_parameters():
        if parameter.requires_grad:
            scale = scale_of.get(name, config.head_lr_multiplier)
            decays = config.decay_norms or parameter.ndim > 1
            groups.setdefault((scale, config.weight_decay if decays else 0.0), []).append(parameter)
    return [{"params": ps, "weight_decay": decay, "lr_scale": scale} for (scale, decay), ps in groups.items()]


def _check_head(offer: Offer[HeadSpec], head: Head, backbone: Backbone, outputs: int) -> None:
    chance = torch.Generator().manual_seed(0)  # the global one must go on where it was
    shapes = (2, backbone.pooled_width), (2, backbone.map_width, 3, 3)
    features = Features(*(torch.randn(shape, generator=chance) for shape in shapes))
    with torch.no_grad(), _evaluating(head):
        logits = _ask(offer, "make logits of features", lambda: head(features))
        if not isinstance(logits, Tensor) or logits.shape != (2, outputs) or logits.dtype != torch.float32:
            raise PluginError(f"{offer.name}: logits are {_described(logits)}, not {(2, outputs)} float32.")
        loss = _ask(offer, "tell its loss", lambda: head.loss(logits, torch.tensor([0, outputs - 1])))
    if not isinstance(loss, Tensor) or loss.shape != () or not loss.is_floating_point():
        raise PluginError(f"{offer.name}: a loss is {_described(loss)}, not a single number.")
    for what, value in (("tensor of logits", logits), ("loss", loss)):
        if not value.isfinite().all():
            raise PluginError(f"{offer.name}: of random features the {what} is not finite.")


def _described(value: object) -> str:
    if not isinstance(value, Tensor):
        return type(value).__name__
    return f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"


def _check_features(backbone: Backbone, name: str, image_size: tuple[int, int], *, pretrained: bool) -> None:
    chance = torch.Generator().manual_seed(0)
    try:
        with torch.no_grad(), _evaluating(backbone):
            features = backbone(torch.randn(1, 3, *image_size, generator=chance))
    except ZooError:
        raise
    except Exception as error:
        raise ConfigError(
            f"{name} cannot take images of {image_size[0]} x {image_size[1]} pixels: {error}.",
            hint="Choose another --image-size; 'zoo info' tells the size of its weights.",
        ) from error
    if not isinstance(features, Features):
        raise PluginError(f"{name}: forward returned {type(features).__name__}, not zoo.Features.")
    if not all(isinstance(each, Tensor) for each in features):
        raise PluginError(f"{name}: features are {', '.join(type(each).__name__ for each in features)}, not tensors.")
    pooled, map_ = tuple(features.pooled.shape), tuple(features.map.shape)
    if pooled != (1, backbone.pooled_width) or len(map_) != 4 or map_[:2] != (1, backbone.map_width):
        raise PluginError(
            f"{name}: features are {pooled} and {map_}, "
            f"not (1, {backbone.pooled_width}) and (1, {backbone.map_width}, h, w)."
        )
    if any(each.dtype != torch.float32 for each in features):
        raise PluginError(f"{name}: features are {' and '.join(map(_described, features))}, not float32.")
    # Random weights may overflow in eval mode, before batch normalisations have seen anything; pretrained ones may not.
    if pretrained and not all(each.isfinite().all() for each in features):
        raise PluginError(f"{name}: of random noise the features are not all finite.", hint="Are its weights broken?")


def _ask(offer: Offer[Any], what: str, question: Callable[[], T]) -> T:
    try:
        return question()
    except ZooError:
        raise
    except Exception as error:
        raise PluginError(
            f"{offer.name} could not {what}: {type(error).__name__}: {error}.",
            hint=f"Check its options; the fault may lie in the plugin {offer.plugin.key}.",
        ) from error


class _evaluating:  # noqa: N801 - used as a function
    """Puts a module into eval mode for the length of a block."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._training = module.training

    def __enter__(self) -> None:
        self._module.eval()

    def __exit__(self, *_: object) -> None:
        self._module.train(self._training)
