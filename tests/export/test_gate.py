"""Lower precision is kept only where it is nearly as accurate, and faster."""

import numpy as np
import onnx
import pytest
from fakes import images

import zoo.data.images.decode
import zoo_export.gate
import zoo_export.lowering
from zoo.errors import DataError, ExportError
from zoo.events import ignore
from zoo.inference.evaluate import find_samples
from zoo.inference.run_predictor import rebuild
from zoo_export.exporting import export
from zoo_export.gate import Gain, check
from zoo_export.half import to_fp16
from zoo_export.inspection import inspect
from zoo_export.int8 import to_int8
from zoo_export.network import Deployed, to_onnx
from zoo_export.photos import normalised, read
from zoo_export.predictor import load


def gain(**values):
    known = {"photos": 200, "fp32_accuracy": 0.9, "accuracy": 0.9, "provider": "CPUExecutionProvider"}
    times = {"milliseconds": {"1": 5.0, "32": 100.0}, "fp32_milliseconds": {"1": 10.0, "32": 250.0}}
    return Gain(**{**known, **times, **values})


def test_what_is_as_accurate_and_faster_passes():
    check(gain(), "int8", max_drop=0.5)
    check(gain(accuracy=0.895), "int8", max_drop=0.5)
    assert gain().speedup == 2.5
    assert gain(accuracy=0.91).points_lost == pytest.approx(-1)


def test_what_loses_too_much_is_told_by_how_much():
    with pytest.raises(
        ExportError, match=r"int8 loses 1\.00 points .* more than 0\.5 \(90\.0 to 89\.0 % on 200"
    ) as caught:
        check(gain(accuracy=0.89), "int8", max_drop=0.5)
    assert "--max-drop" in caught.value.hint
    check(gain(accuracy=0.89), "int8", max_drop=1)


def test_what_is_slower_is_told_by_how_much():
    with pytest.raises(
        ExportError, match=r"fp16 computes 0\.50 times as many photos a second as fp32 on CPU"
    ) as caught:
        check(gain(milliseconds={"1": 5.0, "32": 500.0}), "fp16", max_drop=0.5)
    assert "on the machine" in caught.value.hint


@pytest.fixture(scope="module")
def network(small_run, small_registry):
    return to_onnx(Deployed(rebuild(small_run, small_registry).classifier), size=(16, 16), opset=18)


def photos(run):
    return [normalised([pixels], run.preprocess).numpy() for _, pixels in read(images().train, ignore)]


def test_int8_has_a_scale_for_each_channel_and_unsigned_activations(network, small_run):
    quantised = to_int8(network, photos(small_run))
    onnx.checker.check_model(quantised, full_check=True)
    values = {each.name: onnx.numpy_helper.to_array(each) for each in quantised.graph.initializer}
    conv = next(node for node in quantised.graph.node if node.op_type == "Conv")
    maker = {node.output[0]: node for node in quantised.graph.node}
    activation, weight = (maker[name] for name in conv.input[:2])
    assert values[activation.input[2]].dtype == np.uint8
    assert values[weight.input[0]].dtype == np.int8
    assert values[weight.input[1]].shape == (8,)


def test_the_preprocessing_and_the_heat_map_are_left_alone(network, small_run):
    quantised = to_int8(network, photos(small_run))
    before, after = ([node.op_type for node in proto.graph.node] for proto in (network, quantised))
    assert before.count("Gemm") == after.count("Gemm") == 2  # the head, and the head asked about each place
    quantized_gemms = [
        node for node in quantised.graph.node if node.op_type == "Gemm" and "Dequantize" in node.input[0]
    ]
    assert len(quantized_gemms) == 1


def test_fp16_takes_and_gives_float32(network):
    half = to_fp16(network)
    assert half.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert {value.type.tensor_type.elem_type for value in half.graph.output} == {onnx.TensorProto.FLOAT}
    weights = [each for each in half.graph.initializer if each.name.endswith("linear.weight")]
    assert {each.data_type for each in weights} == {onnx.TensorProto.FLOAT16}


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_a_file_that_passes_is_kept_and_tells_its_figures(precision, small_run, small_registry, tmp_path, monkeypatch):
    monkeypatch.setattr(zoo_export.gate, "_times", lambda predictors, batch: [0.3, 0.1])
    values = {"device": "cpu", "photos": 2, "max_drop": 100, "registry": small_registry}
    exported = export(small_run, tmp_path / "m.onnx", precision=precision, **values)
    card = inspect(exported.path).card
    assert card == exported.card
    assert card.precision == precision
    assert card.quantisation["speedup"] == pytest.approx(3)
    assert card.quantisation["photos"] == 12
    assert card.quantisation.get("calibration_photos") == (36 if precision == "int8" else None)
    predictor = load(exported.path, device="cpu")
    samples = find_samples(small_run, part="val", data=None, registry=small_registry, observer=ignore)
    labels = [predictor.predict(sample.source).label for sample in samples]
    right = [predictor.classes[sample.label] == label for sample, label in zip(samples, labels, strict=True)]
    assert np.mean(right) == pytest.approx(card.quantisation["accuracy"])


def test_a_file_that_fails_is_not_written(small_run, small_registry, tmp_path, monkeypatch):
    monkeypatch.setattr(zoo_export.gate, "_times", lambda predictors, batch: [0.1, 0.2])
    with pytest.raises(ExportError, match=r"computes 0\.50 times as many"):
        export(
            small_run,
            tmp_path / "m.onnx",
            precision="int8",
            verify=False,
            max_drop=100,
            device="cpu",
            registry=small_registry,
        )
    assert list(tmp_path.iterdir()) == []


def test_without_its_own_photos_it_cannot_be_judged(small_run, tmp_path):
    from fakes import FakePlugin, registry_of

    gone = registry_of(FakePlugin(dataset=images(classes=("red", "green", "pink"))))
    with pytest.raises(ExportError, match=f"cannot be judged without the photos of {small_run.name}") as caught:
        export(small_run, tmp_path / "m.onnx", precision="int8", verify=False, registry=gone)
    assert "fp32" in caught.value.hint


def test_int8_is_calibrated_on_no_photo_that_was_tested_on(small_run, small_registry, tmp_path, monkeypatch):
    """Where photos were added or moved since, today's training part may hold yesterday's test photos."""
    from fakes import FakePlugin, registry_of

    read = []
    monkeypatch.setattr(zoo_export.gate, "_times", lambda predictors, batch: [0.3, 0.1])
    monkeypatch.setattr(
        zoo_export.lowering, "preprocess", lambda pixels, spec: read.append(pixels) or real(pixels, spec)
    )
    real = zoo.data.images.decode.preprocess
    moved = registry_of(FakePlugin(dataset=images(train=images().train[:6] + images().test)))
    values = {"device": "cpu", "photos": 2, "max_drop": 100, "registry": moved}
    exported = export(small_run, tmp_path / "m.onnx", precision="int8", **values)
    assert exported.card.quantisation["calibration_photos"] == len(read) == 6
    gone = registry_of(FakePlugin(dataset=images(train=images().test)))
    with pytest.raises(ExportError, match="None of its train photos is in the train part of its data now"):
        export(small_run, tmp_path / "n.onnx", precision="int8", **{**values, "registry": gone})


def test_a_photo_that_cannot_be_calibrated_on_is_told(small_run, tmp_path, monkeypatch, capsys):
    """The quantiser's own output is dropped; what the observer prints is not."""
    from fakes import FakePlugin, registry_of

    monkeypatch.setattr(zoo_export.gate, "_times", lambda predictors, batch: [0.3, 0.1])
    first, *others = images().train
    values = {"device": "cpu", "photos": 2, "max_drop": 100, "observer": print}
    broken = registry_of(FakePlugin(dataset=images(train=(first._replace(source=b"gone"), *others))))
    exported = export(small_run, tmp_path / "m.onnx", precision="int8", **values, registry=broken)
    assert exported.card.quantisation["calibration_photos"] == len(others)
    assert f"Left out: {first.name}" in capsys.readouterr().out
    none = registry_of(FakePlugin(dataset=images(train=tuple(s._replace(source=b"gone") for s in images().train))))
    with pytest.raises(DataError, match="None of the training photos to calibrate on can be read"):
        export(small_run, tmp_path / "n.onnx", precision="int8", **values, registry=none)
