"""A reduced precision is kept only if it is nearly as accurate, and faster."""

from dataclasses import replace

import numpy as np
import pytest
from fakes import FakePlugin, make_images, make_registry

import zoo.data.images.resize
from zoo.errors import ExportError
from zoo.events import ignore
from zoo.inference.evaluate import load_run_splits
from zoo_export.commands.formatting import format_gain
from zoo_export.inspection import inspect_file
from zoo_export.runtime.predictor import load
from zoo_export.targets.onnx import export_onnx
from zoo_export.validation import precision_gate
from zoo_export.validation.precision_gate import PrecisionGain, check_gain


def make_gain(**values):
    known = {"photos": 200, "fp32_accuracy": 0.9, "accuracy": 0.9, "provider": "CPUExecutionProvider", "busy": False}
    paired = {"lost": 0, "gained": 0, "same_top1": 200, "mean_difference": 0.0, "max_difference": 0.0}
    times = {"milliseconds": {"1": 5.0, "32": 100.0}, "fp32_milliseconds": {"1": 10.0, "32": 250.0}}
    return PrecisionGain(**{**known, **paired, **times, **values})


@pytest.fixture
def faster(monkeypatch):
    """Makes every reduced precision three times as fast as fp32."""
    monkeypatch.setattr(precision_gate, "_measure_seconds", lambda predictors, batch: [0.3, 0.1])


def test_accurate_and_faster_network_passes():
    check_gain(make_gain(), "int8", max_drop=0.5)
    check_gain(make_gain(lost=2, gained=1), "int8", max_drop=0.5)
    assert make_gain().speedup == 2.5
    assert make_gain(lost=1, gained=3).points_lost == pytest.approx(-1)


def test_loss_of_accuracy_is_reported():
    message = r"int8 file loses 1\.00 percentage points .* more than 0\.5 \(90\.0 to 89\.0 % on 200"
    with pytest.raises(ExportError, match=message) as caught:
        check_gain(make_gain(accuracy=0.89, lost=2), "int8", max_drop=0.5)
    assert "--max-drop" in caught.value.hint
    check_gain(make_gain(accuracy=0.89, lost=2), "int8", max_drop=1)


def test_loss_beyond_chance_is_reported_even_if_it_is_small():
    gain = make_gain(photos=2000, lost=8, gained=1)
    assert gain.points_lost < 0.5
    with pytest.raises(ExportError, match=r"beyond chance: of 2000 photos it loses 8 and gains 1 \(p = 0\.02\)"):
        check_gain(gain, "int8", max_drop=0.5)
    check_gain(gain, "int8", max_drop=1)  # such a loss can be excluded
    check_gain(make_gain(photos=2000, lost=8, gained=5), "int8", max_drop=0.5)


def test_what_few_photos_cannot_exclude_is_said():
    gain = make_gain(photos=71, same_top1=71, busy=True)
    text = format_gain(gain.to_dict())
    assert "a drop of up to 3.2 points cannot be excluded with 71 photos; the same class in 71" in text
    assert text.endswith("2.5 times the throughput on CPU (measured while other work ran)")


def test_speed_is_measured_again_while_other_work_runs(monkeypatch):
    states = iter([None, (100, 80), (0, 0), (100, 10)])  # threads waited in the first attempt, not in the second
    monkeypatch.setattr(precision_gate, "read_thread_times", lambda: next(states))
    monkeypatch.setattr(precision_gate, "waited_long", lambda before, after: after[1] > 50)
    monkeypatch.setattr(precision_gate, "_PAUSE", 0.0)
    measured = iter([[0.1, 0.4]] * 2 + [[0.3, 0.1]] * 2)
    monkeypatch.setattr(precision_gate, "_measure_seconds", lambda predictors, batch: next(measured))
    (fp32, reduced), busy = precision_gate._measure_idle([None, None])
    assert (fp32["32"], reduced["32"], busy) == (300, 100, False)


def test_loss_of_speed_is_reported():
    message = r"fp16 file reaches 0\.50 times the throughput of fp32 on CPU"
    with pytest.raises(ExportError, match=message) as caught:
        check_gain(make_gain(milliseconds={"1": 5.0, "32": 500.0}), "fp16", max_drop=0.5)
    assert "on the target machine" in caught.value.hint
    with pytest.raises(ExportError, match="on CPUExecutionProvider, while other work ran"):
        check_gain(make_gain(milliseconds={"1": 5.0, "32": 500.0}, busy=True), "fp16", max_drop=0.5)


@pytest.mark.usefixtures("faster")
@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_file_that_passes_is_written_with_its_figures(precision, small_run, small_registry, tmp_path):
    values = {"device": "cpu", "photos": 2, "max_drop": 100, "registry": small_registry}
    exported = export_onnx(small_run, tmp_path / "m.onnx", precision=precision, **values)
    card = inspect_file(exported.path).card
    assert card == exported.card
    assert card.precision == precision
    assert card.quantisation["speedup"] == pytest.approx(3)
    assert card.quantisation["photos"] == 12
    assert card.parity["providers"][0]["max_difference"] > 0
    assert card.parity["tolerance"] is None
    assert card.quantisation.get("calibration_photos") == (36 if precision == "int8" else None)
    predictor = load(exported.path, device="cpu")
    samples = load_run_splits(small_run, ("val",), registry=small_registry, observer=ignore)["val"]
    labels = [predictor.predict(sample.source).label for sample in samples]
    right = [predictor.classes[sample.label] == label for sample, label in zip(samples, labels, strict=True)]
    assert np.mean(right) == pytest.approx(card.quantisation["accuracy"])


@pytest.mark.usefixtures("faster")
def test_other_photos_are_scored_beside_those_of_the_run(small_run, small_registry, tmp_path):
    folder = tmp_path / "photos"
    for number, sample in enumerate(make_images().test):
        path = folder / small_run.classes[sample.label] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(sample.source)
    values = {"device": "cpu", "photos": 2, "max_drop": 100, "registry": small_registry, "data": str(folder)}
    exported = export_onnx(small_run, tmp_path / "m.onnx", precision="int8", **values)
    assert exported.card.quantisation["photos"] == 12 + 18


def test_file_that_fails_is_not_written(small_run, small_registry, tmp_path, monkeypatch):
    monkeypatch.setattr(precision_gate, "_measure_seconds", lambda predictors, batch: [0.1, 0.2])
    values = {"verify": False, "max_drop": 100, "device": "cpu", "registry": small_registry}
    with pytest.raises(ExportError, match=r"reaches 0\.50 times the throughput"):
        export_onnx(small_run, tmp_path / "m.onnx", precision="int8", **values)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("faster")
def test_int8_is_calibrated_on_training_photos_of_the_run_only(small_run, tmp_path, monkeypatch):
    """If photos were added or moved since, today's training split may contain yesterday's test photos."""
    calibrated = []
    real = zoo.data.images.resize.preprocess
    monkeypatch.setattr(
        precision_gate, "preprocess", lambda pixels, spec: calibrated.append(pixels) or real(pixels, spec)
    )
    images = make_images()
    swapped = make_images(train=images.train[:6] + images.test, test=images.train[6:])
    moved = make_registry(FakePlugin(dataset=swapped))
    values = {"device": "cpu", "photos": 2, "max_drop": 100, "registry": moved}
    run = replace(small_run, record=replace(small_run.record, familiarity=None))  # its threshold needs other photos
    exported = export_onnx(run, tmp_path / "m.onnx", precision="int8", **values)
    assert exported.card.quantisation["calibration_photos"] == len(calibrated) == 6


@pytest.mark.usefixtures("faster")
def test_photos_that_have_changed_do_not_calibrate(small_run, tmp_path, capsys):
    first, *others = make_images().train
    values = {"device": "cpu", "photos": 2, "max_drop": 100, "observer": print}
    broken = make_registry(FakePlugin(dataset=make_images(train=(first._replace(source=b"gone"), *others))))
    exported = export_onnx(small_run, tmp_path / "m.onnx", precision="int8", **values, registry=broken)
    assert exported.card.quantisation["calibration_photos"] == len(others)
    assert f"1 of 36 train photos have changed since {small_run.name} was trained" in capsys.readouterr().out
    unreadable = tuple(sample._replace(source=b"gone") for sample in make_images().train)
    none = make_registry(FakePlugin(dataset=make_images(train=unreadable)))
    with pytest.raises(ExportError, match="None of its train photos is still the same"):
        export_onnx(small_run, tmp_path / "n.onnx", precision="int8", **values, registry=none)
