"""Loads a trained run and tells what is to be seen in photos."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from zoo.data.loading.augment import normalise
from zoo.inference.predictor import PhotoPredictor, Prediction
from zoo.models.build import Model, assemble
from zoo.models.heatmap import Heatmap
from zoo.models.offers import find_offers
from zoo.models.precision import Precision, choose_device, choose_precision
from zoo.models.runtime import float32_arithmetic
from zoo.plugins.registry import load_registry
from zoo.runs.open import config_of, open_run
from zoo.runs.run import RUNS, Run
from zoo.runs.weights import load_weights

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from zoo.models.classifier import Classifier
    from zoo.plugins.contracts import Features
    from zoo.plugins.registry import Registry
    from zoo.preprocess import Preprocess

__all__ = ["Prediction", "Predictor", "load", "rebuild"]


class Predictor(PhotoPredictor):
    """A trained classifier with its classes and its preprocessing; made by `load`.

    Attributes:
        run: Where it came from.
        classifier: In eval mode, on the device.
        classes: Names in the order of the outputs.
        preprocess: How pixels become its input.
        precision: What it computes in, and where.
    """

    def __init__(self, run: Run, classifier: Classifier, precision: Precision, preprocess: Preprocess) -> None:
        self.run = run
        self.name = run.name
        self.classes = run.classes
        self.preprocess = preprocess
        self.precision = precision
        self.runtime = f"torch, {precision.device}, {precision.name}"
        self.classifier: Classifier = classifier.eval().to(precision.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        backbone = self.classifier.backbone
        self._heatmap = Heatmap(self.classifier.head, pooled_width=backbone.pooled_width, map_width=backbone.map_width)

    @torch.inference_mode()
    def probabilities(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Returns ``(N, classes)`` float32 for preprocessed images, uint8 ``(h, w, 3)`` each."""
        _, logits = self._computed(images)
        probabilities: NDArray[np.float32] = self.classifier.head.probabilities(logits).cpu().numpy()
        return probabilities

    @torch.inference_mode()
    def explained(self, images: Sequence[NDArray[np.uint8]]) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Returns probabilities ``(N, classes)`` and heat maps ``(N, rows, columns)`` of preprocessed images."""
        features, logits = self._computed(images)
        probabilities = self.classifier.head.probabilities(logits)
        with self._arithmetic():
            seen = self._heatmap(features, logits.float())
        return probabilities.cpu().numpy(), seen.cpu().numpy()

    def _computed(self, images: Sequence[NDArray[np.uint8]]) -> tuple[Features, Tensor]:
        batch = torch.from_numpy(np.stack(images)).to(self.precision.device).permute(0, 3, 1, 2)
        with self._arithmetic():
            features = self.classifier.backbone(normalise(batch, self.preprocess))
            return features, self.classifier.head(features)

    @contextmanager
    def _arithmetic(self) -> Iterator[None]:
        """Computes as the precision says: by itself torch rounds float32 to TF32 in the convolutions of a GPU."""
        with float32_arithmetic(self.precision), self.precision.autocast():
            yield


def load(
    run: str | Path | Run,
    *,
    runs: str | Path = RUNS,
    device: str = "auto",
    precision: str = "fp32",
    registry: Registry | None = None,
) -> Predictor:
    """Loads a run, ready to predict.

    Args:
        run: A run folder, or a run's name below `runs`.
        runs: Where runs are looked for by name.
        device: As in `FinetuneConfig`.
        precision: float32 unless told otherwise: a prediction is not to depend on the machine it is made on.
        registry: Of plugins; found in the environment by default.

    Raises:
        RunError: There is no such run, or its files are broken.
        UnknownNameError: The plugin that its backbone or head came from is not installed.
    """
    found = run if isinstance(run, Run) else open_run(run, runs=Path(runs))
    model = rebuild(found, registry or load_registry())
    chosen = choose_precision(precision, choose_device(device))
    return Predictor(found, model.classifier, chosen, model.preprocess)


def rebuild(run: Run, registry: Registry) -> Model:
    """Builds the classifier of a run, with its trained weights, on the CPU."""
    # The weights come from the run itself: nothing is downloaded to be overwritten.
    from_scratch = {"weights": "none", "freeze": "none", "optimizer": "sgd"}
    # Qualified names: a plugin installed since then may have taken the bare ones.
    config = config_of(run, backbone=run.backbone, head=run.head, **from_scratch)
    model = assemble(config, find_offers(config, registry), classes=len(run.classes), preprocess=run.preprocess)
    load_weights(run, model.classifier)
    return Model(classifier=model.classifier, preprocess=model.preprocess, weights=str(run.weights_path))
