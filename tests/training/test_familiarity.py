"""The prototypes and the threshold that a run ends with."""

import numpy as np
import pytest
from fakes import encode_png, make_photo
from training_runs import FAST

from zoo.inference.run_predictor import load
from zoo.models.prototypes import compute_familiarity
from zoo.runs.familiarity import PROTOTYPES
from zoo.runs.open import open_run
from zoo.training.finetune import finetune

VALUES = {**FAST, "epochs": 1, "pictures": False}
FROZEN = {**VALUES, "freeze": "all", "optimizer": "lbfgs"}


@pytest.fixture(params=[VALUES, FROZEN], ids=["trained", "frozen"])
def run(request, registry, tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    weights = {"weights": "pretrained"} if request.param is FROZEN else {}
    return finetune("small", runs=tmp_path, registry=registry, **request.param, **weights)


def test_a_run_knows_its_own_photos_and_how_it_learnt_that(run, registry):
    record, prototypes = run.familiarity, run.prototypes()
    assert open_run(run.path).familiarity == record
    assert prototypes.shape == (record.prototypes, record.width)
    assert record.photos == run.record.data.counts["val"]
    assert PROTOTYPES in (run.path / "manifest.json").read_text()
    predictor = load(run, device="cpu", registry=registry)
    photo = encode_png(make_photo(0, 3))
    prediction = predictor.predict(photo)
    assert prediction.known == (prediction.familiarity >= record.threshold)
    features = predictor.classifier.backbone.extract(predictor._to_batch([predictor.read(photo, name="photo")]))
    expected = compute_familiarity(features.pooled.detach().numpy(), prototypes, neighbours=record.neighbours)
    assert prediction.familiarity == pytest.approx(float(expected[0]), abs=1e-5)


def test_onnx_runtime_agrees_with_torch(run, registry):
    images = [load(run, device="cpu", registry=registry).read(encode_png(make_photo(n, 3)), name="") for n in range(3)]
    ours, theirs = (
        load(run, device="cpu", registry=registry, engine=engine).outputs(images) for engine in ("onnxruntime", "torch")
    )
    np.testing.assert_allclose(ours.familiarity, theirs.familiarity, atol=1e-5)


def test_it_can_be_turned_off(registry, tmp_path):
    run = finetune("small", runs=tmp_path, registry=registry, **VALUES, familiarity=False)
    assert (run.familiarity, run.prototypes(), (run.path / PROTOTYPES).exists()) == (None, None, False)
    predictor = load(run, device="cpu", registry=registry)
    assert predictor.familiarity_threshold is None
    prediction = predictor.predict(encode_png(make_photo(0, 3)))
    assert (prediction.familiarity, prediction.known, prediction.answer) == (None, None, prediction.label)
