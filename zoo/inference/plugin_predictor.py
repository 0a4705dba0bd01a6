"""The predictor of a third-party plugin: its errors name the plugin, and what it returns is checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.inference.predictor import PhotoPredictor
from zoo.metrics.calibration import Calibration
from zoo.plugins.calls import plugin_failure
from zoo.plugins.faults import probabilities_fault
from zoo.preprocess import Preprocess

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from zoo.plugins.registry import Offer
    from zoo.plugins.specs import FormatSpec

_ACTION = "predicting with"


class PluginPredictor(PhotoPredictor):
    """Predicts with the predictor of a plugin.

    Args:
        offer: The format that opened it.
        predictor: What the plugin returned.

    Raises:
        PluginError: It does not say which classes it knows, or how pixels become its input.

    Attributes:
        predictor: As above.
    """

    def __init__(self, offer: Offer[FormatSpec], predictor: PhotoPredictor) -> None:
        self.predictor = predictor
        self._offer = offer
        members: dict[str, Any] = {name: getattr(predictor, name, None) for name in ("name", "classes", "preprocess")}
        self.name, self.classes, self.preprocess = members.values()
        self.runtime, self.notes = predictor.runtime, predictor.notes
        self.multi_label, self.thresholds = predictor.multi_label, tuple(predictor.thresholds)
        self.decision = predictor.decision
        self.calibration = predictor.calibration
        if not isinstance(members["name"], str):
            raise self._failure(f"its name is {members['name']!r}")
        if not isinstance(members["classes"], tuple) or not all(isinstance(each, str) for each in self.classes):
            raise self._failure("its classes are not a tuple of names")
        if self.multi_label and len(self.thresholds) != len(self.classes):
            raise self._failure(f"it has {len(self.thresholds)} thresholds for {len(self.classes)} classes")
        if self.decision and (len(self.classes) != 2 or self.decision.positive not in self.classes):
            raise self._failure(f"its decision is about '{self.decision.positive}', which is not one of two classes")
        if not isinstance(self.calibration, Calibration | None):
            raise self._failure(f"its calibration is {type(self.calibration).__name__}, not zoo.Calibration or None")
        if not isinstance(members["preprocess"], Preprocess):
            raise self._failure(f"its preprocess is {type(members['preprocess']).__name__}, not zoo.Preprocess")

    def probabilities(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Returns probabilities ``(N, classes)`` float32 of preprocessed images, each uint8 ``(h, w, 3)``."""
        return self._checked(self._offer.call(_ACTION, self.predictor.probabilities, images), images)

    def explained(self, images: Sequence[NDArray[np.uint8]]) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Returns probabilities ``(N, classes)``, and heat maps ``(N, rows, columns)`` or None."""
        found: Any = self._offer.call(_ACTION, self.predictor.explained, images)
        if not isinstance(found, tuple) or len(found) != 2:
            raise self._failure(f"explained() returned {type(found).__name__}, not probabilities and heat maps")
        probabilities, heatmaps = found
        if heatmaps is not None and (getattr(heatmaps, "ndim", 0) != 3 or len(heatmaps) != len(images)):
            raise self._failure("its heat maps are not (N, rows, columns)")
        return self._checked(probabilities, images), heatmaps

    def _checked(self, found: Any, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        # NaN is the business of whoever asks: it is about a photo, and the others have their probabilities.
        known = np.nan_to_num(found) if isinstance(found, np.ndarray) and found.dtype == np.float32 else found
        if fault := probabilities_fault(known, shape=(len(images), len(self.classes))):
            raise self._failure(f"probabilities() returned no probabilities: {fault}")
        result: NDArray[np.float32] = found
        return result

    def _failure(self, reason: str) -> Exception:
        return plugin_failure(self._offer.plugin, f"{_ACTION} '{self._offer.spec.name}'", reason)
