"""Compares an exported file in other runtimes with ONNX Runtime: the same photos, raw pixels in, probabilities out.

Each runtime that is installed loads the file and predicts every photo twice; `first` is the largest difference of a
probability in the very first inference after loading, `all` that over all. The reference implementation of onnx is
slow, so it gets fewer photos.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

import _photos
import _project
from _bench import make_parser, report

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]
    Run = Callable[[Pixels], NDArray[np.float32]]

NAME = "runtimes"
_OUTPUT = "probabilities"
_SLOW = 3  # photos for the reference implementation
# Another version of ONNX Runtime, in another environment.
_OTHER = """
import json, sys, numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
photos = numpy.load(sys.argv[2])
rows = [session.run(["probabilities"], {"image": photos[name][None]})[0][0].tolist() for name in photos.files]
print(json.dumps({"version": onnxruntime.__version__, "rows": rows}))
"""
_WEB = """
import * as ort from 'onnxruntime-web'
import fs from 'fs'
ort.env.wasm.numThreads = 1
const bytes = new Uint8Array(fs.readFileSync(process.argv[2]))
const session = await ort.InferenceSession.create(bytes, {executionProviders: ['wasm']})
const rows = []
for (const [file, height, width] of JSON.parse(process.argv[3])) {
    const image = new ort.Tensor('uint8', new Uint8Array(fs.readFileSync(file)), [1, height, width, 3])
    rows.push(Array.from((await session.run({image})).probabilities.data))
}
console.log(JSON.stringify({version: ort.env.versions.web, rows}))
"""


def open_onnxruntime(file: Path) -> Run:
    """Returns a function that predicts a photo in ONNX Runtime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return lambda photo: np.asarray(session.run([_OUTPUT], {"image": photo[None]})[0][0])


def open_openvino(file: Path) -> Run:
    """The same in OpenVINO, in float32: on processors with bf16 that is not its default."""
    import openvino

    model = openvino.Core().compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda photo: np.asarray(model({"image": photo[None]})[_OUTPUT][0])


def open_opencv(file: Path) -> Run:
    """The same in OpenCV."""
    import cv2  # type: ignore[import-not-found,unused-ignore]

    network = cv2.dnn.readNetFromONNX(str(file))

    def run(photo: Pixels) -> NDArray[np.float32]:
        network.setInput(photo[None], "image")
        return np.asarray(network.forward(_OUTPUT)[0])

    return run


def open_reference(file: Path) -> Run:
    """The same in the reference implementation of onnx."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(onnx.load(file))
    return lambda photo: np.asarray(evaluator.run([_OUTPUT], {"image": photo[None]})[0])[0]  # type: ignore[index]


RUNTIMES: dict[str, tuple[str, Callable[[Path], Run]]] = {
    "OpenVINO": ("openvino", open_openvino),
    "OpenCV": ("cv2", open_opencv),
    "onnx, reference": ("onnx", open_reference),
}


def compare(name: str, version: str, expected: Sequence[Any], actual: Sequence[Any]) -> dict[str, Any]:
    """Returns the row of a runtime."""
    differences = [float(np.abs(np.asarray(a) - b).max()) for a, b in zip(actual, expected, strict=False)]
    same = sum(int(np.argmax(a)) == int(np.argmax(b)) for a, b in zip(actual, expected, strict=False))
    return {
        "runtime": name,
        "version": version,
        "photos": len(differences),
        "same class": same,
        "first": differences[0],
        "all": max(differences),
    }


def measure(file: Path, photos: Sequence[Pixels], arguments: argparse.Namespace) -> tuple[list[Any], list[str]]:
    """Returns a row for each runtime that is installed, and a note on each other one."""
    run = open_onnxruntime(file)
    expected = [run(photo) for photo in photos]
    rows, notes = [], []
    for name, (module, open_file) in RUNTIMES.items():
        try:
            version = importlib.import_module(module).__version__
        except ImportError as error:
            notes.append(f"{name} is not installed: {error}.")
            continue
        predict = open_file(file)
        several = photos[:_SLOW] if module == "onnx" else photos
        actual = [predict(photo) for photo in several]
        again = [predict(photo) for photo in several]
        rows.append(compare(name, version, [*expected[: len(several)]] * 2, actual + again))
    for python in arguments.python:
        rows.append(run_other([str(python), "-c", _OTHER], "ONNX Runtime", file, photos, expected))
    if arguments.node is not None:
        script = arguments.node / "runtimes.mjs"
        script.write_text(_WEB, "utf-8")
        rows.append(run_other(["node", str(script)], "onnxruntime-web, wasm", file, photos, expected))
    return rows, notes


def run_other(
    command: list[str], name: str, file: Path, photos: Sequence[Pixels], expected: Sequence[Any]
) -> dict[str, Any]:
    """Returns the row of a runtime in another process."""
    with tempfile.TemporaryDirectory() as folder:
        if command[0] == "node":
            listed = []
            for number, photo in enumerate(photos):
                path = Path(folder, f"{number}.bin")
                path.write_bytes(photo.tobytes())
                listed.append([str(path), *photo.shape[:2]])
            argument = json.dumps(listed)
        else:
            argument = str(Path(folder, "photos.npz"))
            np.savez(argument, *photos)
        done = subprocess.run([*command, str(file), argument], capture_output=True, text=True, check=True)
    result = json.loads(done.stdout.splitlines()[-1])
    return compare(name, result["version"], expected, result["rows"])


def export(folder: Path) -> Path:
    """Exports a network with random weights."""
    import zoo
    from zoo_export.targets.onnx import export_onnx

    run = zoo.finetune(
        "timm/resnet10t",
        data=str(_photos.generate(8, size=(64, 48))),
        runs=folder,
        weights="none",
        image_size=32,
        epochs=1,
    )
    return export_onnx(run, folder / "model.onnx").path


def main(args: list[str] | None = None) -> None:
    """Runs the benchmark."""
    parser = make_parser(NAME, __doc__)
    parser.add_argument("--model", type=Path, help="file of zoo export (default: one with random weights)")
    parser.add_argument("--photos", type=Path, help="folder of photos (default: generated ones)")
    parser.add_argument("--count", type=int, default=20, help="photos, evenly spaced (20)")
    parser.add_argument("--python", type=Path, action="append", default=[], help="interpreter with another onnxruntime")
    parser.add_argument("--node", type=Path, help="folder in which npm installed onnxruntime-web")
    arguments = parser.parse_args(args)
    _project.use_checkout()
    with tempfile.TemporaryDirectory() as folder:
        file = arguments.model or export(Path(folder))
        found = sorted((arguments.photos or _photos.generate(8, size=(64, 48))).rglob("*.jpg"))
        count = min(4 if arguments.quick else arguments.count, len(found))
        chosen = [found[i * len(found) // count] for i in range(count)]
        photos = [np.asarray(Image.open(path).convert("RGB")) for path in chosen]
        rows, notes = measure(file, photos, arguments)
    report(NAME, arguments, rows, notes=notes)


if __name__ == "__main__":
    main(sys.argv[1:])
