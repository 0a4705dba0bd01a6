"""Classifies photos with a run in ONNX Runtime. Imports no torch."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import PredictionError, RunError
from zoo.inference.graph_cache import graph_key, read_graph
from zoo.inference.predictor import Outputs, PhotoPredictor, is_finite, make_normaliser
from zoo.utils.machine import nvidia_gpus, usable_cpus
from zoo.utils.text import first_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from zoo.plugins.registry import Registry
    from zoo.runs.run import RunFolder

_AMD_GPUS = Path("/dev/kfd")


class SessionPredictor(PhotoPredictor):
    """A run in ONNX Runtime, on the CPU, in float32. Several threads may use it at the same time.

    Args:
        run: The run.
        graph: Its ONNX model: maps normalised images ``(N, 3, h, w)`` to probabilities ``(N, classes)`` and heat maps
            ``(N, rows, columns)``; of a run that recognises unfamiliar photos to familiarity ``(N,)``, too. All are
            float32.

    Raises:
        ImportError: ONNX Runtime is not installed.
        Exception: The graph is damaged; the exceptions of ONNX Runtime have no common base.
    """

    def __init__(self, run: RunFolder, graph: bytes) -> None:
        import onnxruntime

        self.name = run.name
        self.classes = run.classes
        self.multi_label, self.thresholds, self.decision = run.multi_label, run.thresholds, run.decision
        self.calibration = run.calibration
        self.preprocess = run.preprocess
        self.runtime = "ONNX Runtime, cpu, fp32"
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = usable_cpus()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # it would slow down the decoding
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        self._probabilities, self._heatmaps, *self._familiarity = (each.name for each in self._session.get_outputs())
        self.familiarity_threshold = None if run.familiarity is None else run.familiarity.threshold
        self._normalise = make_normaliser(run.preprocess)

    def probabilities(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Returns probabilities ``(N, classes)`` float32 of preprocessed images, each uint8 ``(h, w, 3)``."""
        return self.outputs(images).probabilities

    def explained(self, images: Sequence[NDArray[np.uint8]]) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Returns probabilities ``(N, classes)`` and heat maps ``(N, rows, columns)``, float32."""
        found = self.outputs(images, heatmaps=True)
        return found.probabilities, found.heatmaps

    def outputs(self, images: Sequence[NDArray[np.uint8]], *, heatmaps: bool = False) -> Outputs:
        """Returns probabilities, familiarity and, if asked for, heat maps of preprocessed images."""
        names = [self._probabilities, *self._familiarity, *([self._heatmaps] if heatmaps else [])]
        values = dict(zip(names, self._run(names, images), strict=True))
        familiarity = values[self._familiarity[0]] if self._familiarity else None
        return Outputs(values[self._probabilities], familiarity, values.get(self._heatmaps))

    def _run(self, outputs: list[str], images: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        try:
            values = list(self._session.run(outputs, {self._input: self._normalise(images)}))
        except Exception as error:  # the exceptions of ONNX Runtime have no common base
            message = f"{self.name}: ONNX Runtime fails: {first_line(error)}."
            raise RunError(message, hint="Is there enough memory?") from error
        if not all(map(is_finite, values)):
            hint = "zoo.load(RUN).predict(PHOTO) names the layer in which it begins."
            raise PredictionError(f"{self.name} returns NaN or infinity in ONNX Runtime.", hint=hint)
        return values


def open_cached(run: RunFolder, *, device: str, registry: Registry) -> SessionPredictor | None:
    """Opens the cached graph of a run without importing torch.

    Args:
        run: The run.
        device: As in `FinetuneConfig`.
        registry: The plugins.

    Returns:
        None if there is no usable graph, or the device may be another one than the CPU.
    """
    if not _is_cpu(device):
        return None
    key = graph_key(run, registry)
    graph = read_graph(key) if key else None
    if graph is None:
        return None
    try:
        return SessionPredictor(run, graph)
    except Exception:  # a graph that this ONNX Runtime does not open is made again
        return None


def _is_cpu(device: str) -> bool:
    """Returns whether a device is surely the CPU, as far as can be seen without torch."""
    if device != "auto":
        return device == "cpu"
    gpus = nvidia_gpus()
    return sys.platform == "linux" and not (isinstance(gpus, int) and gpus) and not _AMD_GPUS.exists()
