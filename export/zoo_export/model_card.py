"""`ModelCard`: the description inside an exported file, JSON in its metadata. Imports neither torch nor onnx.

Cards are untrusted input: `ModelCard.from_json` returns a checked value or raises an `ExportError`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from zoo.errors import ExportError, RunError
from zoo.metrics.calibration import Calibration
from zoo.metrics.costs import CostDecision, decision_from_dict
from zoo.preprocess import preprocess_from_dict
from zoo.runs.familiarity import FamiliarityRecord
from zoo.runs.record import MAX_CLASSES
from zoo.utils.files import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zoo.preprocess import Preprocess

KEY = "zoo"  # in `metadata_props`
FORMAT = 1
PIXELS, TENSOR = "image", "tensor"  # the name of the input, by its kind
# Names in a graph that takes raw pixels: the start of those of the resize, and its result, float32 planes.
RESIZE, RESIZED = "preprocess/resize", "preprocess/resized"
OUTPUTS = ("probabilities", "logits", "heatmap")
# One more output, uint8 (N, classes), of files with several labels per photo, or with a decision by costs: 1 for each
# label or class that a photo is decided to have.
DECISIONS = "decisions"
FAMILIARITY = "familiarity"  # one more output of files that recognise unfamiliar photos
FEATURES = "features"  # the output of a network that the familiarity is computed from; no output of a file

InputKind = Literal["pixels", "tensor"]
Activation = Literal["softmax", "sigmoid"]
PrecisionName = Literal["fp32", "fp16", "int8"]

MAX_TEXT = 16 * 2**20
_MAX_NAME = 1_000
_MAX_DEPTH = 16
_MAX_VALUES = 500_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """What an exported file contains, where it comes from, and how it was verified.

    Attributes:
        classes: Names, in the order of the outputs.
        preprocess: How pixels become the network's input; part of the graph if `input` is ``"pixels"``.
        input: ``"pixels"``: uint8 RGB ``(N, H, W, 3)`` of any height and width;
            ``"tensor"``: normalised float32 ``(N, 3, *preprocess.size)``.
        activation: What turns logits into probabilities.
        precision: What the network computes in.
        backbone: Its qualified name.
        head: Its qualified name.
        run: ``name``, ``created`` and ``results`` of the run.
        data: ``name`` and ``fingerprint`` of the training data; ``leaks`` if test photos were among it.
        weights: The weights that training started from, in one line.
        weights_sha256: Hex digest of ``model.safetensors`` in the run.
        versions: The version of each package that was used.
        opset: Version of the ONNX operators; 0 for a file without any.
        exported: Date and time, in ISO 8601.
        parity: The report of the comparison with the run; ``"verified"`` is false if there was none.
        quantisation: Accuracy and speed compared with float32; None for fp32.
        has_digest: Whether the file ends with its digest (`zoo_export.security.digest`).
        multi_label: Whether a photo has any number of labels.
        thresholds: The probability from which a photo is decided to have a label, for each class; empty unless
            `multi_label`.
        decision: How to decide between two classes whose mistakes do not cost the same; None for the most probable.
        calibration: The temperature, which is part of the graph: ``probabilities`` are the activation of ``logits /
            temperature``; and what prediction sets are made from. None in files of earlier versions.
        familiarity: How unfamiliar photos are recognised: from which value of the output ``familiarity`` on a photo
            counts as one of the classes; None if the file has no such output.
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
    has_digest: bool = False
    multi_label: bool = False
    thresholds: tuple[float, ...] = ()
    decision: CostDecision | None = None

    @property
    def has_decisions(self) -> bool:
        """Whether the file has the output `DECISIONS`: more decides than which probability is the highest."""
        return self.multi_label or self.decision is not None

    calibration: Calibration | None = None
    familiarity: FamiliarityRecord | None = None

    @property
    def verified(self) -> bool:
        """Whether the file was compared with its run, and is equal."""
        return self.parity.get("verified") is True

    @property
    def input_name(self) -> str:
        """The name of the graph's only input."""
        return PIXELS if self.input == "pixels" else TENSOR

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values, ready for JSON."""
        return {"format": FORMAT, **asdict(self)}

    def to_json(self) -> str:
        """Returns the text to store under the key ``zoo``."""
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str, *, where: str) -> ModelCard:
        """Parses a card; ignores fields that this version does not know.

        Raises:
            ExportError: The text is not a card of this format; the message names `where`.
        """
        try:
            return _parse_card(_parse_json(text))
        except (ValueError, TypeError, KeyError, RecursionError, RunError) as error:
            reason = f"{error} is missing" if isinstance(error, KeyError) else getattr(error, "message", str(error))
            raise ExportError(
                f"{where}: the model card inside is not readable: {reason.rstrip('.')[:500]}.",
                hint="Another tool may have changed the file, or a newer version written it.",
            ) from error


def _parse_json(text: str) -> dict[str, Any]:
    if len(text) > MAX_TEXT:
        raise ValueError(f"it is longer than {MAX_TEXT // 2**20} MiB")
    values = parse_json(text, most=_MAX_VALUES, parse_constant=_refuse_constant)
    if not isinstance(values, dict):
        raise ValueError("it is not a JSON object")
    if type(values["format"]) is not int or values["format"] != FORMAT:
        raise ValueError(f"its format is {values['format']!r:.20}, not {FORMAT}")
    _check_depth(values, _MAX_DEPTH)
    json.dumps(values, ensure_ascii=False).encode()  # raises on lone surrogates, which no terminal can print
    return values


def _parse_card(values: Mapping[str, Any]) -> ModelCard:
    return ModelCard(
        classes=_parse_classes(values["classes"]),
        preprocess=_parse_preprocess(values["preprocess"]),
        input=_parse_choice(values, "input", get_args(InputKind)),
        activation=_parse_choice(values, "activation", get_args(Activation)),
        precision=_parse_choice(values, "precision", get_args(PrecisionName)),
        backbone=_parse_string(values["backbone"], "backbone"),
        head=_parse_string(values["head"], "head"),
        run=_parse_object(values["run"], "run"),
        data=_parse_object(values["data"], "data"),
        weights=_parse_string(values["weights"], "weights"),
        weights_sha256=_parse_string(values["weights_sha256"], "weights_sha256"),
        versions={k: _parse_string(v, "versions") for k, v in _parse_object(values["versions"], "versions").items()},
        opset=_parse_opset(values["opset"]),
        exported=_parse_string(values["exported"], "exported"),
        parity=_parse_object(values["parity"], "parity"),
        quantisation=None if values["quantisation"] is None else _parse_object(values["quantisation"], "quantisation"),
        has_digest=values.get("has_digest", False) is True,  # files of earlier versions have none
        multi_label=values.get("multi_label", False) is True,
        thresholds=_parse_thresholds(values),
        decision=_parse_decision(values),
        calibration=_parse_calibration(values),
        familiarity=_parse_familiarity(values.get("familiarity")),
    )


def _parse_classes(names: Any) -> tuple[str, ...]:
    if not isinstance(names, list) or not 1 <= len(names) <= MAX_CLASSES:
        raise ValueError(f"'classes' is not a list of 1 to {MAX_CLASSES} names")
    if not all(isinstance(name, str) and 0 < len(name) <= _MAX_NAME for name in names):
        raise ValueError(f"the name of a class is not a string of 1 to {_MAX_NAME} characters")
    if len(set(names)) < len(names):
        raise ValueError("two classes have the same name")
    return tuple(names)


def _parse_thresholds(values: Mapping[str, Any]) -> tuple[float, ...]:
    thresholds = values.get("thresholds", [])
    wanted = len(values["classes"]) if values.get("multi_label") is True else 0
    if not isinstance(thresholds, list) or len(thresholds) != wanted:
        raise ValueError(f"'thresholds' is not a list of {wanted} numbers")
    if not all(type(each) in (int, float) and 0 <= each <= 1 for each in thresholds):
        raise ValueError("a threshold is not a number from 0 to 1")
    return tuple(map(float, thresholds))


def _parse_decision(values: Mapping[str, Any]) -> CostDecision | None:
    found = values.get("decision")  # files of earlier versions have none
    if found is None:
        return None
    return decision_from_dict(_parse_object(found, "decision"), classes=values["classes"])


def _parse_calibration(values: Mapping[str, Any]) -> Calibration | None:
    found = values.get("calibration")
    return None if found is None else Calibration.from_json(found, classes=len(values["classes"]))


def _parse_familiarity(values: Any) -> FamiliarityRecord | None:
    return None if values is None else FamiliarityRecord.from_dict(_parse_object(values, "familiarity"))


def _parse_preprocess(values: Any) -> Preprocess:
    return preprocess_from_dict(_parse_object(values, "preprocess"), where="the card")


def _parse_choice(values: Mapping[str, Any], key: str, known: tuple[str, ...]) -> Any:
    if not isinstance(values[key], str) or values[key] not in known:
        raise ValueError(f"'{key}' is {values[key]!r:.50}, not one of {', '.join(known)}")
    return values[key]


def _parse_object(value: Any, key: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"'{key}' is not an object")
    return value


def _parse_string(value: Any, key: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"'{key}' is not a string")
    return value


def _parse_opset(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= 1_000:
        raise ValueError("'opset' is not an integer from 0 to 1000")
    return value


def _check_depth(value: Any, levels: int) -> None:
    """Raises on values nested so deeply that walking through them would overflow the stack."""
    if levels < 0:
        raise ValueError("it is nested too deeply")
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _check_depth(each, levels - 1)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not valid JSON")
