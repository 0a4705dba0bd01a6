"""Loads a trained run and classifies photos with it. Imports torch."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial, wraps
from typing import TYPE_CHECKING, Concatenate, Literal, ParamSpec, TypeVar, get_args, overload

import numpy as np
import torch
from torch import Tensor, nn

from zoo.data.loading.augment import normalise
from zoo.errors import ConfigError, PredictionError
from zoo.inference.graph_cache import MAX_BYTES, graph_key, write_graph
from zoo.inference.predictor import EngineName, Outputs, PhotoPredictor, Prediction, is_finite
from zoo.inference.session_predictor import SessionPredictor, open_cached
from zoo.models.build import Model, assemble
from zoo.models.engines import ONNX_RUNTIME, TORCH, UNSUPPORTED, UnsupportedError, choose_engine, export_session
from zoo.models.familiarity import Familiarity
from zoo.models.finite import find_source, mark_overflow
from zoo.models.heatmap import build_heatmap
from zoo.models.offers import find_offers
from zoo.models.plugin_errors import plugin_errors
from zoo.models.precision import Precision, choose_device, choose_precision
from zoo.models.random_state import restore_random_states
from zoo.models.runtime import float32_precision
from zoo.plugins.registry import REGISTRY, Registry, load_registry
from zoo.runs.open import explained_missing_plugin, load_config, open_run
from zoo.runs.run import RUNS, RunFolder
from zoo.runs.weights import load_weights
from zoo.utils.arguments import PATH, TEXT, WHOLE_NUMBER, Accepted, accepts

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from zoo.models.classifier import Classifier
    from zoo.models.offers import Offers
    from zoo.plugins.contracts import Features, Head
    from zoo.preprocess import Preprocess

__all__ = ["Prediction", "Predictor", "cache_graph", "load", "rebuild_model"]

T = TypeVar("T")
P = ParamSpec("P")
ENGINES = get_args(EngineName)
_MANY = 10_000  # photos that a process classifies if the number is unknown
_ADVICE = (
    "All weights are finite, so the layer overflows or divides by zero on this photo: use precision fp32, or report it "
    "to the author of the plugin."
)


def _names_plugins(method: Callable[Concatenate[Predictor, P], T]) -> Callable[Concatenate[Predictor, P], T]:
    """Lets an error in the code of a backbone or a head name the plugin."""

    @wraps(method)
    def call(self: Predictor, /, *args: P.args, **kwargs: P.kwargs) -> T:
        if self.offers is None:
            return method(self, *args, **kwargs)
        with plugin_errors(self.offers, self.classifier, action="predicting with"):
            return method(self, *args, **kwargs)

    return call


class Predictor(PhotoPredictor):
    """A trained classifier with its classes and its preprocessing; created by `load`.

    Attributes:
        run: The run.
        classifier: The network, in eval mode, on the device.
        classes: Class names, in the order of the outputs.
        preprocess: How pixels become the input of the network.
        precision: The precision and the device.
        heatmap: Computes heat maps.
        familiarity: Computes how familiar photos are; None if the run does not recognise unfamiliar ones.
        offers: The backbone and the head, so that errors name their plugin; None if they are not known.
    """

    def __init__(
        self,
        run: RunFolder,
        classifier: Classifier,
        precision: Precision,
        preprocess: Preprocess,
        offers: Offers | None = None,
    ) -> None:
        self.run = run
        self.offers = offers
        self.name = run.name
        self.classes = run.classes
        self.multi_label, self.thresholds, self.decision = run.multi_label, run.thresholds, run.decision
        self.calibration = run.calibration
        self.preprocess = preprocess
        self.precision = precision
        self.runtime = f"torch, {precision.device}, {precision.name}"
        self.classifier: Classifier = classifier.eval().to(precision.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.heatmap = build_heatmap(self.classifier, preprocess.size)
        self.familiarity = build_familiarity(run, self.classifier.head)
        self.familiarity_threshold = None if run.familiarity is None else run.familiarity.threshold

    def probabilities(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Returns probabilities ``(N, classes)`` float32 of preprocessed images, each uint8 ``(h, w, 3)``."""
        return self.outputs(images).probabilities

    def explained(self, images: Sequence[NDArray[np.uint8]]) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Returns probabilities ``(N, classes)`` and heat maps ``(N, rows, columns)``, float32."""
        found = self.outputs(images, heatmaps=True)
        return found.probabilities, found.heatmaps

    @_names_plugins
    @torch.inference_mode()
    def outputs(self, images: Sequence[NDArray[np.uint8]], *, heatmaps: bool = False) -> Outputs:
        """Returns probabilities, familiarity and, if asked for, heat maps of preprocessed images."""
        features, logits = self._run_network(images)
        probabilities = self._finite_probabilities(logits, images)
        with float32_precision(self.precision):  # without autocast: a product in 16 bits is too coarse for a threshold
            familiarity = None if self.familiarity is None else self.familiarity(features).cpu().numpy()
        if not heatmaps:
            return Outputs(probabilities, familiarity)
        with self._apply_precision():
            values = self.heatmap(features, logits.float()).cpu().numpy()
        if not is_finite(values):
            raise self._describe_failure("a heat map of ", images)
        return Outputs(probabilities, familiarity, values)

    def _run_network(self, images: Sequence[NDArray[np.uint8]]) -> tuple[Features, Tensor]:
        device = self.precision.device
        devices = [device] if device.type == "cuda" and torch.cuda.is_initialized() else []
        # For networks that draw numbers. Python's and NumPy's generators are left alone: other threads may use them.
        with torch.random.fork_rng(devices), self._apply_precision():
            features = self.classifier.backbone.extract(self._to_batch(images))
            return features, self.classifier.head(features)

    def _to_batch(self, images: Sequence[NDArray[np.uint8]]) -> Tensor:
        batch = torch.from_numpy(np.stack(images)).to(self.precision.device).permute(0, 3, 1, 2)
        return normalise(batch, self.preprocess)

    def _finite_probabilities(self, logits: Tensor, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        probabilities = mark_overflow(self.classifier.head.probabilities(logits), logits)
        values: NDArray[np.float32] = probabilities.cpu().numpy()
        if not is_finite(values):
            raise self._describe_failure("", images)
        return values

    def _describe_failure(self, what: str, images: Sequence[NDArray[np.uint8]]) -> PredictionError:
        with self._apply_precision():
            place = find_source(self.classifier, self._to_batch(images))
        return PredictionError(f"{self.name} returns {what}NaN or infinity{place}.", hint=_ADVICE)

    @contextmanager
    def _apply_precision(self) -> Iterator[None]:
        # By default, torch rounds float32 to TF32 in the convolutions of a GPU.
        with float32_precision(self.precision), self.precision.autocast():
            yield


@overload
def load(
    run: str | os.PathLike[str] | RunFolder,
    *,
    runs: str | os.PathLike[str] = RUNS,
    device: str = "auto",
    precision: str = "fp32",
    registry: Registry | None = None,
    engine: Literal["torch"] = "torch",
    images: int | None = None,
) -> Predictor: ...
@overload
def load(
    run: str | os.PathLike[str] | RunFolder,
    *,
    runs: str | os.PathLike[str] = RUNS,
    device: str = "auto",
    precision: str = "fp32",
    registry: Registry | None = None,
    engine: EngineName,
    images: int | None = None,
) -> PhotoPredictor: ...
@accepts(
    run=PATH | Accepted("a zoo.Run", (RunFolder,)),
    runs=PATH,
    device=TEXT,
    precision=TEXT,
    registry=REGISTRY | None,
    engine=TEXT,
    images=WHOLE_NUMBER | None,
)
@restore_random_states()
def load(
    run: str | os.PathLike[str] | RunFolder,
    *,
    runs: str | os.PathLike[str] = RUNS,
    device: str = "auto",
    precision: str = "fp32",
    registry: Registry | None = None,
    engine: EngineName = "torch",
    images: int | None = None,
) -> PhotoPredictor:
    """Loads a run, ready to predict.

    Args:
        run: A run, the path of its folder, its name in `runs`, or a tag (``hotdog@3``).
        runs: The folder of the runs.
        device: As in `FinetuneConfig`.
        precision: As in `FinetuneConfig`. The default is float32, so that predictions are the same on every machine.
        registry: The plugins; by default all that are installed.
        engine: ``"torch"``, and the result is a `Predictor`; ``"onnxruntime"``, which is up to four times as fast on a
            CPU, and whose probabilities differ from torch's by rounding errors only; or ``"auto"``: ONNX Runtime if it
            saves time for this number of photos. Only torch is used on a GPU, and for other precisions than float32.
        images: How many photos will be classified, for ``"auto"``; None means many.

    Raises:
        RunError: There is no such run, or its files are broken.
        UnknownNameError: The plugin of its backbone or its head is not installed.
        ConfigError: The device is not available, or there is no such engine.
    """
    if engine not in ENGINES:
        raise ConfigError(f"There is no engine {engine!r}.", hint=f"The engines are {', '.join(ENGINES)}.")
    opened = run if isinstance(run, RunFolder) else open_run(run, runs=runs)
    registry = registry or load_registry()
    chosen_precision = choose_precision(precision, choose_device(device))
    use_torch = engine == TORCH or chosen_precision.device.type != "cpu" or chosen_precision.name != "fp32"
    cached = None if use_torch else open_cached(opened, device="cpu", registry=registry)
    if cached is not None:
        return cached
    model = rebuild_model(opened, registry)
    predictor = Predictor(opened, model.classifier, chosen_precision, model.preprocess, model.offers)
    if use_torch:
        return predictor
    return _use_fastest(predictor, engine=engine, images=_MANY if images is None else images, registry=registry)


def _use_fastest(
    predictor: Predictor, *, engine: EngineName, images: int, registry: Registry
) -> Predictor | SessionPredictor:
    """Returns the predictor, or one in ONNX Runtime, whose graph is then cached."""
    run, graphs = predictor.run, list[bytes]()
    height, width = predictor.preprocess.size
    chosen = choose_engine(
        _PredictorOutputs(predictor),
        images=images,
        image_size=(height, width),
        precision=predictor.precision,
        key=f"{run.backbone} with {run.head}, prediction, {height} x {width}",
        name=engine,
        save=graphs.append,
    )
    if chosen.name == ONNX_RUNTIME:
        if (key := graph_key(run, registry)) is not None:
            write_graph(key, graphs[-1])
        return SessionPredictor(run, graphs[-1])
    if chosen.reason.startswith(UNSUPPORTED):
        predictor.notes = (f"{chosen.reason.rstrip('.')}. It runs in torch, which may be slower.",)
    return predictor


def cache_graph(run: RunFolder, classifier: Classifier, *, registry: Registry) -> None:
    """Caches the graph of a run, so that `load` opens it in ONNX Runtime at once, without torch.

    It caches nothing if ONNX Runtime cannot run the classifier, or if the run is too large for the cache.

    Args:
        run: A finished run.
        classifier: The classifier, with the weights of the run. It is moved to the CPU and put into eval mode.
        registry: The plugins.
    """
    key = graph_key(run, registry)
    if key is None or run.weights_path.stat().st_size > MAX_BYTES:
        return
    predictor = Predictor(run, classifier, choose_precision("fp32", torch.device("cpu")), run.preprocess)
    with suppress(UnsupportedError):
        export_session(_PredictorOutputs(predictor), run.preprocess.size, partial(write_graph, key))


class _PredictorOutputs(nn.Module):
    """Maps normalised images ``(N, 3, H, W)`` to probabilities ``(N, classes)`` and heat maps ``(N, h, w)``.

    The third output is the familiarity ``(N,)``, of runs that recognise unfamiliar photos.
    """

    def __init__(self, predictor: Predictor) -> None:
        super().__init__()
        self.classifier, self.heatmap = predictor.classifier, predictor.heatmap
        self.familiarity = predictor.familiarity
        self.eval()

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        features = self.classifier.backbone.extract(images)
        logits = self.classifier.head(features)
        probabilities = mark_overflow(self.classifier.head.probabilities(logits), logits)
        maps = self.heatmap(features, logits.float())
        return (probabilities, maps) if self.familiarity is None else (probabilities, maps, self.familiarity(features))


def build_familiarity(run: RunFolder, head: Head) -> Familiarity | None:
    """Returns the module that computes how familiar photos are to a run; None if it does not recognise unfamiliar ones.

    Args:
        run: The run.
        head: The head of its classifier, in eval mode.

    Raises:
        RunError: The file of its prototypes is missing or broken.
    """
    prototypes = run.prototypes()
    if prototypes is None or run.familiarity is None:
        return None
    device = next((parameter.device for parameter in head.parameters()), torch.device("cpu"))
    return Familiarity(head, prototypes, neighbours=run.familiarity.neighbours).to(device).eval()


@restore_random_states()
def rebuild_model(run: RunFolder, registry: Registry) -> Model:
    """Builds the classifier of a run, with its trained weights, on the CPU.

    Raises:
        RunError: The files of the run are broken.
        UnknownNameError: The plugin of its backbone or its head is not installed.
    """
    # The weights come from the run, so pretrained ones need not be downloaded.
    from_scratch = {"weights": "none", "freeze": "none"}
    # Qualified names, because a plugin that was installed later may have taken the bare ones.
    config = load_config(run, backbone=run.backbone, head=run.head, **from_scratch)
    with explained_missing_plugin(run, registry):
        offers = find_offers(config, registry, for_training=False)
    model = assemble(
        config,
        offers,
        classes=len(run.classes),
        preprocess=run.preprocess,
        activation=run.record.activation,
    )
    load_weights(run, model.classifier)
    if run.calibration is not None:
        head = model.classifier.head
        head.criterion = replace(head.criterion, temperature=run.calibration.temperature)
    return replace(model, weights=str(run.weights_path))
