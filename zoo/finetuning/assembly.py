"""From a configuration to everything that training needs, each thing checked before anything slower begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo.config import FinetuneConfig
from zoo.data.exclusions import read_exclusions, without
from zoo.data.source import load_images
from zoo.data.splits import divide
from zoo.errors import ConfigError, DataError, RunError, WeightsError
from zoo.events import Note, Work
from zoo.losses import Criterion
from zoo.options import make_options
from zoo.paths import typed_path
from zoo.registry import card_of
from zoo.run import RUNS, Run, open_run

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from zoo.contracts import Backbone
    from zoo.events import Observer
    from zoo.model import Classifier
    from zoo.registry import Offer, Registry
    from zoo.specs import BackboneSpec, HeadSpec, ImageSet, Preprocess, WeightsInfo

_WEIGHT_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")


@dataclass(frozen=True, slots=True, kw_only=True)
class Offers:
    """The plugins' answer to the names in a configuration.

    Attributes:
        backbone: What will be built.
        head: What will be built on it.
        backbone_options: An instance of the backbone's options.
        head_options: An instance of the head's options.
    """

    backbone: Offer[BackboneSpec]
    head: Offer[HeadSpec]
    backbone_options: Any
    head_options: Any


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


def find_offers(config: FinetuneConfig, registry: Registry) -> Offers:
    """Looks up the names of a configuration, and checks the options given to them. Imports no torch.

    Raises:
        UnknownNameError: No plugin offers the backbone or the head.
        ConfigError: One of their options is wrong.
    """
    backbone, head = registry.backbone(config.backbone), registry.head(config.head)
    return Offers(
        backbone=backbone,
        head=head,
        backbone_options=make_options(
            backbone.spec.options, config.backbone_options, owner=f"backbone {config.backbone}"
        ),
        head_options=make_options(head.spec.options, config.head_options, owner=f"head {config.head}"),
    )


def find_images(config: FinetuneConfig, registry: Registry, observer: Observer) -> ImageSet:
    """Loads the dataset of a configuration, limited and split as it says. Imports no torch.

    Raises:
        DataError: The data cannot be had, or is too small to be split.
    """
    images = load_images(
        config.data,
        registry=registry,
        options=config.data_options,
        progress=lambda what, done, total: observer(Work(what=what, done=done, total=total)),
    )
    if len(images.classes) < 2:
        raise DataError(f"The dataset '{images.name}' has one class alone; there is nothing to tell apart.")
    if images.skipped:
        observer(Note(text=f"Files left out: {len(images.skipped)}, the first: {images.skipped[0]}."))
    listed = {} if config.exclude is None else read_exclusions(typed_path(config.exclude))
    if images.val and not images.test:
        observer(Note(text="The data brings no test part: the validation accuracy is all there will be.", warning=True))
    images = divide(
        images,
        test_fraction=config.test_fraction,
        val_fraction=config.val_fraction,
        count=config.limit,
        seed=config.seed,
    )
    if listed:
        images = _leave_out(images, listed, config, observer)
    if images.note:
        observer(Note(text=images.note))
    return images


def _leave_out(images: ImageSet, listed: Mapping[str, str], config: FinetuneConfig, observer: Observer) -> ImageSet:
    """Leaves out what is listed, once the parts are made: a photo that stays, stays in its part."""
    fewer = without(images, listed)
    gone = len(fewer.skipped) - len(images.skipped)
    observer(Note(text=f"{config.exclude} leaves out {gone} of its {len(listed)} photos.", warning=not gone))
    return fewer


def find_weights(config: FinetuneConfig, *, runs: Path = RUNS) -> Path | Run | None:
    """Returns the file or the run whose weights a configuration asks for; None for pretrained and none.

    Raises:
        WeightsError: There is no such file or run.
    """
    if config.weights in ("pretrained", "none"):
        return None
    path = typed_path(config.weights)
    if path.is_file():
        return path
    if path.suffix in _WEIGHT_SUFFIXES:
        raise WeightsError(f"There is no weights file {path}.", hint="Check the path given with --weights.")
    return open_run(config.weights, runs=runs)


def config_of(run: Run, **changes: Any) -> FinetuneConfig:
    """Returns the configuration that a run was made with, with some fields changed.

    Raises:
        RunError: It is not readable: edited by hand, or written by another version.
    """
    try:
        return FinetuneConfig(**{**run.config, **changes})
    except (TypeError, ConfigError) as error:
        raise RunError(f"{run.path}: 'config' in run.json is not readable: {error}") from error


def assemble(
    config: FinetuneConfig,
    offers: Offers,
    weights: Path | Run | None,
    classes: int,
    *,
    preprocess: Preprocess | None = None,
    load: bool = True,
) -> Model:
    """Builds backbone and head and loads the weights. The head's fresh weights are decided by the seed.

    Args:
        config: What is asked for.
        offers: As `find_offers` returns them.
        weights: As `find_weights` returns them.
        classes: How many outputs the head has.
        preprocess: Of a run that is built again, taken as it is: the file exported from the run goes by it too. Else
            that of the weights, at the size and with the crop that `config` asks for.
        load: Whether to load the weights; without, the backbone's are random, for another process to overwrite.

    Raises:
        WeightsError: The weights cannot be had or do not fit. Random values never stand in for them.
        ConfigError: The image size or an option does not fit the backbone.
        PluginError: A plugin broke its contract.
    """
    import torch

    from zoo.model import Classifier, build_backbone, build_head

    card = card_of(offers.backbone)
    if config.weights == "pretrained" and card.weights is None:
        raise WeightsError(
            f"{offers.backbone.name} has no pretrained weights.",
            hint="Say --weights none to train from scratch, or give a file or a run.",
        )
    if preprocess is None:
        preprocess = weights.preprocess if isinstance(weights, Run) else card.preprocess
        if config.image_size is not None:
            preprocess = preprocess.at_size((config.image_size, config.image_size))
        if config.eval_crop is not None:
            preprocess = preprocess.with_crop(config.eval_crop)
    torch.manual_seed(config.seed)
    backbone = build_backbone(
        offers.backbone,
        pretrained=load and config.weights == "pretrained",
        image_size=preprocess.size,
        options=offers.backbone_options,
    )
    told = _load(backbone, config, weights, card.weights) if load else ""
    torch.manual_seed(config.seed)  # however many draws the backbone took, the head starts from the same values
    head = build_head(
        offers.head,
        backbone,
        outputs=classes,
        dropout=config.dropout,
        criterion=Criterion(name=config.loss, label_smoothing=config.label_smoothing),
        options=offers.head_options,
    )
    return Model(classifier=Classifier(backbone, head), preprocess=preprocess, weights=told)


def _load(
    backbone: Backbone, config: FinetuneConfig, weights: Path | Run | None, pretrained: WeightsInfo | None
) -> str:
    from zoo.weights import load_backbone, read_state_dict

    if weights is not None:
        path = weights.weights_path if isinstance(weights, Run) else weights
        return load_backbone(backbone, read_state_dict(path), source=str(path)).summary()
    if config.weights == "none" or pretrained is None:
        return "none: trained from scratch"
    return f"{pretrained.name}, from {pretrained.source}"
