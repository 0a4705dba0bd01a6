"""Offers that meet or violate their contracts, for the tests of the contract kit."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from torch import Tensor, nn

import zoo

if TYPE_CHECKING:
    from collections.abc import Callable

WIDTH = 8
CARD = zoo.BackboneCard(preprocess=zoo.Preprocess(size=(12, 16), resize=16))


def violation(check: Callable[[], None]) -> str:
    """Returns the message of the AssertionError that a check raises."""
    with pytest.raises(AssertionError) as caught:
        check()
    return str(caught.value)


class Net(zoo.StagedBackbone):
    """A backbone that meets its contract."""

    def __init__(self) -> None:
        def stage(inputs: int, outputs: int) -> nn.Module:
            return nn.Sequential(nn.Conv2d(inputs, outputs, 3, 2, 1), nn.BatchNorm2d(outputs), nn.ReLU())

        super().__init__({"stem": stage(3, 4), "middle": stage(4, 6), "last": stage(6, WIDTH)}, width=WIDTH)


class WrongWidth(Net):
    """Violates its contract: the pooled features are too narrow."""

    def forward(self, images: Tensor) -> zoo.Features:
        features = super().forward(images)
        return zoo.Features(features.pooled[:, :4], features.map)


class Raises(Net):
    """Violates its contract: it raises in the forward pass."""

    def forward(self, images: Tensor) -> zoo.Features:
        raise TypeError("no such thing")


def backbone_spec(net: Callable[[], Any] = Net, **values: Any) -> zoo.BackboneSpec:
    return zoo.BackboneSpec(**({"name": "net", "build": lambda request: net(), "card": lambda: CARD} | values))


class GoodHead(zoo.Head):
    """A head that meets its contract."""

    def __init__(self, request: zoo.HeadRequest) -> None:
        super().__init__(request.criterion)
        self.dropout = nn.Dropout(request.dropout)
        self.fc = nn.Linear(request.pooled_width, request.outputs)

    def forward(self, features: zoo.Features) -> Tensor:
        return self.fc(self.dropout(features.pooled))  # type: ignore[no-any-return]


class Detached(GoodHead):
    """Violates its contract: no gradient reaches the features."""

    def forward(self, features: zoo.Features) -> Tensor:
        return super().forward(zoo.Features(features.pooled.detach(), features.map.detach()))


def head_spec(build: Any, **values: Any) -> zoo.HeadSpec:
    return zoo.HeadSpec(**({"name": "mine", "build": build} | values))


def png(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4), (shade, 0, 0)).save(file, "PNG")
    return file.getvalue()


SAMPLES = tuple(zoo.Sample(png(i), i % 2, f"{i}.png") for i in range(6))
IMAGES = zoo.ImageSet(name="reds", classes=("dark", "bright"), train=SAMPLES[:4], test=SAMPLES[4:])


def dataset_spec(load: Callable[[zoo.DatasetRequest], Any]) -> zoo.DatasetSpec:
    return zoo.DatasetSpec(name="reds", load=load)
