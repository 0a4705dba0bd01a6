"""`ModelCard`: what an exported file says of itself, as JSON in its metadata. Imports neither torch nor onnx.

The card of a file from elsewhere is not to be trusted: `ModelCard.from_json` gives a checked value or an `ExportError`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from zoo.errors import ExportError, RunError
from zoo.preprocess import preprocess_from_dict
from zoo.runs.run import MAX_CLASSES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zoo.preprocess import Preprocess

KEY = "zoo"  # of `metadata_props`
FORMAT = 1
PIXELS, TENSOR = "image", "tensor"  # what the one input of each kind is called
OUTPUTS = ("probabilities", "logits", "heatmap")

InputKind = Literal["pixels", "tensor"]
Activation = Literal["softmax", "sigmoid"]
PrecisionName = Literal["fp32", "fp16", "int8"]

MAX_TEXT = 16 * 2**20
_MAX_NAME = 1_000
_MAX_DEPTH = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """What an exported file is, what made it, and what proves it.

    Attributes:
        classes: Names in the order of the outputs.
        preprocess: How pixels become the network's input; inside the graph where `input` is ``"pixels"``.
        input: ``"pixels"``: uint8 RGB ``(N, H, W, 3)`` of any height and width;
            ``"tensor"``: normalised float32 ``(N, 3, *preprocess.size)``.
        activation: What makes probabilities of logits.
        precision: What the network computes in.
        backbone: Qualified name.
        head: Qualified name.
        run: ``name``, ``created`` and ``results`` of the run.
        data: ``name`` and ``fingerprint`` of what it was trained on.
        weights: What the training started from, in one line.
        weights_sha256: Hex digest of the run's ``model.safetensors``.
        versions: Of the packages that made the file.
        opset: Of the ONNX operators; 0 for a file that has none.
        exported: When, in ISO 8601.
        parity: The report of the comparison with the run; ``"verified"`` tells whether there was one.
        quantisation: How accuracy and speed compare with float32; None for fp32.
    """

    classes: tuple[str, ...]
    preprocess: Preprocess
    input: InputKind
    activation: Activation
    precision: PrecisionName
    backbone: str
    head: str
    run: Mapping[str, Any]
    data: Mapping[str, Any]
    weights: str
    weights_sha256: str
    versions: Mapping[str, str]
    opset: int
    exported: str
    parity: Mapping[str, Any]
    quantisation: Mapping[str, Any] | None = None

    @property
    def verified(self) -> bool:
        """Whether the file was compared with the run that it came from, and found equal."""
        return self.parity.get("verified") is True

    @property
    def input_name(self) -> str:
        """Name of the graph's one input."""
        return PIXELS if self.input == "pixels" else TENSOR

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values, fit for JSON."""
        return {"format": FORMAT, **asdict(self)}

    def to_json(self) -> str:
        """Returns the text that belongs under the key ``zoo``."""
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str, *, where: str) -> ModelCard:
        """Returns the card that a text holds; fields that this version does not know are left out.

        Raises:
            ExportError: The text is no card of this format; the message names `where`.
        """
        try:
            return _card(_parse(text))
        except (ValueError, TypeError, KeyError, RecursionError, RunError) as error:
            reason = f"there is no {error}" if isinstance(error, KeyError) else getattr(error, "message", str(error))
            raise ExportError(
                f"{where}: the description inside is not readable: {reason.rstrip('.')[:500]}.",
                hint="Was the file changed by another tool, or written by a newer version?",
            ) from error


def _parse(text: str) -> dict[str, Any]:
    if len(text) > MAX_TEXT:
        raise ValueError(f"it is longer than {MAX_TEXT // 2**20} MiB")
    values = json.loads(text, parse_constant=_no_number)
    if not isinstance(values, dict):
        raise ValueError("it is no JSON object")
    if type(values["format"]) is not int or values["format"] != FORMAT:
        raise ValueError(f"its format is {values['format']!r:.20}, not {FORMAT}")
    _check_depth(values, _MAX_DEPTH)
    json.dumps(values, ensure_ascii=False).encode()  # refuses halves of surrogate pairs, which no terminal can show
    return values


def _card(values: Mapping[str, Any]) -> ModelCard:
    return ModelCard(
        classes=_classes(values["classes"]),
        preprocess=_preprocess(values["preprocess"]),
        input=_one_of(values, "input", get_args(InputKind)),
        activation=_one_of(values, "activation", get_args(Activation)),
        precision=_one_of(values, "precision", get_args(PrecisionName)),
        backbone=_text(values["backbone"], "backbone"),
        head=_text(values["head"], "head"),
        run=_mapping(values["run"], "run"),
        data=_mapping(values["data"], "data"),
        weights=_text(values["weights"], "weights"),
        weights_sha256=_text(values["weights_sha256"], "weights_sha256"),
        versions={k: _text(v, "versions") for k, v in _mapping(values["versions"], "versions").items()},
        opset=_opset(values["opset"]),
        exported=_text(values["exported"], "exported"),
        parity=_mapping(values["parity"], "parity"),
        quantisation=None if values["quantisation"] is None else _mapping(values["quantisation"], "quantisation"),
    )


def _classes(names: Any) -> tuple[str, ...]:
    if not isinstance(names, list) or not 1 <= len(names) <= MAX_CLASSES:
        raise ValueError(f"'classes' is no list of 1 to {MAX_CLASSES} names")
    if not all(isinstance(name, str) and 0 < len(name) <= _MAX_NAME for name in names):
        raise ValueError(f"a class is no text of 1 to {_MAX_NAME} characters")
    if len(set(names)) < len(names):
        raise ValueError("two classes have one name")
    return tuple(names)


def _preprocess(values: Any) -> Preprocess:
    return preprocess_from_dict(_mapping(values, "preprocess"), where="in it")


def _one_of(values: Mapping[str, Any], key: str, known: tuple[str, ...]) -> Any:
    if not isinstance(values[key], str) or values[key] not in known:
        raise ValueError(f"'{key}' is {values[key]!r:.50}, none of {', '.join(known)}")
    return values[key]


def _mapping(value: Any, key: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"'{key}' is no object")
    return value


def _text(value: Any, key: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"'{key}' is no text")
    return value


def _opset(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= 1_000:
        raise ValueError("'opset' is no whole number from 0 to 1000")
    return value


def _check_depth(value: Any, left: int) -> None:
    """Refuses nested values so deep that whoever walks through them runs out of stack."""
    if left < 0:
        raise ValueError("it is nested too deeply")
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _check_depth(each, left - 1)


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
