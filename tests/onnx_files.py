"""Small exported models, made without torch, with the same signature and card as those of ``zoo export``."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from zoo.preprocess import Preprocess
from zoo_export.model_card import KEY, ModelCard

if TYPE_CHECKING:
    from pathlib import Path

WEIGHTS = b"these are weights"
CREATED = "2026-01-01T00:00:00+00:00"
CLASSES = ("red", "green", "blue")
SQUARE = Preprocess(size=(16, 16), resize=16)


def make_card(**changes) -> ModelCard:
    values = {
        "classes": CLASSES,
        "preprocess": SQUARE,
        "input": "pixels",
        "activation": "softmax",
        "precision": "fp32",
        "backbone": "fake/small",
        "head": "fake/flat",
        "run": {"name": "small-flat-colours-1"},
        "data": {"name": "colours"},
        "weights": "none",
        "weights_sha256": "0" * 64,
        "versions": {},
        "opset": 18,
        "exported": "2026-01-01T00:00:00+00:00",
        "parity": {"verified": True},
    }
    return ModelCard(**{**values, **changes})


def make_run_card(**changes) -> ModelCard:
    """Returns the card of a file exported from the run r-1, created at `CREATED` with `WEIGHTS`."""
    run = {"name": "r-1", "created": CREATED}
    return make_card(**{"run": run, "weights_sha256": hashlib.sha256(WEIGHTS).hexdigest(), **changes})


def write_model(path: Path, card: ModelCard | None) -> None:
    """Writes a model; without a card if `card` is None."""
    model = make_model(card or make_card())
    if card is None:
        del model.metadata_props[:]
    onnx.save_model(model, path)


def make_model(card: ModelCard, *, text: str | None = None, classes: int | None = None) -> onnx.ModelProto:
    """Returns a graph that classifies an image by its dominant colour.

    Raw pixels are cropped at the centre and not resized, so the result depends on how a batch is padded.

    Args:
        card: Card to store in the model.
        text: Text to store instead of the card.
        classes: Number of outputs, if it differs from the card's.
    """
    height, width = card.preprocess.size
    dims = {"batch": "batch", "wide": classes or len(card.classes)}
    outputs = [
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [dims["batch"], dims["wide"]]),
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, [dims["batch"], dims["wide"]]),
        helper.make_tensor_value_info("heatmap", TensorProto.FLOAT, [dims["batch"], height, width]),
    ]
    if card.input == "pixels":
        given = helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", "height", "width", 3])
        nodes, constants = _crop(card.preprocess)
    else:
        given = helper.make_tensor_value_info("tensor", TensorProto.FLOAT, ["batch", 3, height, width])
        nodes, constants = [helper.make_node("Identity", ["tensor"], ["normal"])], {}
    wide = np.eye(3, dims["wide"], dtype=np.float32) * 4
    constants |= {"weight": wide, "axes": np.array([2, 3]), "one": np.array([1])}
    nodes += [
        helper.make_node("ReduceMean", ["normal", "axes"], ["pooled"], keepdims=0),
        helper.make_node("MatMul", ["pooled", "weight"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("ReduceMax", ["normal", "one"], ["brightest"], keepdims=0),
        helper.make_node("Sigmoid", ["brightest"], ["heatmap"]),
    ]
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "classifier", [given], outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model)
    helper.set_model_props(model, {KEY: card.to_json() if text is None else text})
    return model


def _crop(spec: Preprocess) -> tuple[list[onnx.NodeProto], dict[str, np.ndarray]]:
    """Crops at the centre, half to even, and normalises."""
    mean, std = (np.array(values, dtype=np.float32).reshape(3, 1, 1) * 255 for values in (spec.mean, spec.std))
    constants = {"size": np.array(spec.size), "two": np.array([2.0]), "mean": mean, "std": std, "ax": np.array([1, 2])}
    return [
        helper.make_node("Shape", ["image"], ["lengths"], start=1, end=3),
        helper.make_node("Sub", ["lengths", "size"], ["excess"]),
        helper.make_node("Cast", ["excess"], ["real"], to=TensorProto.DOUBLE),
        helper.make_node("Div", ["real", "two"], ["half"]),
        helper.make_node("Round", ["half"], ["rounded"]),
        helper.make_node("Cast", ["rounded"], ["start"], to=TensorProto.INT64),
        helper.make_node("Add", ["start", "size"], ["end"]),
        helper.make_node("Slice", ["image", "start", "end", "ax"], ["cropped"]),
        helper.make_node("Transpose", ["cropped"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["planes"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["float", "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "std"], ["normal"]),
    ], constants
