"""Compares an exported file in other runtimes with ONNX Runtime: the same photos in, probabilities out.

Every runtime that is installed here, or beside an interpreter that `--python` names, loads the file and predicts every
photo twice. `first` is the largest difference of a probability in the very first inference after loading, `all` that
over all; a runtime that refuses the file has its message instead. The reference implementation of onnx is slow, so it
gets fewer photos.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image

import _photos
import _project
import _runtimes
from _bench import make_parser, report

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from numpy.typing import NDArray

NAME = "runtimes"
_FOLDER = Path(__file__).parent
_SLOW = 3  # photos for the reference implementation
NAMES = {
    "onnxruntime": "ONNX Runtime",
    "openvino": "OpenVINO",
    "cv2": "OpenCV",
    "tract": "tract",
    "onnx": "onnx, reference",
    "node": "onnxruntime-web",
}


class Case(NamedTuple):
    """An exported file and what it is tried with.

    Attributes:
        file: The file.
        input: Name of its input, ``"image"`` or ``"tensor"``.
        values: Its inputs, each a batch of one.
        expected: The probabilities in the ONNX Runtime of this environment, ``(classes,)`` each.
    """

    file: Path
    input: str
    values: Sequence[NDArray[Any]]
    expected: Sequence[NDArray[np.float32]]


def make_case(file: Path, photos: Sequence[NDArray[np.uint8]]) -> Case:
    """Prepares photos, uint8 ``(h, w, 3)`` each, for an exported file, and predicts them."""
    from zoo_export.runtime.predictor import load
    from zoo_export.validation.samples import preprocess_batch

    card = load(file, device="cpu").card
    values: list[NDArray[Any]] = [photo[None] for photo in photos]
    if card.input == "tensor":
        values = [preprocess_batch([photo], card.preprocess).numpy() for photo in photos]
    name = "tensor" if card.input == "tensor" else "image"
    run = _runtimes.open_onnxruntime(str(file))
    return Case(file, name, values, [run(name, value)[0][0] for value in values])


def find_runtimes(python: Path) -> list[str]:
    """Returns the modules of the runtimes that are installed beside an interpreter."""
    program = "import importlib.util, sys; print(*filter(importlib.util.find_spec, sys.argv[1:]))"
    done = subprocess.run([python, "-c", program, *_runtimes.OPENERS], capture_output=True, text=True, check=True)
    return done.stdout.split()


def run_python(python: Path, module: str, case: Case) -> dict[str, Any]:
    """Runs a case in a runtime beside an interpreter."""
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder, "inputs.npz")
        named: dict[str, Any] = {f"{case.input}-{number}": value for number, value in enumerate(case.values)}
        np.savez(archive, **named)
        return _run([str(python), str(_FOLDER / "_runtimes.py"), module, str(case.file), str(archive)])


def run_node(folder: Path, case: Case) -> dict[str, Any]:
    """Runs a case in the onnxruntime-web that npm installed in a folder."""
    script = shutil.copy(_FOLDER / "_runtimes.mjs", folder)
    with tempfile.TemporaryDirectory() as inputs:
        listed = []
        for number, value in enumerate(case.values):
            path = Path(inputs, f"{number}.bin")
            path.write_bytes(value.tobytes())
            listed.append([case.input, str(value.dtype), value.shape, str(path)])
        file = Path(inputs, "inputs.json")
        file.write_text(json.dumps(listed), "utf-8")
        return _run(["node", str(script), str(case.file), str(file)])


def _run(command: list[str]) -> dict[str, Any]:
    done = subprocess.run(command, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    if done.returncode or not lines:  # a runtime that ends the process
        return {"version": None, "error": f"exit code {done.returncode}: {done.stderr.strip()[-300:]}"}
    return dict(json.loads(lines[-1]))


def compare(name: str, case: Case, result: dict[str, Any]) -> dict[str, Any]:
    """Returns the row of a runtime."""
    row = {"runtime": name, "version": result["version"], "input": case.input}
    if "error" in result:
        return {**row, "photos": None, "same class": None, "first": None, "all": None, "error": result["error"]}
    expected = np.array(case.expected)
    probabilities = np.array([first for first, *_ in result["rows"]]).reshape(_runtimes.PASSES, *expected.shape)
    differences = np.abs(probabilities - expected).max(axis=2)
    return {
        **row,
        "photos": len(expected),
        "same class": int((probabilities.argmax(axis=2) == expected.argmax(axis=1)).all(axis=0).sum()),
        "first": float(differences[0, 0]),
        "all": float(differences.max()),
        "error": None,
    }


def measure(cases: Sequence[Case], pythons: Sequence[Path], node: Path | None) -> tuple[list[Any], list[str]]:
    """Returns a row for each case and runtime, and a note on the runtimes that are nowhere installed."""
    this = Path(sys.executable)
    here = [module for module in find_runtimes(this) if module != "onnxruntime"]  # the others' measure
    installed = [(this, here), *((python, find_runtimes(python)) for python in pythons)]
    rows = []
    for case in cases:
        few = case._replace(values=case.values[:_SLOW], expected=case.expected[:_SLOW])
        for python, modules in installed:
            for module in modules:
                tried = few if module == "onnx" else case
                rows.append(compare(NAMES[module], tried, run_python(python, module, tried)))
        if node is not None:
            rows.append(compare(NAMES["node"], case, run_node(node, case)))
    found = {"onnxruntime", "node", *(module for _, modules in installed for module in modules)}
    missing = [name for module, name in NAMES.items() if module not in found]
    return rows, [f"Not installed: {', '.join(missing)}."] if missing else []


def export(folder: Path) -> list[Path]:
    """Exports a network with random weights, with both kinds of input."""
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
    return [export_onnx(run, folder / f"{kind}.onnx", input=kind).path for kind in ("pixels", "tensor")]


def make_arguments(args: list[str] | None) -> argparse.Namespace:
    """Parses the command line."""
    parser = make_parser(NAME, __doc__)
    several: dict[str, Any] = {"type": Path, "action": "append", "default": []}
    parser.add_argument("--model", help="file of zoo export; may be repeated (random weights)", **several)
    parser.add_argument("--photos", type=Path, help="folder of photos (default: generated ones)")
    parser.add_argument("--count", type=int, default=20, help="photos, evenly spaced (20)")
    parser.add_argument(
        "--python", help="interpreter of an environment with other runtimes; may be repeated", **several
    )
    parser.add_argument("--node", type=Path, help="folder in which npm installed onnxruntime-web")
    return parser.parse_args(args)


def main(args: list[str] | None = None) -> None:
    """Runs the benchmark."""
    arguments = make_arguments(args)
    _project.use_checkout()
    with tempfile.TemporaryDirectory() as folder:
        files = arguments.model or export(Path(folder))
        found = sorted((arguments.photos or _photos.generate(8, size=(64, 48))).rglob("*.jpg"))
        count = min(4 if arguments.quick else arguments.count, len(found))
        chosen = [found[i * len(found) // count] for i in range(count)]
        photos = [np.asarray(Image.open(path).convert("RGB")) for path in chosen]
        rows, notes = measure([make_case(file.resolve(), photos) for file in files], arguments.python, arguments.node)
    report(NAME, arguments, rows, notes=notes)


if __name__ == "__main__":
    main(sys.argv[1:])
