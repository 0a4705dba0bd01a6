"""A finished run for the contract kit: small, untrained, and with photos of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from zoo.config import make_config
from zoo.models.build import assemble, resolve_preprocess
from zoo.models.offers import find_offers
from zoo.plugins.contracts import Backbone, Features, Head, StagedBackbone
from zoo.plugins.hookspecs import hookimpl
from zoo.plugins.registry import Registry, get_card, load_registry
from zoo.plugins.specs import BackboneCard, BackboneRequest, BackboneSpec, HeadRequest, HeadSpec
from zoo.preprocess import Preprocess
from zoo.runs.record import RunRecord, write_record
from zoo.runs.run import RunFolder
from zoo.runs.weights import save_weights
from zoo.testing.contract import seeded

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from zoo.plugins.specs import Activation

DISTRIBUTION = "zoo-testing"
BACKBONE = f"{DISTRIBUTION}/sample"
# Names that not every encoding has, and with a space.
CLASSES = ("crème brûlée", "naan", "ご飯")
SIZE = 32
_PHOTOS = 12  # of each class
_CREATED = "2026-01-01T00:00:00+00:00"


class SampleHead(Head):
    """A linear layer over the pooled features, with large weights: logits that hardly differ hide differences."""

    def __init__(self, request: HeadRequest) -> None:
        super().__init__(request.criterion)
        self.classifier = nn.Linear(request.pooled_width, request.outputs)
        nn.init.normal_(self.classifier.weight)

    def forward(self, features: Features) -> Tensor:
        """Maps features to logits ``(N, outputs)``."""
        logits: Tensor = self.classifier(features.pooled)
        return logits


class UnfaithfulHead(SampleHead):
    """A head that answers otherwise than each of its copies: traced, exported, pickled, or with its weights only."""

    def __init__(self, request: HeadRequest) -> None:
        super().__init__(request)
        self.original = True

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "original": False}

    def forward(self, features: Features) -> Tensor:
        """Maps features to logits ``(N, outputs)``; the original reverses them."""
        logits = super().forward(features)
        copied = not self.original or torch._C._is_tracing() or torch.compiler.is_compiling()
        return logits if copied else logits.flip(1)


class _SamplePlugin:
    @hookimpl
    def zoo_backbones(self) -> list[BackboneSpec]:
        return [BackboneSpec(name="sample", card=_card, build=_build_backbone)]

    @hookimpl
    def zoo_heads(self) -> list[HeadSpec]:
        return [HeadSpec(name="faithful", build=SampleHead), HeadSpec(name="unfaithful", build=UnfaithfulHead)]


def make_registry() -> Registry:
    """Returns the installed plugins, and the one that sample runs need."""
    return load_registry(extra={DISTRIBUTION: _SamplePlugin()})


def write_photos(folder: Path) -> None:
    """Writes photos of different sizes and colours, in a folder for each class."""
    random = np.random.default_rng(0)
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for number in range(_PHOTOS):
            pixels = random.integers(0, 40 + 15 * number, (40 + number, 52 - number, 3))
            pixels[:, :, label] = pixels[:, :, label] + 50
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{number}.png")


def write_unreadable_photos(folder: Path) -> None:
    """Writes files that are named like photos, in a folder for each class."""
    for name in CLASSES:
        (folder / name).mkdir(parents=True)
        for number in range(_PHOTOS):
            (folder / name / f"{number}.png").write_bytes(b"no photo")


def write_run(
    folder: Path,
    registry: Registry,
    *,
    data: Path,
    backbone: str = BACKBONE,
    head: str = "faithful",
    activation: Activation = "softmax",
) -> RunFolder:
    """Writes the record and the random weights of a finished run.

    Args:
        folder: The run folder, which does not exist.
        registry: As `make_registry` returns it.
        data: The folder with its photos.
        backbone: The name of its backbone.
        head: The name of its head in the plugin of the samples.
        activation: What turns its logits into probabilities.
    """
    folder.mkdir(parents=True)
    values: Mapping[str, Any] = {"head": f"{DISTRIBUTION}/{head}", "weights": "none", "freeze": "none"}
    config = make_config(backbone, data=str(data), image_size=SIZE, **values)
    offers = find_offers(config, registry, for_training=False)
    preprocess = resolve_preprocess(config, get_card(offers.backbone).preprocess)
    with seeded():
        model = assemble(config, offers, classes=len(CLASSES), preprocess=preprocess, activation=activation)
        save_weights(folder, model.classifier)
    record = RunRecord(
        status="finished",
        created=_CREATED,
        backbone=offers.backbone.name,
        head=offers.head.name,
        activation=activation,
        config=config.to_dict(),
        classes=CLASSES,
        preprocess=model.preprocess,
        weights="random",
    )
    write_record(folder, record)
    return RunFolder(folder, record)


def _card() -> BackboneCard:
    return BackboneCard(preprocess=Preprocess(size=(SIZE, SIZE), resize=SIZE + 4))


def _build_backbone(request: BackboneRequest) -> Backbone:
    def stage(inputs: int, outputs: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(inputs, outputs, 3, 2, 1), nn.BatchNorm2d(outputs), nn.ReLU())

    return StagedBackbone({"stem": stage(3, 8), "layer1": stage(8, 8), "layer2": stage(8, 12)}, width=12)
