"""zoo.models.build."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from zoo.config import FinetuneConfig
from zoo.errors import ConfigError, PluginError, WeightsError, ZooError
from zoo.models.classifier import Classifier
from zoo.models.stages import check_stages
from zoo.models.weights import load_backbone, read_state_dict
from zoo.plugins.contracts import Backbone, Features, Head
from zoo.plugins.losses import Criterion
from zoo.plugins.registry import card_of
from zoo.plugins.specs import BackboneRequest, HeadRequest
from zoo.preprocess import Preprocess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from zoo.config import FinetuneConfig
    from zoo.models.offers import Offers
    from zoo.plugins.registry import Offer
    from zoo.plugins.specs import BackboneSpec, HeadSpec, WeightsInfo
    from zoo.preprocess import Preprocess


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
    backbone = offer.call("building", offer.spec.build, request)
    if not isinstance(backbone, Backbone):
        raise PluginError(f"{offer.name}: build returned {type(backbone).__name__}, not a zoo.Backbone.")
    for width in ("pooled_width", "map_width"):
        if not isinstance(getattr(backbone, width, None), int):
            raise PluginError(f"{offer.name}: the backbone does not say its {width}, a whole number.")
    offer.call("listing the stages of", check_stages, backbone, offer.name)
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
    head = offer.call("building", offer.spec.build, request)
    if not isinstance(head, Head):
        raise PluginError(f"{offer.name}: build returned {type(head).__name__}, not a zoo.Head.")
    _check_head(offer, head, backbone, outputs)
    return head


def _check_head(offer: Offer[HeadSpec], head: Head, backbone: Backbone, outputs: int) -> None:
    chance = torch.Generator().manual_seed(0)  # the global one must go on where it was
    shapes = (2, backbone.pooled_width), (2, backbone.map_width, 3, 3)
    features = Features(*(torch.randn(shape, generator=chance) for shape in shapes))
    with torch.no_grad(), _evaluating(head):
        logits = offer.call("computing logits with", head, features)
        if not isinstance(logits, Tensor) or logits.shape != (2, outputs) or logits.dtype != torch.float32:
            raise PluginError(f"{offer.name}: logits are {_described(logits)}, not {(2, outputs)} float32.")
        loss = offer.call("computing the loss of", head.loss, logits, torch.tensor([0, outputs - 1]))
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


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Puts a module into eval mode for the length of a block."""
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A classifier, with what is known of it.

    Attributes:
        classifier: On the CPU, in float32.
        preprocess: How pixels become its input.
        weights: What was loaded, in one line.
    """

    classifier: Classifier
    preprocess: Preprocess
    weights: str


def preprocess_for(config: FinetuneConfig, weights: Preprocess) -> Preprocess:
    """Returns the preprocessing of the weights, at the size and with the crop that a configuration asks for."""
    if config.image_size is not None:
        weights = weights.at_size((config.image_size, config.image_size))
    return weights if config.eval_crop is None else weights.with_crop(config.eval_crop)


def assemble(
    config: FinetuneConfig,
    offers: Offers,
    *,
    classes: int,
    preprocess: Preprocess,
    weights: Path | None = None,
    load: bool = True,
) -> Model:
    """Builds backbone and head and loads the weights. The head's fresh weights are decided by the seed.

    Args:
        config: What is asked for.
        offers: As `find_offers` returns them.
        classes: How many outputs the head has.
        preprocess: How pixels become the network's input.
        weights: A file that the backbone's weights are read from; None for pretrained ones and for none.
        load: Whether to load the weights; without, the backbone's are random, for another process to overwrite.

    Raises:
        WeightsError: The weights cannot be had or do not fit. Random values never stand in for them.
        ConfigError: The image size or an option does not fit the backbone.
        PluginError: A plugin broke its contract.
    """
    pretrained = card_of(offers.backbone).weights
    if config.weights == "pretrained" and pretrained is None:
        raise WeightsError(
            f"{offers.backbone.name} has no pretrained weights.",
            hint="Say --weights none to train from scratch, or give a file or a run.",
        )
    torch.manual_seed(config.seed)
    backbone = build_backbone(
        offers.backbone,
        pretrained=load and config.weights == "pretrained",
        image_size=preprocess.size,
        options=offers.backbone_options,
    )
    source = _load(backbone, config, weights, pretrained) if load else ""
    torch.manual_seed(config.seed)  # however many draws the backbone took, the head starts from the same values
    head = build_head(
        offers.head,
        backbone,
        outputs=classes,
        dropout=config.dropout,
        criterion=Criterion(name=config.loss, label_smoothing=config.label_smoothing),
        options=offers.head_options,
    )
    return Model(classifier=Classifier(backbone, head), preprocess=preprocess, weights=source)


def _load(backbone: Backbone, config: FinetuneConfig, weights: Path | None, pretrained: WeightsInfo | None) -> str:
    if weights is not None:
        return load_backbone(backbone, read_state_dict(weights), source=str(weights)).summary()
    if config.weights == "none" or pretrained is None:
        return "none: trained from scratch"
    return f"{pretrained.name}, from {pretrained.source}"
