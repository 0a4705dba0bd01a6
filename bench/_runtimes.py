"""Runs an exported file in one runtime, in any environment that has it and numpy; nothing else is imported.

``python bench/_runtimes.py MODULE FILE PHOTOS.npz`` predicts the arrays of the archive in turn, twice, and prints one
line of JSON: the version, and the probabilities and the logits of each prediction, or the error of the runtime.
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Rows = list[NDArray[np.float32]]
    Run = Callable[[str, NDArray[Any]], Rows]  # of the name of an input and its value

OUTPUTS = ["probabilities", "logits"]
PASSES = 2


def open_onnxruntime(file: str) -> Run:
    """Opens a file in ONNX Runtime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return lambda name, value: session.run(OUTPUTS, {name: value})


def open_openvino(file: str) -> Run:
    """Opens a file in OpenVINO, in float32: on processors with bf16 that is not its default."""
    import openvino

    model = openvino.Core().compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(name: str, value: NDArray[Any]) -> Rows:
        found = model({name: value})
        return [found[output] for output in OUTPUTS]

    return run


def open_opencv(file: str) -> Run:
    """Opens a file in OpenCV."""
    import cv2

    network = cv2.dnn.readNetFromONNX(file)

    def run(name: str, value: NDArray[Any]) -> Rows:
        network.setInput(value, name)
        return [np.array(network.forward(output)) for output in OUTPUTS]

    return run


def open_tract(file: str) -> Run:
    """Opens a file in tract, once for each size of photos: it does not multiply lengths that it does not know."""
    import tract

    opened: dict[tuple[int, ...], Any] = {}

    def run(name: str, value: NDArray[Any]) -> Rows:
        if value.shape not in opened:
            model = tract.onnx().load(file)
            kind = "u8" if value.dtype == np.uint8 else "f32"
            model.set_input_fact(0, ",".join((*map(str, value.shape), kind)))
            opened[value.shape] = model.into_model().into_runnable()
        return [output.to_numpy() for output in opened[value.shape].run([value])[: len(OUTPUTS)]]

    return run


def open_reference(file: str) -> Run:
    """Opens a file in the reference implementation of onnx."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(onnx.load(file))
    return lambda name, value: [np.asarray(each) for each in evaluator.run(OUTPUTS, {name: value})]


OPENERS: dict[str, Callable[[str], Run]] = {
    "onnxruntime": open_onnxruntime,
    "openvino": open_openvino,
    "cv2": open_opencv,
    "tract": open_tract,
    "onnx": open_reference,
}


def read_version(module: str) -> str:
    """Returns the version of a runtime.

    Raises:
        ImportError: It is not installed.
    """
    found = importlib.import_module(module)
    return str(found.version() if module == "tract" else found.__version__).partition("-")[0]


def predict(module: str, file: str, archive: str) -> dict[str, Any]:
    """Returns what this program prints.

    Args:
        module: One of `OPENERS`.
        file: The exported file.
        archive: ``.npz`` of inputs, each a batch of one; a name begins with that of the input, ``image`` or ``tensor``.
    """
    inputs = np.load(archive)
    result: dict[str, Any] = {"version": read_version(module)}
    try:
        run = OPENERS[module](file)
        rows = [run(name.partition("-")[0], inputs[name]) for _ in range(PASSES) for name in inputs.files]
    except Exception as error:  # each runtime has its own types
        return {**result, "error": describe(error)}
    return {**result, "rows": [[np.asarray(output)[0].tolist() for output in row] for row in rows]}


def describe(error: Exception) -> str:
    """Returns what an exception says, on one line."""
    return " ".join(f"{type(error).__name__}: {error}".partition("Stack backtrace")[0].split())


if __name__ == "__main__":
    print(json.dumps(predict(*sys.argv[1:])))
