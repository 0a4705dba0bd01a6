"""Loads a trained run and tells what is to be seen in photos."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from zoo.data.augment import normalise
from zoo.data.image import decode, preprocess
from zoo.engine.precision import Precision, choose_device, choose_precision
from zoo.errors import ImageError
from zoo.finetuning.assembly import Model, assemble, config_of, find_offers
from zoo.finetuning.checkpoint import load_weights
from zoo.plugins import load_registry
from zoo.run import RUNS, Run, open_run

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from zoo.model import Classifier
    from zoo.registry import Registry
    from zoo.specs import Preprocess

_BATCH = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What a run says to one photo.

    Attributes:
        name: Of the photo.
        label: The most probable class.
        probability: Of that class, 0 to 1.
        probabilities: Of every class, the most probable first.
    """

    name: str
    label: str
    probability: float
    probabilities: dict[str, float]


class Predictor:
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
        self.classes = run.classes
        self.preprocess = preprocess
        self.precision = precision
        self.classifier: Classifier = classifier.eval().to(precision.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def predict(self, photo: str | Path | bytes | NDArray[np.uint8]) -> Prediction:
        """Returns the prediction for one photo: a file, the bytes of one, or uint8 RGB ``(H, W, 3)``.

        Raises:
            ImageError: The photo cannot be read.
        """
        name = str(photo) if isinstance(photo, (str, Path)) else "photo"
        return self._predictions([name], self.probabilities([self._read(photo, name)]))[0]

    def predict_files(self, paths: Iterable[Path]) -> Iterator[Prediction | ImageError]:
        """Yields, in order, the prediction for each file, or the error that says why it could not be read."""
        files = iter(paths)
        while chunk := list(islice(files, _BATCH)):
            read = [self._attempt(path) for path in chunk]
            good = [
                (str(path), pixels) for path, pixels in zip(chunk, read, strict=True) if isinstance(pixels, np.ndarray)
            ]
            names, pixels = [name for name, _ in good], [pixels for _, pixels in good]
            predictions = iter(self._predictions(names, self.probabilities(pixels)) if good else ())
            for outcome in read:
                yield outcome if isinstance(outcome, ImageError) else next(predictions)

    @torch.inference_mode()
    def probabilities(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Returns ``(N, classes)`` float32 for preprocessed images, uint8 ``(h, w, 3)`` each."""
        batch = torch.from_numpy(np.stack(images)).to(self.precision.device).permute(0, 3, 1, 2)
        with self.precision.autocast():
            logits = self.classifier(normalise(batch, self.preprocess))
        probabilities: NDArray[np.float32] = self.classifier.head.probabilities(logits).cpu().numpy()
        return probabilities

    def _read(self, photo: str | Path | bytes | NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
        if isinstance(photo, np.ndarray):
            if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3 or not photo.size:
                raise ImageError(
                    f"The array is {photo.dtype} {photo.shape}, not uint8 (H, W, 3).", hint="Give RGB pixels, 0 to 255."
                )
            return preprocess(photo, self.preprocess)
        source = Path(photo) if isinstance(photo, str) else photo
        return preprocess(decode(source, name=name), self.preprocess)

    def _attempt(self, path: Path) -> NDArray[np.uint8] | ImageError:
        try:
            return self._read(path, str(path))
        except ImageError as error:
            return error

    def _predictions(self, names: Sequence[str], probabilities: NDArray[np.float32]) -> list[Prediction]:
        predictions = []
        for name, row in zip(names, probabilities.tolist(), strict=True):
            ranked = sorted(zip(self.classes, row, strict=True), key=lambda pair: -pair[1])
            label, probability = ranked[0]
            predictions.append(Prediction(name=name, label=label, probability=probability, probabilities=dict(ranked)))
        return predictions


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
    model = assemble(config, find_offers(config, registry), None, len(run.classes), preprocess=run.preprocess)
    load_weights(run, model.classifier)
    return Model(classifier=model.classifier, preprocess=model.preprocess, weights=str(run.weights_path))
