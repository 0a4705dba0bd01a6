"""Loads an exported file and classifies photos, with nothing but onnxruntime, numpy and Pillow."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.errors import ConfigError, ExportError, PredictionError
from zoo.inference.predictor import Outputs, PhotoPredictor, is_finite, make_normaliser
from zoo.utils.arguments import FUNCTION, PATH, TEXT, WHOLE_NUMBER, Accepted, accepts
from zoo.utils.paths import parse_path
from zoo_export.exported_files import read_exported
from zoo_export.model_card import DECISIONS, FAMILIARITY, KEY, OUTPUTS, ModelCard
from zoo_export.runtime.batch_padding import MakeBatch, make_padder
from zoo_export.runtime.providers import CUDA
from zoo_export.runtime.second_entry import without_resize
from zoo_export.runtime.session import check_content, open_session, run_session
from zoo_export.security.digest import check_digest, read_digests

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from zoo.plugins.specs import FormatRequest
    from zoo_export.runtime.session import Session

_PROBABILITIES, _LOGITS, _HEATMAP = OUTPUTS
_Value = tuple[str, list[Any]]  # type and shape of an input or output
_TYPES = {"pixels": "tensor(uint8)", "tensor": "tensor(float)"}


class OnnxPredictor(PhotoPredictor):
    """An exported classifier, opened by `load`. Several threads may use it at the same time.

    Args:
        name: Its name in messages.
        card: The card of the file.
        session: The session.
        resizes: Whether the graph of the session resizes photos.

    Attributes:
        card: The card of the file.
        session: The session that runs the graph, without the resize: photos are preprocessed before they share a batch.
        notes: What the user should know: why CUDA is not used, that the file was never compared with its run.
    """

    def __init__(self, name: str, card: ModelCard, session: Session, *, resizes: bool = False) -> None:
        self.name = name
        self.card = card
        self.session = session
        self.classes = card.classes
        self.multi_label, self.thresholds, self.decision = card.multi_label, card.thresholds, card.decision
        self.calibration = card.calibration
        self.familiarity_threshold = None if card.familiarity is None else card.familiarity.threshold
        self.preprocess = card.preprocess
        self.runtime = f"ONNX Runtime, {session.provider.removesuffix('ExecutionProvider')}, {card.precision}"
        unverified = "" if card.verified else f"{name} was never compared with the run that it was exported from."
        self.notes = tuple(filter(None, (session.note, unverified)))
        if card.input == "tensor":
            self._make_batch: MakeBatch = make_normaliser(card.preprocess)
        else:
            self._make_batch = make_padder(card.preprocess, name=name) if resizes else np.stack

    @property
    def provider(self) -> str:
        """What the graph runs on: ``"CPUExecutionProvider"`` or ``"CUDAExecutionProvider"``."""
        return self.session.provider

    @property
    def precision(self) -> str:
        """``"fp32"``, ``"fp16"`` or ``"int8"``."""
        return self.card.precision

    def probabilities(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Returns ``(N, classes)`` float32 for preprocessed images, uint8 ``(h, w, 3)`` each.

        Raises:
            ExportError: The graph fails, or returns something else.
            PredictionError: It returns NaN or infinity.
        """
        return self.outputs(images).probabilities

    def explained(self, images: Sequence[NDArray[np.uint8]]) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Returns probabilities ``(N, classes)`` and heat maps ``(N, rows, columns)`` of preprocessed images.

        Raises:
            ExportError: The graph fails, or returns something else.
            PredictionError: It returns NaN or infinity.
        """
        found = self.outputs(images, heatmaps=True)
        return found.probabilities, found.heatmaps

    def outputs(self, images: Sequence[NDArray[np.uint8]], *, heatmaps: bool = False) -> Outputs:
        """Returns probabilities, familiarity and, if asked for, heat maps of preprocessed images.

        Raises:
            ExportError: The graph fails, or returns something else.
            PredictionError: It returns NaN or infinity.
        """
        names = [_PROBABILITIES, _LOGITS, *([] if self.card.familiarity is None else [FAMILIARITY])]
        names += [_HEATMAP] if heatmaps else []
        found = dict(zip(names, self._run(names, images), strict=True))
        return Outputs(found[_PROBABILITIES], found.get(FAMILIARITY), found.get(_HEATMAP))

    def batch(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8] | NDArray[np.float32]:
        """Returns the input of the graph for preprocessed images, uint8 ``(h, w, 3)`` each."""
        return self._make_batch(images)

    def warm_up(self) -> None:
        """Runs the graph once: the first run of a session plans its memory, and on CUDA chooses its kernels."""
        self.probabilities([np.zeros((*self.preprocess.size, 3), dtype=np.uint8)])

    def _run(self, names: list[str], images: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        feed = {self.card.input_name: self.batch(images)}
        outputs = run_session(self.session, names, feed, name=self.name)
        # The logits too: of an infinite one, a sigmoid makes the probability 1.
        for name, values in zip(names, outputs, strict=True):
            shapes = {_HEATMAP: values.shape[1:3], FAMILIARITY: ()}
            if values.shape != (len(images), *shapes.get(name, (len(self.classes),))):
                raise ExportError(
                    f"{self.name}: its output '{name}' is {values.shape} for {len(images)} photos and "
                    f"{len(self.classes)} classes.",
                    hint="Export the run again.",
                )
            if not is_finite(values):
                remedy = "Export the run again." if self.precision == "fp32" else "Export the run in fp32."
                raise PredictionError(f"{self.name} returns NaN or infinity as its '{name}'.", hint=remedy)
        return outputs


@accepts(
    model=PATH | Accepted("the bytes of the file", (bytes, bytearray, memoryview)),
    device=TEXT,
    threads=WHOLE_NUMBER | None,
    ask=FUNCTION | None,
)
def load(
    model: str | os.PathLike[str] | bytes | bytearray | memoryview,
    *,
    device: str = "auto",
    threads: int | None = None,
    ask: Callable[[str], str] | None = None,
) -> OnnxPredictor:
    """Opens an exported file, ready to predict.

    Args:
        model: A file, or its bytes. A file of ``zoo encrypt`` (``model.onnx.age``) is decrypted into memory.
        device: ``"auto"`` chooses CUDA if it really works, otherwise the CPU, see `OnnxPredictor.provider`; ``"cpu"``;
            ``"cuda"`` or ``"cuda:1"``, which is CUDA or an error.
        threads: The number of threads per operator; by default the number of CPUs that this process may use.
        ask: Prompts for the passphrase of an encrypted file if no environment variable names its secret.

    Raises:
        ConfigError: There is no such device.
        IntegrityError: The file was changed; or it is encrypted, and no key or passphrase opens it.
        ExportError: The file is damaged or not a file of ``zoo export``, or CUDA was requested and does not work.
    """
    if threads is not None and threads < 1:
        raise ConfigError(f"load: argument 'threads' is {threads}.", hint="Pass at least 1.")
    source = parse_path(model) if isinstance(model, str | os.PathLike) else bytes(model)
    name = str(source) if isinstance(source, Path) else "The model"
    if isinstance(source, Path):
        content, digests = read_exported(source, ask=ask)
    else:
        content, digests = source, read_digests(source)
    check_content(content, name=name)
    entry = without_resize(content)
    resizes = entry is None

    def open_on(device: str, *, note: str = "") -> OnnxPredictor:
        session = open_session(entry or content, name=name, device=device, threads=threads)
        return _create_predictor(name, replace(session, note=note or session.note), resizes=resizes)

    predictor = open_on(device)
    check_digest(digests, name=name, expected=predictor.card.has_digest)
    if predictor.provider != CUDA:
        return predictor
    try:
        predictor.warm_up()  # a GPU that is too old, or out of memory, fails only here
    except ExportError as error:
        if device != "auto":
            raise
        return open_on("cpu", note=error.message)
    return predictor


def load_request(request: FormatRequest) -> OnnxPredictor:
    """Opens the file of a request, with `load`: the callable of the plugin's `FormatSpec`."""
    return load(request.path, device=request.device, ask=request.ask)


def _create_predictor(name: str, session: Session, *, resizes: bool) -> OnnxPredictor:
    try:
        text = session.runtime.get_modelmeta().custom_metadata_map.get(KEY)
        inputs, outputs = (
            {value.name: (value.type, value.shape) for value in values}
            for values in (session.runtime.get_inputs(), session.runtime.get_outputs())
        )
    except UnicodeDecodeError as error:
        raise ExportError(f"{name} is damaged: a name in it is not text.", hint="Copy the file again.") from error
    if text is None:
        raise ExportError(f"{name} was not written by 'zoo export': it has no model card.")
    card = ModelCard.from_json(text, where=name)
    if reason := _find_contradiction(card, inputs, outputs):
        raise ExportError(f"{name}: {reason}.", hint="Another tool may have changed the file: export the run again.")
    return OnnxPredictor(name, card, session, resizes=resizes)


def _find_contradiction(card: ModelCard, inputs: Mapping[str, _Value], outputs: Mapping[str, _Value]) -> str:
    """Returns how the graph contradicts its card, or an empty string."""
    if list(inputs) != [card.input_name]:
        return f"its inputs are {list(inputs)}, not ['{card.input_name}']"
    kind, shape = inputs[card.input_name]
    if kind != _TYPES[card.input] or len(shape) != 4:
        return f"its input '{card.input_name}' is {kind} of {len(shape)} dimensions"
    for name in (_PROBABILITIES, _HEATMAP):
        if name not in outputs or outputs[name][0] != "tensor(float)":
            return f"it has no output '{name}' of float32"
    if card.has_decisions and outputs.get(DECISIONS, ("",))[0] != "tensor(uint8)":
        return f"it has no output '{DECISIONS}' of uint8"
    if card.familiarity is not None and outputs.get(FAMILIARITY, ("",))[0] != "tensor(float)":
        return f"it has no output '{FAMILIARITY}' of float32"
    width = (outputs[_PROBABILITIES][1] or [None])[-1]
    if isinstance(width, int) and width != len(card.classes):
        return f"it has {width} outputs for {len(card.classes)} classes"
    return ""
