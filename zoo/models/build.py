"""Builds a classifier from the offers of plugins, checks their contracts, and loads the weights."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from zoo.errors import PluginError, WeightsError, ZooError
from zoo.models.classifier import Classifier
from zoo.models.features import image_size_error, measure_stages, random_features
from zoo.models.finite import find_bad_entries
from zoo.models.nested import count_changes
from zoo.models.weights import load_backbone, read_state_dict, shorten
from zoo.plugins.calls import plugin_failure, watched
from zoo.plugins.contracts import Backbone, Features, Head
from zoo.plugins.criterion import Criterion
from zoo.plugins.faults import probabilities_fault
from zoo.plugins.losses import build_criterion
from zoo.plugins.registry import get_card
from zoo.plugins.specs import BackboneRequest, HeadRequest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from zoo.config import FinetuneConfig
    from zoo.models.offers import Offers
    from zoo.models.weights import LoadReport
    from zoo.plugins.registry import Offer
    from zoo.plugins.specs import Activation, BackboneSpec, HeadSpec, WeightsInfo
    from zoo.preprocess import Preprocess


def build_backbone(
    offer: Offer[BackboneSpec], *, pretrained: bool, image_size: tuple[int, int], options: Any
) -> Backbone:
    """Builds a backbone and checks its contract on a random image.

    Args:
        offer: The backbone.
        pretrained: Whether to load its pretrained weights.
        image_size: (height, width) in pixels.
        options: An instance of the options of the spec.

    Raises:
        WeightsError: The pretrained weights are not available.
        ConfigError: The backbone does not work with this image size.
        PluginError: The plugin failed or violates its contract.
    """
    request = BackboneRequest(pretrained=pretrained, image_size=image_size, options=options)
    backbone = offer.call("building", offer.spec.build, request)
    if not isinstance(backbone, Backbone):
        raise PluginError(f"{offer.name}: build returned {type(backbone).__name__}, not a zoo.Backbone.")
    for width in ("pooled_width", "map_width"):
        if not isinstance(getattr(backbone, width, None), int):
            raise PluginError(f"{offer.name}: the {width} of the backbone is not a whole number.")
    if bad := find_bad_entries(backbone.state_dict(), backbone):
        origin = "The pretrained weights" if pretrained else "The initial weights"
        raise (WeightsError if pretrained else PluginError)(
            f"{origin} of {offer.name} are not finite: {shorten(bad)}.",
            hint="Download them again, or use other ones with --weights." if pretrained else "Report it to its author.",
        )
    offer.call("listing the stages of", _check_stages, backbone, offer.name)
    _check_features(offer, backbone, image_size, pretrained=pretrained)
    offer.call("reading the stage maps of", measure_stages, backbone, image_size)
    return backbone


def build_head(
    offer: Offer[HeadSpec],
    backbone: Backbone,
    *,
    image_size: tuple[int, int],
    outputs: int,
    dropout: float,
    criterion: Criterion,
    options: Any,
) -> Head:
    """Builds a head for a backbone and checks its contract; torch's global generator initialises its weights.

    Args:
        offer: The head.
        backbone: The backbone whose features it takes.
        image_size: (height, width) in pixels.
        outputs: Number of logits.
        dropout: Dropout probability of the head's input, 0 to 1.
        criterion: The loss.
        options: An instance of the options of the spec.

    Raises:
        ConfigError: An option does not fit the features of the backbone.
        PluginError: The plugin failed or violates its contract.
    """
    stages = measure_stages(backbone, image_size)
    request = HeadRequest(
        pooled_width=backbone.pooled_width,
        map_width=backbone.map_width,
        outputs=outputs,
        dropout=dropout,
        criterion=criterion,
        options=options,
        stages=stages,
    )
    head = offer.call("building", offer.spec.build, request)
    if not isinstance(head, Head):
        raise PluginError(f"{offer.name}: build returned {type(head).__name__}, not a zoo.Head.")
    if unknown := [name for name in head.stages if name not in stages]:
        raise PluginError(f"{offer.name}: the head reads the stage '{unknown[0]}', which has no feature map.")
    _check_head(offer, head, random_features(backbone, [stages[name][0] for name in head.stages]), request)
    return head


def _check_head(offer: Offer[HeadSpec], head: Head, features: Features, request: HeadRequest) -> None:
    changes, outputs = count_changes(features), request.outputs
    with torch.no_grad(), _eval_mode(head):
        logits = offer.call("computing logits with", head, features)
        if not isinstance(logits, Tensor) or logits.shape != (2, outputs) or logits.dtype != torch.float32:
            raise PluginError(f"{offer.name}: the logits are {_describe(logits)}, not {(2, outputs)} float32.")
        logits_changes = count_changes(logits)
        if not logits.isfinite().all():
            raise PluginError(f"{offer.name}: the logits are not finite for random features.")
        if request.criterion.function is not None:  # else the run is finished
            loss = offer.call("computing the loss of", head.loss, logits, torch.tensor([0, outputs - 1]))
            _check_head_loss(offer, loss)
        probabilities = offer.call("computing probabilities with", head.probabilities, logits)
    if fault := probabilities_fault(probabilities, shape=(2, outputs), criterion=request.criterion):
        raise PluginError(f"{offer.name}: probabilities() returns no probabilities: {fault}.")
    # Features are cached, and logits are evaluated after the loss.
    for what, before, now in (
        ("its features", changes, count_changes(features)),
        ("the logits", logits_changes, count_changes(logits)),
    ):
        if now != before:
            raise PluginError(f"{offer.name}: the head changes {what} in place.")


def _check_head_loss(offer: Offer[HeadSpec], loss: object) -> None:
    if not isinstance(loss, Tensor) or loss.shape != () or not loss.is_floating_point():
        raise PluginError(f"{offer.name}: the loss is {_describe(loss)}, not a single number.")
    if not loss.isfinite():
        raise PluginError(f"{offer.name}: the loss is not finite for random features.")


def _describe(value: object) -> str:
    if not isinstance(value, Tensor):
        return type(value).__name__
    return f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"


def _check_stages(backbone: Backbone, name: str) -> None:
    counts = Counter(parameter for stage in backbone.stages() for parameter in stage.parameters)
    known = {parameter for parameter, _ in backbone.named_parameters()}
    if twice := [parameter for parameter, count in counts.items() if count > 1]:
        raise PluginError(f"{name}: the parameter '{min(twice)}' is in two stages.")
    if wrong := set(counts) ^ known:
        raise PluginError(f"{name}: stages() and named_parameters() disagree about '{min(wrong)}'.")


def _check_features(
    offer: Offer[BackboneSpec], backbone: Backbone, image_size: tuple[int, int], *, pretrained: bool
) -> None:
    name, images = offer.name, torch.randn(1, 3, *image_size, generator=torch.Generator().manual_seed(0))
    changes = count_changes(images)
    try:
        with (
            torch.no_grad(),
            _eval_mode(backbone),
            watched(offer.plugin, f"computing features with '{offer.spec.name}'"),
        ):
            features = backbone(images)
    except (KeyboardInterrupt, ZooError):
        raise
    except SystemExit as error:
        raise plugin_failure(offer.plugin, f"computing features with '{offer.spec.name}'", error) from error
    except Exception as error:
        hint = "Choose another --image-size; 'zoo info' shows the size of its weights."
        raise image_size_error(name, image_size, error, hint=hint) from error
    if not isinstance(features, Features):
        raise PluginError(f"{name}: forward returned {type(features).__name__}, not zoo.Features.")
    if count_changes(images) != changes:
        raise PluginError(f"{name}: the backbone changes its images in place.")
    both = features.pooled, features.map
    if not all(isinstance(each, Tensor) for each in both):
        types = " and ".join(type(each).__name__ for each in both)
        raise PluginError(f"{name}: the features are {types}, not tensors.")
    pooled, map_ = tuple(features.pooled.shape), tuple(features.map.shape)
    if pooled != (1, backbone.pooled_width) or len(map_) != 4 or map_[:2] != (1, backbone.map_width):
        raise PluginError(
            f"{name}: the features are {pooled} and {map_}, "
            f"not (1, {backbone.pooled_width}) and (1, {backbone.map_width}, h, w)."
        )
    if any(each.dtype != torch.float32 for each in both):
        raise PluginError(f"{name}: the features are {' and '.join(map(_describe, both))}, not float32.")
    # Random weights may overflow in eval mode, before batch normalisation has any statistics; pretrained ones may not.
    if pretrained and not all(each.isfinite().all() for each in both):
        raise PluginError(
            f"{name}: the features of a random image are not finite.", hint="Its pretrained weights may be broken."
        )


@contextmanager
def _eval_mode(module: nn.Module) -> Iterator[None]:
    """Puts a module into eval mode inside the block."""
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A classifier with its preprocessing.

    Attributes:
        classifier: The network, on the CPU, in float32.
        preprocess: How pixels become its input.
        weights: One line about the loaded weights.
        offers: What the classifier was built from.
        report: Which entries of a file of weights were loaded; None without a file.
    """

    classifier: Classifier
    preprocess: Preprocess
    weights: str
    offers: Offers
    report: LoadReport | None = None


def resolve_preprocess(config: FinetuneConfig, weights: Preprocess) -> Preprocess:
    """Returns the preprocessing of the weights, with the image size and the crop of the configuration, if any."""
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
    weights_origin: str = "",
    load: bool = True,
    activation: Activation = "softmax",
    multi_label: bool = False,
    class_weights: tuple[float, ...] = (),
    positive_weights: tuple[float, ...] = (),
    logit_offsets: tuple[float, ...] = (),
) -> Model:
    """Builds the backbone and the head, and loads the weights of the backbone. The seed determines those of the head.

    Args:
        config: The configuration.
        offers: The result of `find_offers`.
        classes: Number of outputs of the head.
        preprocess: How pixels become the input of the network.
        weights: A file with weights of the backbone; None for pretrained weights, and for none.
        weights_origin: Where the file was fetched from, for messages and the record; by default its path.
        load: Whether to load the weights. Otherwise they stay random, for another process to overwrite.
        activation: That of a finished run, whose offers include no loss.
        multi_label: Whether a photo has any number of labels.
        class_weights: As in `zoo.plugins.criterion.Criterion`.
        positive_weights: As in `zoo.plugins.criterion.Criterion`.
        logit_offsets: As in `zoo.plugins.criterion.Criterion`.

    Raises:
        WeightsError: The weights are not available or do not fit; they are never replaced by random values.
        ConfigError: The image size or an option does not fit the backbone.
        PluginError: A plugin failed or violates its contract.
    """
    pretrained = get_card(offers.backbone).weights
    if config.weights == "pretrained" and pretrained is None:
        raise WeightsError(
            f"{offers.backbone.name} has no pretrained weights.",
            hint="Train from scratch with --weights none, or pass a file or a run.",
        )
    if offers.loss is None:
        criterion = Criterion(name=config.loss, function=None, activation=activation)
    else:
        criterion = build_criterion(
            offers.loss,
            classes=classes,
            label_smoothing=config.label_smoothing,
            multi_label=multi_label,
            class_weights=class_weights,
            positive_weights=positive_weights,
            logit_offsets=logit_offsets,
        )
    torch.manual_seed(config.seed)
    backbone = build_backbone(
        offers.backbone,
        pretrained=load and config.weights == "pretrained",
        image_size=preprocess.size,
        options=offers.backbone_options,
    )
    report = None
    if load and weights:
        report = load_backbone(backbone, read_state_dict(weights), source=weights_origin or str(weights))
    torch.manual_seed(config.seed)  # so that the head does not depend on how the backbone was initialised
    head = build_head(
        offers.head,
        backbone,
        image_size=preprocess.size,
        outputs=classes,
        dropout=config.dropout,
        criterion=criterion,
        options=offers.head_options,
    )
    source = report.summary() if report else _describe_weights(config, pretrained) if load else ""
    classifier = Classifier(backbone, head)
    return Model(classifier=classifier, preprocess=preprocess, weights=source, offers=offers, report=report)


def _describe_weights(config: FinetuneConfig, pretrained: WeightsInfo | None) -> str:
    if config.weights == "none" or pretrained is None:
        return "none: trained from scratch"
    return f"{pretrained.name}, from {pretrained.source}"
