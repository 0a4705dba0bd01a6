"""Unusual, damaged and hostile images get the same result on every path: training, run, exported file, page and API.

The generated images of `problem_images` are always tested; real ones if ZOO_TEST_DATA contains problem_images/.
"""

import json
import os
import subprocess
import sys
import threading
import time
from html import unescape
from pathlib import Path

import httpx
import numpy as np
import pytest
from click.testing import CliRunner
from problem_images import make_problems
from run_files import make_untrained_run

import zoo.inference.run_predictor
from zoo.cli.commands.predict import command
from zoo.data.loading.store import PhotoStore
from zoo.data.loading.transform import EvalTransform, shrink_for_crops
from zoo.errors import ImageError
from zoo.plugins.specs import Sample
from zoo.runs.open import open_run
from zoo.runs.record import RECORD
from zoo.runs.run import WEIGHTS
from zoo_demo.server.api import MODELS, PREDICT
from zoo_export.runtime.predictor import load
from zoo_export.targets.onnx import export_onnx

GENERATED = make_problems()
FOLDER = Path(os.environ.get("ZOO_TEST_DATA", "/nonexistent")) / "problem_images"
REAL = sorted(path for path in FOLDER.rglob("*") if path.is_file() and path.suffix != ".tsv")
SECONDS = 60  # for any image, on all paths
UPLOAD, CALL = "/gradio_api/upload", "/gradio_api/call/predict"


class Paths:
    """Every path from a photo to the network; each returns probabilities, or the reason why the photo is refused."""

    def __init__(self, run, registry, file, client) -> None:
        self.run, self.file = (
            zoo.inference.run_predictor.load(run, device="cpu", registry=registry),
            load(file, device="cpu"),
        )
        self.client = client
        self.model = self.client.get(MODELS).json()[0]["name"]

    def load_for_training(self, path, transform):
        """Returns the pixels of a photo as training sees it, or the reason why it is left out."""
        try:
            return PhotoStore([Sample(path, 0, str(path))], transform=transform, workers=1)[0]
        except ImageError as error:
            return reason_in(error.message, path)

    def predict(self, predictor, path):
        (outcome,) = predictor.predict_files([path])
        return reason_in(outcome.message, path) if isinstance(outcome, ImageError) else outcome.probabilities

    def predict_on_page(self, path):
        (sent,) = self.client.post(UPLOAD, files=[("files", (path.name, path.read_bytes()))]).json()
        data = [{"path": sent, "meta": {"_type": "gradio.FileData"}}, self.model]
        event = self.client.post(CALL, json={"data": data}).json()["event_id"]
        status, line = self.client.get(f"{CALL}/{event}").text.strip().split("\n", 1)
        answer = json.loads(line.removeprefix("data: "))
        if status == "event: error":
            return reason_in(unescape(answer["error"]), "The photo")
        return {each["label"]: each["confidence"] for each in answer[0]["confidences"]}

    def predict_with_api(self, path):
        response = self.client.post(PREDICT, files=[("photos", ("a photo", path.read_bytes()))])
        body = response.json()
        if "error" in body:
            assert response.status_code == 422
            return reason_in(body["error"]["message"], "a photo")
        return body["predictions"][0]["probabilities"]


# Its imports take as long as the export, so both run at the same time.
SERVER = """
import sys
import zoo_demo.app, zoo_demo.models.model_pool, zoo_demo.server.serve, zoo_export.runtime.predictor
from zoo.cli.main import main
main(["demo", sys.stdin.readline().rstrip("\\n"), "--device", "cpu", "--port", "0", "--no-open"])
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """An untrained run: reading a photo does not depend on training."""
    _, record, weights = make_untrained_run()
    folder = tmp_path_factory.mktemp("runs") / "r-1"
    folder.mkdir()
    (folder / RECORD).write_bytes(record)
    (folder / WEIGHTS).write_bytes(weights)
    return open_run(folder)


@pytest.fixture(scope="module")
def starting(tmp_path_factory):
    """A demo that waits for the name of its file; it logs nothing about uploaded photos."""
    log = tmp_path_factory.mktemp("server") / "stderr"
    with (
        log.open("wb") as stderr,
        subprocess.Popen(
            [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True
        ) as process,
    ):
        try:
            yield process
            process.terminate()
            process.wait(20)
        finally:
            process.kill()
    assert log.read_text() == ""


@pytest.fixture(scope="module")
def file(starting, run):
    """The exported file of the run."""
    return export_onnx(run, run.path.parent / "small.onnx", device="cpu", registry=make_untrained_run()[0]).path


@pytest.fixture(scope="module")
def paths(starting, run, file):
    starting.stdin.write(f"{file}\n")
    starting.stdin.flush()
    listening = starting.stdout.readline()
    assert listening.startswith("Listening on ")
    with httpx.Client(base_url=listening.split()[2].rstrip(";"), timeout=60) as client:
        yield Paths(run, make_untrained_run()[0], file, client)


def reason_in(message, name):
    """Returns the reason in a message, after checking that it starts with the name of the photo."""
    assert message.startswith(f"{name}: "), message
    return message.removeprefix(f"{name}: ")


def agree(answer, expected, within=1e-5):
    """Returns whether two paths agree: on a reason, to which the page adds a hint, or on probabilities."""
    if isinstance(expected, str) or isinstance(answer, str):
        return isinstance(answer, str) and isinstance(expected, str) and answer.startswith(expected)
    return answer == pytest.approx(expected, abs=within)


def check_all_paths(paths, path):
    """Checks that every path gives the same answer to a photo, and returns it."""
    started = time.perf_counter()
    expected = paths.predict(paths.run, path)
    resized = paths.load_for_training(path, EvalTransform(paths.run.preprocess))
    cropped = paths.load_for_training(path, shrink_for_crops(paths.run.preprocess, crop_scale=0.35))
    if isinstance(expected, str):
        assert resized == cropped == expected
    else:
        assert np.array_equal(resized, paths.run.read(path, name="x"))
        assert np.array_equal(resized, paths.file.read(path, name="x"))
        assert cropped.dtype == np.uint8
    file = paths.predict(paths.file, path)
    assert agree(file, expected, within=1e-3)
    assert agree(paths.predict_on_page(path), file)
    assert agree(paths.predict_with_api(path), file)
    assert time.perf_counter() - started < SECONDS
    return expected


@pytest.mark.parametrize("problem", GENERATED, ids=lambda problem: problem.name)
def test_generated_image_gets_the_same_result_on_every_path(paths, tmp_path, problem, capfd):
    path = tmp_path / problem.name
    path.write_bytes(problem.content)
    answer = check_all_paths(paths, path)
    if problem.refused:
        assert problem.refused in answer
    else:
        assert set(answer) == set(paths.run.classes)
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(not REAL, reason="ZOO_TEST_DATA does not contain problem_images/")
@pytest.mark.parametrize("path", REAL, ids=lambda path: path.name)
def test_real_image_gets_the_same_result_on_every_path(paths, path, capfd):
    check_all_paths(paths, path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "problem", [problem for problem in GENERATED if not problem.refused], ids=lambda each: each.name
)
def test_pixels_are_what_a_person_sees(problem):
    from zoo.data.images.decode import decode

    pixels = decode(problem.content)
    assert (pixels.shape[1], pixels.shape[0]) == problem.size
    assert np.abs(pixels[0, 0].astype(int) - problem.corner).max() <= 6
    if "exif" in problem.name:  # red only at the top left
        red = pixels[..., 0].astype(int) - pixels[..., 2] > 0
        quarters = [quarter.mean() for half in np.array_split(red, 2) for quarter in np.array_split(half, 2, axis=1)]
        assert quarters[0] > 0.95
        assert max(quarters[1:]) < 0.1


@pytest.mark.parametrize("model", ["run", "file"])
def test_command_names_refused_images_and_predicts_the_rest(paths, tmp_path, monkeypatch, model, run, file):
    """One call with all of the images."""
    for problem in GENERATED:
        (tmp_path / problem.name).write_bytes(problem.content)
    monkeypatch.setattr("zoo.inference.run_predictor.load", lambda *_, **__: paths.run)
    files = [str(tmp_path / problem.name) for problem in GENERATED]
    model_path = run.path if model == "run" else file
    result = CliRunner().invoke(command, [str(model_path), *files, "--device", "cpu", "--json"], catch_exceptions=False)
    refused = [problem for problem in GENERATED if problem.refused]
    assert result.exit_code == 1
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(row["name"], "error" in row) for row in rows] == [
        (str(tmp_path / each.name), bool(each.refused)) for each in GENERATED
    ]
    lines = result.stderr.splitlines()
    assert lines[-1] == f"{len(refused)} of {len(GENERATED)} photos could not be read."
    errors = [line for line in lines if line.startswith("error: ")]  # the others say what to do
    for line, problem in zip(errors, refused, strict=True):
        assert line.startswith(f"error: {tmp_path / problem.name}: ")
        assert problem.refused in line


MEMORY = """
import resource, sys
from pathlib import Path
from zoo.data.images.decode import decode
from zoo.data.images.resize import preprocess
from zoo.errors import ImageError
from zoo.preprocess import Preprocess
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
before = peak()
for path in sys.stdin.read().splitlines():
    try:
        preprocess(decode(Path(path)), Preprocess(size=(224, 224), resize=256))
    except ImageError as error:
        assert "not enough memory" not in error.message, error.message
print(peak() - before)
"""


def measure_peak(files):
    """Returns by how many MiB a process grows while it decodes files one after another."""
    done = subprocess.run(
        [sys.executable, "-c", MEMORY], input="\n".join(map(str, files)), capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not report the peak")
def test_no_image_fills_the_memory(tmp_path):
    for problem in GENERATED:
        (tmp_path / problem.name).write_bytes(problem.content)
    assert measure_peak(tmp_path / problem.name for problem in GENERATED) < 300  # the largest file has 17 MB


@pytest.mark.skipif(not REAL, reason="ZOO_TEST_DATA does not contain problem_images/")
def test_no_real_image_fills_the_memory():
    assert measure_peak(REAL) < 500  # the largest has 10 megapixels, and 10 MB


def test_bad_photos_in_other_threads_do_not_affect_good_ones(paths, tmp_path):
    """Decoding threads share no state that a damaged image could corrupt."""
    good = [problem for problem in GENERATED if not problem.refused][:12]
    bad = [problem for problem in GENERATED if problem.refused and not problem.expensive]
    expected = {problem.name: paths.run.predict(problem.content).probabilities for problem in good}
    wrong = []

    def work(problem):
        for _ in range(5):
            try:
                probabilities = paths.run.predict(problem.content).probabilities
                if probabilities != pytest.approx(expected[problem.name], abs=1e-5):
                    wrong.append(problem.name)
            except ImageError:
                if problem in good:
                    wrong.append(problem.name)

    threads = [threading.Thread(target=work, args=(problem,)) for problem in [*good, *bad]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []
