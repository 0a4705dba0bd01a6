"""The export of a run to an ONNX file that was compared with it."""

import hashlib

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from fakes import CLASSES, FakePlugin, make_images, make_photo, make_registry, make_samples
from onnx.reference import ReferenceEvaluator

import zoo_export.graph.classifier
from zoo.data.images.decode import decode
from zoo.errors import ConfigError, DataError, ExportError
from zoo.inference.run_predictor import load
from zoo.models.classifier import Classifier
from zoo_export.inspection import inspect_file
from zoo_export.model_card import KEY, ModelCard
from zoo_export.runtime.providers import cuda_obstacle
from zoo_export.targets.onnx import export_onnx
from zoo_export.targets.pt2 import export_pt2
from zoo_export.verification import verify


def open_plainly(path):
    return onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])


def test_raw_pixels_give_what_the_run_predicts(exported, small_run, small_registry):
    predictor, session = load(small_run, device="cpu", registry=small_registry), open_plainly(exported.path)
    for sample in make_images().test:
        pixels = decode(sample.source)
        probabilities, _, heatmap, familiarity = session.run(None, {"image": pixels[None]})
        prediction = predictor.predict(pixels)
        expected = prediction.probabilities
        assert familiarity == pytest.approx([prediction.familiarity], abs=1e-5)
        np.testing.assert_allclose(probabilities[0], [expected[name] for name in CLASSES], atol=1e-6)
        assert heatmap.shape == (1, 2, 2)
        assert 0 <= heatmap.min() <= heatmap.max() <= 1


def test_file_contains_its_card(exported, small_run):
    card = inspect_file(exported.path).card
    assert card == exported.card
    assert (card.classes, card.preprocess) == (CLASSES, small_run.preprocess)
    assert (card.backbone, card.head, card.activation) == ("fake/small", "fake/flat", "softmax")
    assert card.weights_sha256 == hashlib.sha256(small_run.weights_path.read_bytes()).hexdigest()
    assert card.data == {"name": "colours", "fingerprint": small_run.fingerprint}
    assert card.run["results"]["test"] == small_run.results["test"]
    assert card.versions["torch"]


def test_file_verifies_against_the_weights_of_its_run(exported, small_run):
    results = verify(exported.path, runs=small_run.path.parent)
    assert [(result.about, result.ok) for result in results] == [("digest", True), ("weights", True)]


def test_file_contains_the_report_of_the_comparison(exported):
    parity = exported.card.parity
    (cpu,) = parity["providers"]
    assert exported.card.verified
    assert parity["photos"] == 12
    assert parity["batches"] == [1, 2, 7]
    assert cpu["provider"] == "CPUExecutionProvider"
    assert cpu["compared"] == cpu["same_top1"] == 12 + 12 + 7
    assert 0 < cpu["mean_difference"] <= cpu["max_difference"] <= parity["tolerance"]
    assert cpu["worst"] in {sample.name for sample in make_images().val}


def test_input_tensor_takes_normalised_tensors(small_run, small_registry, tmp_path):
    target = tmp_path / "m.onnx"
    exported = export_onnx(small_run, target, input="tensor", device="cpu", photos=3, registry=small_registry)
    assert exported.card.verified
    assert exported.card.parity["photos"] == 3
    (value,) = inspect_file(exported.path).inputs
    assert (value.name, value.type, value.shape) == ("tensor", "float", ("batch", 3, 16, 16))


def test_file_is_compared_with_torch_in_eager_mode(small_run, small_registry, tmp_path, monkeypatch):
    """Neither with a graph nor with what another engine computes: both could share a fault of the exporter."""
    forward = Classifier.forward

    def answer_differently(classifier, images):
        return forward(classifier, images) + (0 if torch.jit.is_tracing() else images.mean(dim=(1, 2, 3))[:, None] * 9)

    monkeypatch.setattr(Classifier, "forward", answer_differently)
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    load(small_run, device="cpu", registry=small_registry, engine="onnxruntime")  # caches a graph of the run
    with pytest.raises(ExportError, match="The exported file and the run disagree"):
        export_onnx(small_run, tmp_path / "m.onnx", device="cpu", registry=small_registry)


def test_file_that_differs_is_not_written_and_the_worst_photo_is_named(
    small_run, small_registry, tmp_path, monkeypatch
):
    real = zoo_export.graph.classifier.to_onnx

    def convert_wrongly(*args, **values):
        proto = real(*args, **values)
        bias = next(each for each in proto.graph.initializer if each.name.endswith("linear.bias"))
        bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + np.float32(0.1), bias.name))
        return proto

    monkeypatch.setattr(zoo_export.graph.classifier, "to_onnx", convert_wrongly)
    with pytest.raises(ExportError, match=r"disagree about val/\w+/\d\.png: a logit differs by 0\.1") as caught:
        export_onnx(small_run, tmp_path / "m.onnx", device="cpu", registry=small_registry)
    assert "--no-verify" in caught.value.hint
    assert list(tmp_path.iterdir()) == []
    unverified = export_onnx(small_run, tmp_path / "m.onnx", verify=False, registry=small_registry)
    assert not unverified.card.verified


def test_without_photos_nothing_is_written(small_run, tmp_path):
    missing = make_registry(FakePlugin(dataset=make_images(train=make_samples("train", 1))))
    unreadable = tuple(sample._replace(source=b"gone") for sample in make_images().val)
    broken = make_registry(FakePlugin(dataset=make_images(val=unreadable)))
    with pytest.raises(ExportError, match="no photos to compare small-flat") as caught:
        export_onnx(small_run, tmp_path / "m.onnx", data=str(tmp_path / "nowhere"), device="cpu", registry=missing)
    assert "--no-verify" in caught.value.hint
    with pytest.raises(DataError, match="None of the photos to compare is readable"):
        export_onnx(small_run, tmp_path / "m.onnx", device="cpu", registry=broken)
    assert list(tmp_path.iterdir()) == []


def test_bad_target_fails_early(small_run, small_registry, tmp_path):
    with pytest.raises(ExportError, match="is a folder") as caught:
        export_onnx(small_run, tmp_path, registry=small_registry)
    assert "model.onnx" in caught.value.hint
    with pytest.raises(ExportError, match="There is no folder"):
        export_onnx(small_run, tmp_path / "a" / "b.onnx", registry=small_registry)


def test_cuda_that_does_not_work_is_an_error(small_run, small_registry, tmp_path):
    if cuda_obstacle() is None:
        pytest.skip("CUDA works here")
    with pytest.raises(ExportError, match="cannot run on cuda"):
        export_onnx(small_run, tmp_path / "m.onnx", device="cuda", registry=small_registry)
    assert list(tmp_path.iterdir()) == []


def test_other_tools_find_the_standard_properties(exported):
    properties = {each.key: each.value for each in onnx.load(exported.path).metadata_props}
    assert properties["Image.BitmapPixelFormat"] == "Rgb8"
    assert ModelCard.from_json(properties[KEY], where="x") == exported.card


def test_batches_of_photos_of_any_size_agree_with_single_photos(exported):
    session = open_plainly(exported.path)
    batch = np.stack([make_photo(label, 3, (33, 21)) for label in (0, 1, 2)])
    (logits,) = session.run(["logits"], {"image": batch})
    for row, pixels in zip(logits, batch, strict=True):
        np.testing.assert_allclose(session.run(["logits"], {"image": pixels[None]})[0][0], row, atol=1e-5)


def test_suffix_that_no_command_opens_is_refused(small_run, small_registry, tmp_path):
    weights = small_run.weights_path.read_bytes()
    with pytest.raises(ExportError, match=r"model\.safetensors does not end with \.onnx") as caught:
        export_onnx(small_run, small_run.weights_path, registry=small_registry)
    assert "model.safetensors.onnx" in caught.value.hint
    assert small_run.weights_path.read_bytes() == weights
    with pytest.raises(ExportError, match=r"m\.onnx does not end with \.pt2"):
        export_pt2(small_run, tmp_path / "m.onnx", registry=small_registry)


def test_read_only_folder_fails_early(small_run, small_registry, tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may write anywhere
    with pytest.raises(ExportError, match=f"The folder {tmp_path} is not writable"):
        export_onnx(small_run, tmp_path / "m.onnx", registry=small_registry)


def test_unknown_device_fails_early(small_run, small_registry, tmp_path, monkeypatch):
    monkeypatch.delattr(zoo_export.graph.classifier, "to_onnx")
    with pytest.raises(ConfigError, match="There is no device 'tpu'"):
        export_onnx(small_run, tmp_path / "m.onnx", device="tpu", registry=small_registry)


@pytest.mark.parametrize("size", [(16, 16), (37, 53), (201, 2)], ids=str)
def test_the_reference_implementation_of_onnx_gives_the_same(exported, size):
    """It computes every operator by the letter of the standard: whatever else conforms gives the same, too."""
    photo = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    feed, names = {"image": photo[None]}, ["probabilities", "logits", "heatmap"]
    expected = open_plainly(exported.path).run(names, feed)
    actual = ReferenceEvaluator(onnx.load(exported.path)).run(names, feed)
    for one, other in zip(expected, actual, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_the_graph_has_no_control_flow(exported):
    """Runtimes refuse it, or answer wrongly."""
    assert {node.op_type for node in onnx.load(exported.path).graph.node}.isdisjoint({"If", "Loop", "Scan"})
