"""A plugin that fine-tunes in a second, and photos that exist in memory only."""

import io
from collections.abc import Sequence

import numpy as np
import torch
from criteria import make_criterion
from PIL import Image
from torch import Tensor, nn

import zoo
from zoo.errors import WeightsError
from zoo.models.classifier import Classifier
from zoo.plugins.contracts import Features, StagedBackbone
from zoo.plugins.discovery import load_plugins
from zoo.plugins.entry_points import Candidate, find_plugins
from zoo.plugins.registry import Registry
from zoo.plugins.specs import BackboneCard, HeadRequest, ImageSet, Sample, WeightsInfo
from zoo.preprocess import Preprocess

torch.set_num_threads(1)  # a second thread slows down networks this small
SIZE = 16
PARTS = ("losses", "metrics", "optimizers", "schedules", "augmentations", "recipes", "trackers")  # built-in plugins
CLASSES = ("red", "green", "blue")
PREPROCESS = Preprocess(size=(SIZE, SIZE), resize=18, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


def make_photo(label: int, seed: int, size: tuple[int, int] = (24, 20)) -> np.ndarray:
    """Returns uint8 noise (height, width, 3) in which the channel of the label is the brightest."""
    random = np.random.default_rng([label, seed])
    pixels = random.integers(0, 160, (*size, 3))
    pixels[:, :, label % 3] += 60
    return pixels.astype(np.uint8)


def encode_png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def make_samples(split: str, per_class: int, *, classes: int = len(CLASSES), seed: int = 0) -> tuple[Sample, ...]:
    """Returns labelled photos of different sizes, alternating between the classes."""
    return tuple(
        Sample(
            encode_png(make_photo(label, 1000 * seed + 10 * index + len(split), (20 + index % 5, 28 - index % 7))),
            label,
            f"{split}/{CLASSES[label]}/{index}.png",
        )
        for index in range(per_class)
        for label in range(classes)
    )


def make_images(**changes) -> ImageSet:
    splits = {"train": make_samples("train", 12), "val": make_samples("val", 4), "test": make_samples("test", 6)}
    return ImageSet(**{"name": "colours", "classes": CLASSES, **splits, **changes})


class SmallBackbone(StagedBackbone):
    """Three stages, each with a convolution, a batch normalisation and dropout."""

    def __init__(self, *, dropout: float = 0.0) -> None:
        def stage(inputs: int, outputs: int) -> nn.Module:
            return nn.Sequential(
                nn.Conv2d(inputs, outputs, 3, 2, 1), nn.BatchNorm2d(outputs), nn.ReLU(), nn.Dropout(dropout)
            )

        super().__init__({"stem": stage(3, 8), "layer1": stage(8, 8), "layer2": stage(8, 12)}, width=12)


class SmallHead(zoo.Head):
    """A linear layer over the pooled features, or over the mean of the map."""

    def __init__(self, request, *, over_map: bool = False) -> None:
        super().__init__(request.criterion)
        self.over_map = over_map
        self.dropout = nn.Dropout(request.dropout)
        self.linear = nn.Linear(request.map_width if over_map else request.pooled_width, request.outputs)

    def forward(self, features: Features) -> Tensor:
        return self.linear(self.dropout(features.map.mean(dim=(2, 3)) if self.over_map else features.pooled))


def make_classifier(**options) -> Classifier:
    """Returns a classifier of `SmallBackbone` with these options and a linear head."""
    widths = {"pooled_width": 12, "map_width": 12, "outputs": len(CLASSES)}
    request = HeadRequest(**widths, dropout=0.0, criterion=make_criterion(), options=None)
    return Classifier(SmallBackbone(**options), SmallHead(request))


def make_backbone_spec(name="small", *, weights=True, build=None, **options):
    def build_small(request):
        if request.pretrained and weights == "offline":
            raise WeightsError("The weights cannot be downloaded.", hint="Give a file with --weights.")
        return SmallBackbone(**options)

    info = WeightsInfo(name="v1", source="these tests") if weights else None
    card = BackboneCard(preprocess=PREPROCESS, weights=info)
    return zoo.BackboneSpec(name=name, build=build or build_small, card=lambda: card)


def make_head_spec(name="flat", **options):
    return zoo.HeadSpec(name=name, build=lambda request: SmallHead(request, **options))


class FakePlugin:
    """Offers the given specs; by default the backbone `small` and its variants, heads `flat` and `mapped`.

    Its augmentations are the built-in ones and those given.

    Attributes:
        dataset: The images that its dataset `colours` loads; tests may replace it.
    """

    def __init__(self, *, backbones=None, heads=None, dataset: ImageSet | None = None, augmentations=()) -> None:
        self.augmentations = [*augmentations]
        self.backbones = backbones or [
            make_backbone_spec(),
            make_backbone_spec("small-dropout", dropout=0.3),
            make_backbone_spec("small-bare", weights=None),
            make_backbone_spec("small-offline", weights="offline"),
        ]
        self.heads = heads or [make_head_spec(), make_head_spec("mapped", over_map=True)]
        self.dataset = dataset or make_images()

    @zoo.hookimpl
    def zoo_backbones(self):
        return self.backbones

    @zoo.hookimpl
    def zoo_heads(self):
        return self.heads

    @zoo.hookimpl
    def zoo_augmentations(self):
        return self.augmentations

    @zoo.hookimpl
    def zoo_datasets(self):
        return [zoo.DatasetSpec(name="colours", load=lambda request: self.dataset)]


def make_choice(kind, name, **options):
    """Returns a built-in offer of a kind, with these values of its options."""
    return make_registry(FakePlugin()).choose(kind, name, options)


def make_registry(plugin: object, name: str = "fake", *, others: Sequence[Candidate] = ()) -> Registry:
    """Returns a registry of this plugin and the built-in parts of a training, so that no test depends on others."""
    candidate = Candidate(entry=name, distribution=name, version="1.2", load=lambda: plugin)
    parts = [each for each in find_plugins() if each.built_in and each.entry in PARTS]
    registry = Registry(load_plugins([*parts, *others, candidate]))
    assert not registry.failures, registry.failures
    return registry
