import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fakes import make_registry
from plugin_helpers import plugin_of, raising
from run_files import VALID_FILES, write_json_record

import zoo
from zoo.errors import ConfigError, ExportError, PluginError, RunError
from zoo.inference.open import ModelFile, find_model, load_model
from zoo.inference.predictor import PhotoPredictor
from zoo.plugins.kinds import FORMAT
from zoo.preprocess import Preprocess
from zoo.runs.run import RunFolder


class Opened(PhotoPredictor):
    name = "opened"
    classes = ("cat", "dog")
    preprocess = Preprocess(size=(8, 8), resize=8)

    def __init__(self, request):
        self.request = request

    def probabilities(self, images):
        raise AssertionError("nothing is predicted here")


def registry_with(load=Opened):
    spec = zoo.FormatSpec(name="box", suffixes=(".box",), load=load)
    return make_registry(plugin_of(zoo_formats=lambda: [spec]))


@pytest.fixture
def registry():
    return registry_with()


@pytest.fixture
def run_folder(tmp_path):
    folder = tmp_path / "runs" / "r-1"
    folder.mkdir(parents=True)
    write_json_record(folder, VALID_FILES["run.json"])
    return folder


@pytest.fixture
def file(tmp_path):
    (tmp_path / "model.box").write_bytes(b"content")
    return tmp_path / "model.box"


def test_a_run_is_found_by_folder_and_by_name(run_folder, registry):
    for reference in (run_folder, str(run_folder), "r-1"):
        found = find_model(reference, runs=run_folder.parent, registry=registry)
        assert isinstance(found, RunFolder)
        assert found.path == run_folder


def test_a_file_is_found_but_not_read(file, registry, monkeypatch):
    def ask(what):
        return "secret"

    monkeypatch.setenv("HOME", str(file.parent))
    monkeypatch.setenv("USERPROFILE", str(file.parent))
    for reference in (file, str(file), "~/model.box", Path("~/model.box")):
        found = find_model(reference, ask=ask, registry=registry)
        assert isinstance(found, ModelFile)
        assert (found.path, found.offer.name, found.ask) == (file, "fake/box", ask)


def test_a_file_is_opened_with_the_device_and_the_prompt(file, registry):
    def ask(what):
        return "secret"

    predictor = load_model(find_model(file, ask=ask, registry=registry), device="cuda:1")
    assert (predictor.name, predictor.classes, predictor.preprocess.size) == ("opened", ("cat", "dog"), (8, 8))
    request = predictor.predictor.request
    assert (request.path, request.device, request.ask) == (file, "cuda:1", ask)


def test_a_file_that_no_plugin_opens_is_an_error(tmp_path, registry):
    (tmp_path / "model.h5").touch()
    with pytest.raises(RunError, match=r"model\.h5 is not a file that a plugin can open") as caught:
        find_model(tmp_path / "model.h5", registry=registry)
    assert caught.value.hint == "Pass a run folder or a file that ends in .box."


def test_without_formats_the_hint_says_so(tmp_path):
    (tmp_path / "model.h5").touch()
    with pytest.raises(RunError) as caught:
        find_model(
            tmp_path / "model.h5",
            registry=make_registry(plugin_of(zoo_heads=lambda: [zoo.HeadSpec(name="h", build=str)])),
        )
    assert caught.value.hint == "No plugin opens files."


def test_a_missing_file_and_a_missing_run_are_told_apart(tmp_path, registry):
    with pytest.raises(RunError, match=r"There is no file .*gone\.box"):
        find_model(tmp_path / "gone.box", registry=registry)
    with pytest.raises(RunError, match="There is no run 'gone'"):
        find_model("gone", runs=tmp_path, registry=registry)
    for name in ("x" * 5000, "a\0b"):
        with pytest.raises(RunError, match="There is no run"):
            find_model(name, runs=tmp_path, registry=registry)


@pytest.mark.parametrize("reference", [None, 3, b"r-1"])
def test_a_reference_of_another_type_is_refused(reference, registry):
    with pytest.raises(RunError, match=f"A run cannot be opened by {type(reference).__name__}"):
        find_model(reference, registry=registry)


@pytest.mark.parametrize(
    ("load", "reason"),
    [
        (raising(ZeroDivisionError("no")), "ZeroDivisionError: no"),
        (lambda request: "a string", r"it returned str, not a zoo\.PhotoPredictor"),
        ("zoo_nowhere:load", r"ImportError: cannot import 'zoo_nowhere:load'"),
    ],
)
def test_a_plugin_that_fails_to_open_a_file_is_named(file, load, reason):
    model = find_model(file, registry=registry_with(load))
    with pytest.raises(PluginError, match=rf"The plugin fake:fake failed while opening .*model\.box: {reason}"):
        load_model(model)


def opening(**members):
    """Returns a predictor of a file whose class has these members."""
    return load_model_of(type("Predicting", (Opened,), members))


def load_model_of(load):
    return load_model(ModelFile(Path("model.box"), registry_with(load).offers(FORMAT)[0]))


def fixed(value):
    return lambda self, images: value


ROWS = np.float32([[0.25, 0.75]])


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"probabilities": fixed(None)}, "probabilities() returned no probabilities: they are NoneType"),
        ({"probabilities": fixed(ROWS[0])}, "they are (2,) float32, not (1, 2) float32"),
        ({"probabilities": fixed(ROWS[:, :1])}, "they are (1, 1) float32, not (1, 2) float32"),
        ({"probabilities": fixed(ROWS.astype(np.float64))}, "they are (1, 2) float64, not (1, 2) float32"),
        ({"probabilities": fixed(ROWS - 1)}, "they range from -0.75 to -0.25, not from 0 to 1"),
        ({"probabilities": fixed(ROWS * np.inf)}, "they range from 3.4e+38 to 3.4e+38, not from 0 to 1"),
        ({"probabilities": lambda self, images: 1 / 0}, "ZeroDivisionError: division by zero"),
        ({"probabilities": lambda self, images: sys.exit(3)}, "SystemExit: 3"),
        ({"explained": fixed(ROWS)}, "explained() returned ndarray, not probabilities and heat maps"),
        ({"explained": fixed((ROWS, ROWS))}, "its heat maps are not (N, rows, columns)"),
        ({"name": None}, "its name is None"),
        ({"classes": ["cat", "dog"]}, "its classes are not a tuple of names"),
        ({"preprocess": (8, 8)}, "its preprocess is tuple, not zoo.Preprocess"),
    ],
)
def test_a_plugin_whose_predictor_fails_is_named(members, reason):
    def predict():
        predictor = opening(**{"probabilities": fixed(ROWS), **members})
        photo = np.zeros((8, 8, 3), dtype=np.uint8)
        return predictor.explain(photo) if "explained" in members else predictor.predict(photo)

    with pytest.raises(PluginError) as caught:
        predict()
    assert caught.value.message.startswith("The plugin fake:fake failed while predicting with 'box': ")
    assert reason in caught.value.message


def test_a_predictor_of_a_plugin_predicts_and_explains():
    photo, maps = np.zeros((8, 8, 3), dtype=np.uint8), np.ones((1, 2, 2), dtype=np.float32)
    predictor = opening(explained=fixed((ROWS, maps)), probabilities=fixed(ROWS), runtime="mine", notes=("Slow.",))
    assert predictor.predict(photo).label == "dog"
    prediction, heatmap = predictor.explain(photo)
    assert prediction.probability == 0.75
    assert heatmap.tolist() == [[1, 1], [1, 1]]
    assert (predictor.runtime, predictor.notes) == ("mine", ("Slow.",))
    assert opening(probabilities=fixed(ROWS)).explain(photo)[1] is None


@pytest.mark.parametrize("error", [ExportError("It is broken."), ConfigError("There is no such device.")])
def test_an_error_of_the_format_is_passed_on(file, error):
    with pytest.raises(type(error)) as caught:
        load_model(find_model(file, registry=registry_with(raising(error))))
    assert caught.value is error


def test_a_run_without_torch_is_an_error_that_names_it(run_folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "zoo.inference.run_predictor", None)
    with pytest.raises(RunError, match=r"The run r-1 cannot be used, because .* is not installed") as caught:
        load_model(find_model(run_folder))
    assert "zoo export" in caught.value.hint


def test_torch_is_imported_only_to_open_a_run(run_folder, file):
    """Finding and checking a model, and evaluating a file, must work without torch."""
    code = f"""
import sys, zoo.inference.evaluate
from zoo.inference.open import find_model, load_model
find_model({str(run_folder)!r})
assert not {{"torch", "onnxruntime"}} & set(sys.modules), sorted(sys.modules)
try:
    load_model(find_model({str(run_folder)!r}))
except zoo.errors.ZooError:
    assert "torch" in sys.modules
else:
    raise AssertionError("the plugin acme is not installed")
"""
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ)
