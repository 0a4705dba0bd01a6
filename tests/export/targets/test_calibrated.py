"""Calibrated runs as exported files: the temperature is in the graph, what sets are made from in the card."""

import dataclasses
import json
import math
import re
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from fakes import make_images

from zoo.data.images.decode import decode
from zoo.inference.run_predictor import load as load_run
from zoo.metrics.calibration import Calibration, PredictionSets
from zoo.runs.familiarity import PROTOTYPES
from zoo.runs.record import write_record
from zoo.runs.run import RunFolder
from zoo_export.model_card import KEY
from zoo_export.runtime.predictor import load
from zoo_export.targets.onnx import export_onnx
from zoo_export.targets.pt2 import export_pt2

PAGE = Path(__file__).parents[3] / "docs" / "export.md"
SETS = PredictionSets(score="lac", photos=20, scores=tuple(number / 20 for number in range(20)))
SINGLE = Calibration(method="temperature", temperature=(2.5,), sets=SETS)
PER_LABEL = Calibration(method="temperature-per-label", activation="sigmoid", temperature=(0.5, 1.0, 2.0))


@pytest.fixture
def calibrated_run(small_run, tmp_path):
    """A function that returns a copy of the small run with a calibration."""

    def make(calibration):
        folder = tmp_path / "calibrated"
        folder.mkdir()
        for name in ("model.safetensors", PROTOTYPES):
            (folder / name).write_bytes((small_run.path / name).read_bytes())
        labels = {"multi_label": True, "thresholds": (0.5,) * 3} if calibration.sets is None else {}
        record = dataclasses.replace(
            small_run.record, calibration=calibration, activation=calibration.activation, **labels
        )
        write_record(folder, record)
        return RunFolder(folder, record)

    return make


@pytest.mark.parametrize("calibration", [SINGLE, PER_LABEL], ids=["softmax", "one for each label"])
def test_probabilities_are_those_of_the_logits_divided_by_the_temperature(
    calibrated_run, small_registry, tmp_path, calibration
):
    run = calibrated_run(calibration)
    exported = export_onnx(run, tmp_path / "m.onnx", device="cpu", verify=False, registry=small_registry)
    session = onnxruntime.InferenceSession(exported.path.read_bytes(), providers=["CPUExecutionProvider"])
    predictor, file = load_run(run, device="cpu", registry=small_registry), load(exported.path, device="cpu")
    for sample in make_images().test[:4]:
        pixels = decode(sample.source)
        probabilities, logits = session.run(["probabilities", "logits"], {"image": pixels[None]})
        scaled = torch.from_numpy(logits) / torch.tensor(calibration.temperature)
        wanted = scaled.softmax(dim=1) if calibration is SINGLE else scaled.sigmoid()
        np.testing.assert_allclose(probabilities, wanted.numpy(), atol=1e-6)
        of_run, of_file = predictor.predict(pixels), file.predict(pixels)
        assert of_file.probabilities == pytest.approx(of_run.probabilities, abs=1e-6)
    assert exported.card.calibration == calibration
    assert KEY in session.get_modelmeta().custom_metadata_map


def test_the_parity_gate_compares_calibrated_probabilities(calibrated_run, small_registry, tmp_path):
    run = calibrated_run(SINGLE)
    exported = export_onnx(run, tmp_path / "m.onnx", device="cpu", registry=small_registry)
    assert exported.card.verified
    predictor = load(exported.path, device="cpu")
    photo = make_images().test[0].source
    assert predictor.predict(photo, coverage=0.5).prediction_set
    whole = predictor.predict(photo, coverage=0.95)
    session = predictor.session.runtime
    (code,) = re.findall(r"```python set\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    rows = np.array([[whole.probabilities[name] for name in predictor.classes]])
    names = {"session": session, "probabilities": rows, "classes": predictor.classes}
    names |= {"json": json, "math": math, "np": np}
    exec(compile(code, "export.md", "exec"), names)
    assert tuple(names["members"]) == whole.prediction_set
    assert len(whole.prediction_set) > 1
    assert (
        whole.prediction_set
        == load_run(run, device="cpu", registry=small_registry).predict(photo, coverage=0.95).prediction_set
    )


@pytest.mark.slow
def test_an_archive_has_the_temperature_too(calibrated_run, small_registry, tmp_path):
    exported = export_pt2(calibrated_run(SINGLE), tmp_path / "m.pt2", photos=2, registry=small_registry)
    module = torch.export.load(exported.path).module()
    probabilities, logits, *_ = module(torch.randn(2, 3, 16, 16))
    torch.testing.assert_close(probabilities, (logits / 2.5).softmax(dim=1))
    assert exported.card.verified
