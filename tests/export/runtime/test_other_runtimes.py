"""An exported file in other runtimes, each in an environment of its own, and in onnx's reference implementation."""

import functools
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx.reference import ReferenceEvaluator

ROOT = Path(__file__).parents[3]
RUNNER = ROOT / "bench" / "_runtimes.py"
SIZES = [(16, 16), (37, 53), (375, 500), (201, 2)]
OUTPUTS = ["probabilities", "logits"]
EXACT = 1e-5  # of the largest value
# These runtimes compute the weights of the resize in float32, so that a few pixels differ by one level of 255.
ROUNDED = 5e-3
INPUTS = ["image", "tensor"]

PROJECT = tomllib.loads((ROOT / "export" / "pyproject.toml").read_text("utf-8"))["project"]
(OLDEST,) = {
    bound for each in PROJECT["dependencies"] for bound in re.findall(r"^onnxruntime(?:-gpu)?>=([\d.]+)", each)
}
# Packages, module, tolerance, inputs.
RUNTIMES = {
    "oldest ONNX Runtime": (f"onnxruntime=={OLDEST}.*", "onnxruntime", EXACT, INPUTS),
    "newest ONNX Runtime": ("onnxruntime", "onnxruntime", EXACT, INPUTS),
    "OpenVINO": ("openvino", "openvino", ROUNDED, INPUTS),
    "OpenVINO 2024.6": ("openvino==2024.6.0", "openvino", ROUNDED, INPUTS),
    "OpenCV": ("opencv-python-headless>=5", "cv2", ROUNDED, INPUTS),
    "OpenCV 4": ("opencv-python-headless<5", "cv2", EXACT, ["tensor"]),
    "tract": ("tract", "tract", EXACT, INPUTS),
}
CASES = [(name, kind) for name, (*_, kinds) in RUNTIMES.items() for kind in kinds]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def install(tmp_path_factory):
    """A function that installs a package into an environment of its own, and returns its interpreter."""
    uv = shutil.which("uv") or shutil.which("uv", path=Path(sys.executable).parent)

    @functools.cache
    def run(package):
        folder = tmp_path_factory.mktemp("environment")
        python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
        create = [uv, "venv", "--python", sys.executable] if uv else [sys.executable, "-m", "venv"]
        subprocess.run([*create, folder], capture_output=True, check=True)
        installer = [uv, "pip", "install", "--python", python] if uv else [python, "-m", "pip", "install"]
        done = subprocess.run([*installer, "numpy", package], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"{package} cannot be installed: {done.stderr.strip().splitlines()[-1]}")
        return python

    return run


@pytest.fixture(scope="module")
def tensor_file(small_run, small_registry, tmp_path_factory):
    from zoo_export.targets.onnx import export_onnx

    target = tmp_path_factory.mktemp("tensor") / "tensor.onnx"
    return export_onnx(small_run, target, input="tensor", device="cpu", registry=small_registry)


@pytest.fixture
def make_case(exported, tensor_file):
    """A function that returns a file with a kind of input, values of it, and what ONNX Runtime predicts."""

    def make(kind):
        draw = np.random.default_rng(0)
        file = exported.path if kind == "image" else tensor_file.path
        if kind == "image":
            values = [draw.integers(0, 256, (1, *size, 3)).astype(np.uint8) for size in SIZES]
        else:
            values = [draw.standard_normal((1, 3, 16, 16)).astype(np.float32) for _ in SIZES]
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        return file, values, [session.run(OUTPUTS, {kind: value}) for value in values]

    return make


def check(rows, expected, tolerance):
    """Compares predictions, from the first one on, with those of ONNX Runtime."""
    assert len(rows) % len(expected) == 0
    for row, known in zip(rows, expected * (len(rows) // len(expected)), strict=True):
        for one, other in zip(row, known, strict=True):
            np.testing.assert_allclose(one, other[0], atol=tolerance * max(1.0, float(np.abs(other).max())))


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_another_runtime_predicts_the_same_from_its_first_inference_on(name, kind, make_case, install, tmp_path):
    package, module, tolerance, _ = RUNTIMES[name]
    python = install(package)
    file, values, expected = make_case(kind)
    archive = tmp_path / "inputs.npz"
    np.savez(archive, **{f"{kind}-{number}": value for number, value in enumerate(values)})
    command = [python, RUNNER, module, file, archive]
    result = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert "error" not in result, result
    if name == "oldest ONNX Runtime":
        assert result["version"].startswith(OLDEST)
    check(result["rows"], expected, tolerance)


@pytest.mark.parametrize("kind", INPUTS)
def test_the_reference_implementation_predicts_the_same(kind, make_case):
    file, values, expected = make_case(kind)
    evaluator = ReferenceEvaluator(onnx.load(file))
    check([[each[0] for each in evaluator.run(OUTPUTS, {kind: value})] for value in values], expected, EXACT)


@pytest.fixture(scope="module")
def web_folder(tmp_path_factory):
    """A folder with onnxruntime-web and the program that runs it."""
    if not (shutil.which("node") and (npm := shutil.which("npm"))):
        pytest.skip("Node.js and npm are not installed")
    folder = tmp_path_factory.mktemp("web")
    (folder / "package.json").write_text("{}", "utf-8")
    command = [npm, "install", "--no-audit", "--no-fund", "--prefer-offline", "onnxruntime-web"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"onnxruntime-web cannot be installed: {done.stderr.strip().splitlines()[0]}")
    shutil.copy(RUNNER.with_suffix(".mjs"), folder)
    return folder


@pytest.mark.parametrize("kind", INPUTS)
def test_onnxruntime_web_predicts_the_same(kind, make_case, web_folder, tmp_path):
    file, values, expected = make_case(kind)
    listed = []
    for number, value in enumerate(values):
        path = tmp_path / f"{number}.bin"
        path.write_bytes(value.tobytes())
        listed.append([kind, str(value.dtype), value.shape, str(path)])
    inputs = tmp_path / "inputs.json"
    inputs.write_text(json.dumps(listed), "utf-8")
    command = ["node", web_folder / "_runtimes.mjs", file, inputs]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result = json.loads(done.stdout.splitlines()[-1])
    assert "error" not in result, result
    check(result["rows"], expected, EXACT)
