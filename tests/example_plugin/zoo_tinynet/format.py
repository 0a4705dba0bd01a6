"""Text files such as ``odds of hotdog salad``: every photo has the same probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

import zoo
from zoo.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class Odds(zoo.PhotoPredictor):
    """Predicts the same for every photo."""

    preprocess = zoo.Preprocess(size=(32, 32), resize=32)

    def __init__(self, name: str, classes: tuple[str, ...]) -> None:
        self.name, self.classes = name, classes

    def probabilities(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Returns probabilities ``(N, classes)``."""
        return np.full((len(images), len(self.classes)), 1 / len(self.classes), np.float32)


def load(request: zoo.FormatRequest) -> Odds:
    """Opens a file."""
    try:
        _, names = request.path.read_text("utf-8").split("odds of ")
    except (OSError, ValueError) as error:
        raise RunError(f"{request.path} has no odds: {error}.") from None
    return Odds(request.path.name, tuple(names.split()))
