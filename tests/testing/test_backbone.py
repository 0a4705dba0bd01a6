from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest
import torch
from contract_offers import (
    CARD,
    WIDTH,
    Net,
    Raises,
    WrongWidth,
    backbone_spec,
    violation,
)
from torch import Tensor, nn

import zoo
from zoo.testing import check_backbone

if TYPE_CHECKING:
    from collections.abc import Callable


def test_a_good_backbone_passes_and_leaves_the_random_state_alone() -> None:
    torch.manual_seed(1)
    wanted = torch.rand(3)
    torch.manual_seed(1)
    check_backbone(backbone_spec())
    check_backbone(backbone_spec(), size=(32, 24))
    assert torch.equal(torch.rand(3), wanted)


def test_one_stage_is_enough() -> None:
    check_backbone(backbone_spec(lambda: zoo.StagedBackbone({"all": nn.Conv2d(3, 4, 3)}, width=4)))


def test_a_backbone_of_layer_normalisation_and_zero_scales_passes() -> None:
    class Zero(Net):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.zeros(WIDTH))
            self.norm = nn.LayerNorm(WIDTH)

        def forward(self, images: Tensor) -> zoo.Features:
            x = super().forward(images).map
            x = self.norm((x * (1 + self.scale[:, None, None])).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            return zoo.Features(x.mean(dim=(2, 3)), x)

        def stages(self) -> tuple[zoo.Stage, ...]:
            return (*super().stages(), zoo.Stage("norm", ("scale", "norm.weight", "norm.bias")))

    check_backbone(backbone_spec(Zero))


class NoBackbone(nn.Module):
    pass


class FlatMap(Net):
    def forward(self, images: Tensor) -> zoo.Features:
        features = super().forward(images)
        return zoo.Features(features.pooled, features.map.flatten(2))


class BareTuple(Net):
    def forward(self, images: Tensor) -> Any:
        return tuple(super().forward(images))


class TupleInTraining(Net):
    def forward(self, images: Tensor) -> Any:
        features = super().forward(images)
        return tuple(features) if self.training else features


class HalfPrecision(Net):
    def forward(self, images: Tensor) -> zoo.Features:
        features = super().forward(images)
        return zoo.Features(features.pooled.bfloat16(), features.map)


class NotFinite(Net):
    def forward(self, images: Tensor) -> zoo.Features:
        features = super().forward(images)
        return zoo.Features(features.pooled / 0, features.map)


class AlwaysDropping(Net):
    def forward(self, images: Tensor) -> zoo.Features:
        features = super().forward(images)
        return zoo.Features(nn.functional.dropout(features.pooled, 0.5, training=True), features.map)


class LooksAtNeighbours(Net):
    def forward(self, images: Tensor) -> zoo.Features:
        return super().forward(images - images.mean(dim=0))


class NoGradient(Net):
    def forward(self, images: Tensor) -> zoo.Features:
        with torch.no_grad():
            return super().forward(images)


class CutStem(Net):
    def forward(self, images: Tensor) -> zoo.Features:
        x = self.body["last"](self.body["middle"](self.body["stem"](images).detach()))
        return zoo.Features(x.mean(dim=(2, 3)), x)


class Forgetful(Net):
    def __init__(self) -> None:
        super().__init__()
        self.hidden = [torch.randn(WIDTH)]  # not registered, so not saved

    def forward(self, images: Tensor) -> zoo.Features:
        features = super().forward(images)
        return zoo.Features(features.pooled + self.hidden[0], features.map)


class Frozen(Net):
    def __init__(self) -> None:
        super().__init__()
        self.requires_grad_(False)


class Evaluating(Net):
    def __init__(self) -> None:
        super().__init__()
        self.eval()


class Double(Net):
    def __init__(self) -> None:
        super().__init__()
        self.double()


class Staged(Net):
    def __init__(self, change: Callable[[tuple[zoo.Stage, ...]], Any]) -> None:
        super().__init__()
        self.change = change

    def stages(self) -> Any:
        return self.change(super().stages())


class NamesNoStage(Net):
    def stage_modules(self) -> dict[str, nn.Module]:
        return {**super().stage_modules(), "neck": self.body["last"]}


class FailingMaps(Net):
    def stage_map(self, output: Tensor, images: Tensor) -> Tensor:
        raise IndexError("no grid")


class MapsOfBatch(Net):
    def stage_map(self, output: Tensor, images: Tensor) -> Tensor:
        return output - output.mean(dim=0)


class JoinedMaps(Net):
    def stage_map(self, output: Tensor, images: Tensor) -> Tensor:
        return output.flatten(0, 1)[None]


class FailingExtract(Net):
    def extract(self, images: Tensor) -> zoo.Features:
        raise KeyError(self.tapped_stages[0])


@pytest.mark.parametrize(
    ("net", "sentence"),
    [
        (NoBackbone, "build() must return a zoo.Backbone, not NoBackbone"),
        (WrongWidth, "features.pooled must be (N, pooled_width), here (3, 8); it is (3, 4)"),
        (FlatMap, "features.map must be (N, map_width, h, w), here (3, 8, h, w); it is (3, 8, 4)"),
        (BareTuple, "forward() must return zoo.Features in eval mode, not tuple"),
        (TupleInTraining, "forward() must return zoo.Features in train mode, not tuple"),
        (HalfPrecision, "features.pooled must be float32, not torch.bfloat16"),
        (NotFinite, "features.pooled must be finite"),
        (AlwaysDropping, "features.pooled must be the same every time in eval mode"),
        (LooksAtNeighbours, "must not depend on the other images of the batch"),
        (Raises, "forward() in eval mode on images (3, 3, 12, 16) raised TypeError: no such thing"),
        (NoGradient, "the backward pass raised RuntimeError"),
        (CutStem, "the gradient of the features must reach the stage 'stem'"),
        (NamesNoStage, "stage_modules() must name stages, as stages() names them"),
        (FailingMaps, "stage_modules() and stage_map() raised IndexError: no grid"),
        (MapsOfBatch, "the map of the stage 'stem' must not depend on the batch in eval mode"),
        (JoinedMaps, "the map of the stage 'stem' must be (N, C, h, w), here (3, 4, 6, 8); it is (1, 12, 6, 8)"),
        (FailingExtract, "extract() raised KeyError: 'stem'"),
        (Forgetful, "a fresh build with the saved state dict must give the same features"),
        (Frozen, "build() must return the module unfrozen"),
        (Evaluating, "build() must return the module in train mode"),
        (Double, "body.stem.0.weight must be float32, not torch.float64"),
        (lambda: Staged(list), "stages() must return a tuple of zoo.Stage"),
        (lambda: Staged(lambda stages: ()), "stages() must return a tuple of zoo.Stage, at least one"),
        (lambda: Staged(lambda stages: stages[1:]), "in none: ['body.stem.0.bias', 'body.stem.0.weight'"),
        (lambda: Staged(lambda stages: (*stages, zoo.Stage("more", stages[0].parameters))), "in two: ['body.stem.0"),
        (lambda: Staged(lambda stages: (*stages, zoo.Stage("more", ("x",)))), "unknown: ['x']"),
        (lambda: Staged(lambda stages: (*stages, zoo.Stage("more", ()))), "'more' must have parameters"),
        (lambda: Staged(lambda stages: (*stages, stages[0])), "the names of its stages must differ"),
        (
            lambda: Staged(lambda stages: stages[::-1]),
            "stages() must be ordered from input to output, but 'last' is used after 'middle'",
        ),
    ],
)
def test_a_broken_backbone_is_refused_with_the_violated_rule(net: Callable[[], Any], sentence: str) -> None:
    message = violation(lambda: check_backbone(backbone_spec(net)))
    assert message.startswith("backbone net: ")
    assert sentence in message


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"size": (12.0, 16)}, "preprocess.size must be (height, width) in whole pixels"),
        ({"size": (0, 16)}, "preprocess.size"),
        ({"resize": 0}, "preprocess.resize must be a length in pixels; it is 0"),
        ({"mean": (123.7, 116.3, 103.5)}, "in units of x / 255 (0 to 1, not 0 to 255)"),
        ({"std": (0.0, 0.2, 0.2)}, "in units of x / 255"),
    ],
)
def test_a_card_that_makes_no_sense_is_refused(values: dict[str, Any], sentence: str) -> None:
    card = zoo.BackboneCard(preprocess=dataclasses.replace(CARD.preprocess, **values))
    assert sentence in violation(lambda: check_backbone(backbone_spec(card=lambda: card)))


def test_a_card_of_another_type_is_refused() -> None:
    spec = backbone_spec(card=lambda: CARD.preprocess)
    assert "card() must return a BackboneCard, not Preprocess" in violation(lambda: check_backbone(spec))
