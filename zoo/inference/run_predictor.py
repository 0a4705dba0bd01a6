"""Loads a trained run and classifies photos with it. Imports torch."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from zoo.data.loading.augment import normalise
from zoo.inference.predictor import PhotoPredictor, Prediction
from zoo.models.build import Model, assemble
from zoo.models.heatmap import build_heatmap
from zoo.models.offers import find_offers
from zoo.models.precision import Precision, choose_device, choose_precision
from zoo.models.runtime import float32_precision
from zoo.plugins.registry import load_registry
from zoo.runs.open import explained_missing_plugin, load_config, open_run
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

__all__ = ["Prediction", "Predictor", "load", "rebuild_model"]


class Predictor(PhotoPredictor):
    """A trained classifier with its classes and its preprocessing; created by `load`.

    Attributes:
        run: The run.
        classifier: The network, in eval mode, on the device.
        classes: Class names, in the order of the outputs.
        preprocess: How pixels become the input of the network.
        precision: The precision and the device.
    """

    def __init__(self, run: Run, classifier: Classifier, precision: Precision, preprocess: Preprocess) -> None:
        self.run = run
        self.name = run.name
        self.classes = run.classes
        self.preprocess = preprocess
        self.precision = precision
        self.runtime = f"torch, {precision.device}, {precision.name}"
        self.classifier: Classifier = classifier.eval().to(precision.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._heatmap = build_heatmap(self.classifier, preprocess.size)

    @torch.inference_mode()
    def probabilities(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Returns probabilities ``(N, classes)`` float32 of preprocessed images, each uint8 ``(h, w, 3)``."""
        _, logits = self._run_network(images)
        probabilities: NDArray[np.float32] = self.classifier.head.probabilities(logits).cpu().numpy()
        return probabilities

    @torch.inference_mode()
    def explained(self, images: Sequence[NDArray[np.uint8]]) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Returns probabilities ``(N, classes)`` and heat maps ``(N, rows, columns)``, float32."""
        features, logits = self._run_network(images)
        probabilities = self.classifier.head.probabilities(logits)
        with self._apply_precision():
            heatmaps = self._heatmap(features, logits.float())
        return probabilities.cpu().numpy(), heatmaps.cpu().numpy()

    def _run_network(self, images: Sequence[NDArray[np.uint8]]) -> tuple[Features, Tensor]:
        batch = torch.from_numpy(np.stack(images)).to(self.precision.device).permute(0, 3, 1, 2)
        with self._apply_precision():
            features = self.classifier.backbone.extract(normalise(batch, self.preprocess))
            return features, self.classifier.head(features)

    @contextmanager
    def _apply_precision(self) -> Iterator[None]:
        # By default, torch rounds float32 to TF32 in the convolutions of a GPU.
        with float32_precision(self.precision), self.precision.autocast():
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
        run: A run, the path of its folder, its name in `runs`, or a tag (``hotdog@3``).
        runs: The folder of the runs.
        device: As in `FinetuneConfig`.
        precision: As in `FinetuneConfig`. The default is float32, so that predictions are the same on every machine.
        registry: The plugins; by default all that are installed.

    Raises:
        RunError: There is no such run, or its files are broken.
        UnknownNameError: The plugin of its backbone or its head is not installed.
        ConfigError: The device is not available.
    """
    opened = run if isinstance(run, Run) else open_run(run, runs=Path(runs))
    model = rebuild_model(opened, registry or load_registry())
    chosen_precision = choose_precision(precision, choose_device(device))
    return Predictor(opened, model.classifier, chosen_precision, model.preprocess)


def rebuild_model(run: Run, registry: Registry) -> Model:
    """Builds the classifier of a run, with its trained weights, on the CPU.

    Raises:
        RunError: The files of the run are broken.
        UnknownNameError: The plugin of its backbone or its head is not installed.
    """
    # The weights come from the run, so pretrained ones need not be downloaded.
    from_scratch = {"weights": "none", "freeze": "none", "optimizer": "sgd"}
    # Qualified names, because a plugin that was installed later may have taken the bare ones.
    config = load_config(run, backbone=run.backbone, head=run.head, **from_scratch)
    with explained_missing_plugin(run, registry):
        offers = find_offers(config, registry)
    model = assemble(config, offers, classes=len(run.classes), preprocess=run.preprocess)
    load_weights(run, model.classifier)
    return Model(classifier=model.classifier, preprocess=model.preprocess, weights=str(run.weights_path))
