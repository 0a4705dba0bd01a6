import subprocess
import sys

import numpy as np
import pytest
from fakes import CLASSES, encode_png, make_photo

from zoo.data.images.resize import preprocess
from zoo.errors import RunError
from zoo.inference import session_predictor
from zoo.inference.graph_cache import graph_key, write_graph
from zoo.inference.run_predictor import load
from zoo.inference.session_predictor import SessionPredictor, open_cached


@pytest.fixture
def expected(trained_run, registry):
    return load(trained_run, device="cpu", registry=registry)


@pytest.fixture
def predictor(trained_run, registry, home):
    return load(trained_run, device="cpu", registry=registry, engine="onnxruntime")


@pytest.mark.parametrize("count", [1, 3])
def test_probabilities_and_heat_maps_are_those_of_torch(predictor, expected, count):
    images = [preprocess(make_photo(label, 3), predictor.preprocess) for label in range(count)]
    ours, theirs = predictor.probabilities(images), expected.probabilities(images)
    assert ours.dtype == np.float32
    assert ours.shape == (count, len(CLASSES))
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    for ours, theirs in zip(predictor.explained(images), expected.explained(images), strict=True):
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_a_photo_is_classified_and_explained(predictor, trained_run):
    prediction, heatmap = predictor.explain(encode_png(make_photo(1, 5)))
    assert prediction == predictor.predict(encode_png(make_photo(1, 5)))
    assert prediction.label == "green"
    assert heatmap.ndim == 2
    assert (predictor.name, predictor.classes) == (trained_run.name, CLASSES)
    assert (predictor.runtime, predictor.notes) == ("ONNX Runtime, cpu, fp32", ())


def test_a_failure_names_the_run_and_the_reason(predictor, trained_run):
    class Session:
        def run(self, outputs, feed):
            raise RuntimeError("bad allocation.\nStack: ...")

    predictor._session = Session()
    with pytest.raises(RunError) as caught:
        predictor.probabilities([np.zeros((*predictor.preprocess.size, 3), np.uint8)])
    assert caught.value.message == f"{trained_run.name}: ONNX Runtime fails: bad allocation."


def test_a_run_without_a_cached_graph_is_not_opened(trained_run, registry, home):
    assert open_cached(trained_run, device="cpu", registry=registry) is None


def test_the_cached_graph_is_used_on_the_cpu_only(predictor, trained_run, registry, monkeypatch):
    assert isinstance(open_cached(trained_run, device="cpu", registry=registry), SessionPredictor)
    for device in ("cuda", "cuda:0", "mps", "nonsense"):
        assert open_cached(trained_run, device=device, registry=registry) is None


@pytest.mark.parametrize(
    ("gpus", "platform", "opened"),
    [(0, "linux", True), ("no driver", "linux", True), (1, "linux", False), (0, "darwin", False)],
)
def test_auto_is_the_cpu_where_there_can_be_no_gpu(
    predictor, trained_run, registry, monkeypatch, tmp_path, gpus, platform, opened
):
    monkeypatch.setattr(session_predictor, "nvidia_gpus", lambda: gpus)
    monkeypatch.setattr(session_predictor, "_AMD_GPUS", tmp_path / "kfd")
    monkeypatch.setattr(sys, "platform", platform)
    assert (open_cached(trained_run, device="auto", registry=registry) is not None) is opened
    (tmp_path / "kfd").touch()
    assert open_cached(trained_run, device="auto", registry=registry) is None


def test_a_graph_that_onnx_runtime_refuses_is_not_opened(trained_run, registry, home):
    write_graph(graph_key(trained_run, registry), b"no graph")
    assert open_cached(trained_run, device="cpu", registry=registry) is None


def test_it_imports_no_torch():
    code = "import sys, zoo.inference.session_predictor; print({'torch', 'onnxruntime'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
