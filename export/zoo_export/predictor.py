"""Loads an exported file and tells what is to be seen in photos, with onnxruntime, numpy and Pillow alone."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.errors import ExportError
from zoo.inference.predictor import PhotoPredictor
from zoo_export.card import KEY, OUTPUTS, ModelCard
from zoo_export.frame import Frame, frame_of, normaliser
from zoo_export.providers import CUDA
from zoo_export.secrecy import SUFFIX, find_secret, read_decrypted
from zoo_export.session import Session, open_session, run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray


_PROBABILITIES, _, _HEATMAP = OUTPUTS
_Value = tuple[str, list[Any]]  # type and shape of an input or output
_TYPES = {"pixels": "tensor(uint8)", "tensor": "tensor(float)"}


class OnnxPredictor(PhotoPredictor):
    """An exported classifier; made by `load`. Several threads may use one at the same time.

    Attributes:
        card: What the file says of itself.
        session: What computes.
        notes: What the user should know: why CUDA is not used, that the file was never compared with its run.
    """

    def __init__(self, name: str, card: ModelCard, session: Session) -> None:
        self.name = name
        self.card = card
        self.session = session
        self.classes = card.classes
        self.preprocess = card.preprocess
        self.runtime = f"ONNX Runtime, {session.provider.removesuffix('ExecutionProvider')}, {card.precision}"
        unverified = "" if card.verified else f"{name} was never compared with the run that it came from."
        self.notes = tuple(filter(None, (session.note, unverified)))
        pixels = card.input == "pixels"
        self._fit: Frame = frame_of(card.preprocess, name=name) if pixels else normaliser(card.preprocess)

    @property
    def provider(self) -> str:
        """What computes: ``"CPUExecutionProvider"`` or ``"CUDAExecutionProvider"``."""
        return self.session.provider

    @property
    def precision(self) -> str:
        """``"fp32"``, ``"fp16"`` or ``"int8"``."""
        return self.card.precision

    def probabilities(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Returns ``(N, classes)`` float32 for preprocessed images, uint8 ``(h, w, 3)`` each.

        Raises:
            ExportError: The graph fails, or gives something else.
        """
        (probabilities,) = self._outputs([_PROBABILITIES], images)
        return probabilities

    def explained(self, images: Sequence[NDArray[np.uint8]]) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Returns probabilities ``(N, classes)`` and heat maps ``(N, rows, columns)`` of preprocessed images.

        Raises:
            ExportError: The graph fails, or has no heat map.
        """
        probabilities, heatmaps = self._outputs([_PROBABILITIES, _HEATMAP], images)
        return probabilities, heatmaps

    def batch(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8] | NDArray[np.float32]:
        """Returns what the graph is given for preprocessed images, uint8 ``(h, w, 3)`` each."""
        return self._fit(images)

    def warm_up(self) -> None:
        """Computes once on nothing: the first run of a session plans its memory, and on CUDA chooses its kernels."""
        self.probabilities([np.zeros((*self.preprocess.size, 3), dtype=np.uint8)])

    def _outputs(self, names: list[str], images: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        feed = {self.card.input_name: self.batch(images)}
        outputs = run(self.session, names, feed, name=self.name)
        for name, values in zip(names, outputs, strict=True):
            wanted = (len(images), len(self.classes)) if name == _PROBABILITIES else (len(images), *values.shape[1:3])
            # Python's own sum: once a network has emptied the caches, numpy's of a few values takes four times as long.
            if values.shape != wanted or not math.isfinite(sum(values.ravel().tolist())):
                raise ExportError(
                    f"{self.name}: its output '{name}' is {values.shape}, or not finite, for {len(images)} photos of "
                    f"{len(self.classes)} classes.",
                    hint="Export the run again.",
                )
        return outputs


def load(
    model: str | Path | bytes,
    *,
    device: str = "auto",
    threads: int | None = None,
    ask: Callable[[str], str] | None = None,
) -> OnnxPredictor:
    """Opens an exported file, ready to predict.

    Args:
        model: A file, or the bytes of one. A file of ``zoo encrypt`` (``model.onnx.age``) is decrypted into memory.
        device: ``"auto"`` takes CUDA where it really works, else the CPU, and `OnnxPredictor.provider` tells which;
            ``"cpu"``; ``"cuda"`` or ``"cuda:1"``, which is CUDA or an error.
        threads: How many compute an operator; by default as many as this process has processors.
        ask: Asked for the passphrase of an encrypted file that no variable names a secret for.

    Raises:
        ConfigError: There is no such device.
        IntegrityError: The file is encrypted, and there is no key or passphrase that opens it; or it was changed.
        ExportError: The file is broken or not one of ours, or CUDA was asked for and does not work.
    """
    source = Path(model) if isinstance(model, str) else model
    name = str(source) if isinstance(source, Path) else "the model"
    if isinstance(source, Path) and source.suffix.lower() == SUFFIX:
        source = read_decrypted(source, find_secret(source, ask=ask))
    predictor = _predictor(name, open_session(source, name=name, device=device, threads=threads))
    if predictor.provider != CUDA:
        return predictor
    try:
        predictor.warm_up()  # a GPU that is too old, or has no memory left, shows only here
    except ExportError as error:
        if device != "auto":
            raise
        session = open_session(source, name=name, device="cpu", threads=threads)
        return _predictor(name, Session(runtime=session.runtime, provider=session.provider, note=error.message))
    return predictor


def _predictor(name: str, session: Session) -> OnnxPredictor:
    try:
        text = session.runtime.get_modelmeta().custom_metadata_map.get(KEY)
        inputs, outputs = (
            {value.name: (value.type, value.shape) for value in values}
            for values in (session.runtime.get_inputs(), session.runtime.get_outputs())
        )
    except UnicodeDecodeError as error:
        raise ExportError(f"{name} is broken: it has a name that is no text.", hint="Copy the file again.") from error
    if text is None:
        raise ExportError(f"{name} was not written by 'zoo export': it says nothing of its classes.")
    card = ModelCard.from_json(text, where=name)
    if reason := _contradiction(card, inputs, outputs):
        raise ExportError(f"{name}: {reason}.", hint="Was it changed by another tool? Export the run again.")
    return OnnxPredictor(name, card, session)


def _contradiction(card: ModelCard, inputs: Mapping[str, _Value], outputs: Mapping[str, _Value]) -> str:
    """Returns where the graph is not what its card says, or an empty string."""
    if list(inputs) != [card.input_name]:
        return f"its inputs are {list(inputs)}, not '{card.input_name}' alone"
    kind, shape = inputs[card.input_name]
    if kind != _TYPES[card.input] or len(shape) != 4:
        return f"its input '{card.input_name}' is {kind} of {len(shape)} dimensions"
    for name in (_PROBABILITIES, _HEATMAP):
        if name not in outputs or outputs[name][0] != "tensor(float)":
            return f"it has no output '{name}' of float32"
    width = (outputs[_PROBABILITIES][1] or [None])[-1]
    if isinstance(width, int) and width != len(card.classes):
        return f"it has {width} outputs for {len(card.classes)} classes"
    return ""
