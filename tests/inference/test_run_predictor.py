import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from fakes import CLASSES, FakePlugin, encode_png, make_backbone_spec, make_images, make_photo, make_registry
from run_files import write_json_record

from zoo.data.images.decode import preprocess
from zoo.errors import ImageError, RunError, UnknownNameError
from zoo.inference.evaluate import evaluate
from zoo.inference.run_predictor import load
from zoo.runs.open import open_run
from zoo.runs.record import write_record
from zoo.training.finetune import finetune


@pytest.fixture(scope="module")
def registry():
    return make_registry(FakePlugin())


@pytest.fixture(scope="module")
def run(tmp_path_factory, registry):
    """A trained run; no test changes it."""
    values = {"head": "flat", "epochs": 2, "batch_size": 8, "lr": 0.01, "device": "cpu", "precision": "fp32"}
    return finetune("small", data="colours", runs=tmp_path_factory.mktemp("runs"), registry=registry, **values)


@pytest.fixture
def predictor(run, registry):
    return load(run, device="cpu", registry=registry)


def test_a_prediction_names_every_class_the_most_probable_first(predictor):
    prediction = predictor.predict(encode_png(make_photo(1, 5)))
    assert prediction.name == "photo"
    assert set(prediction.probabilities) == set(CLASSES)
    probabilities = list(prediction.probabilities.values())
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1)
    assert (prediction.label, prediction.probability) == next(iter(prediction.probabilities.items()))
    assert prediction.label == "green"


def test_heat_maps_are_made_in_any_precision(run, registry):
    batch = [preprocess(make_photo(label, 3), run.preprocess) for label in range(3)]
    told = {
        name: load(run, device="cpu", precision=name, registry=registry).explained(batch) for name in ("fp32", "bf16")
    }
    for exact, rounded in zip(told["fp32"], told["bf16"], strict=True):
        assert rounded.dtype == np.float32
        np.testing.assert_allclose(rounded, exact, atol=0.1)


def test_float32_is_not_rounded_on_a_gpu(predictor, run, monkeypatch):
    """What a prediction is computed in is the predictor's to say: torch would round convolutions to TF32."""
    seen = []
    on_gpu = dataclasses.replace(predictor.precision, device=torch.device("cuda"))
    monkeypatch.setattr(predictor, "precision", on_gpu)
    to = torch.Tensor.to
    monkeypatch.setattr(
        torch.Tensor, "to", lambda x, *given, **how: x if on_gpu.device in given else to(x, *given, **how)
    )
    predictor.classifier.backbone.register_forward_hook(lambda *_: seen.append(torch.backends.cudnn.allow_tf32))
    before = torch.backends.cudnn.allow_tf32
    predictor.classifier.backbone(torch.zeros(1, 3, 16, 16))
    predictor._computed([preprocess(make_photo(1, 3), run.preprocess)])
    assert seen == [before, False]
    assert torch.backends.cudnn.allow_tf32 is before is True


def test_a_file_its_bytes_its_path_and_its_pixels_are_predicted_alike(predictor, tmp_path):
    pixels = make_photo(2, 7)
    file = tmp_path / "blue.png"
    file.write_bytes(encode_png(pixels))
    told = [predictor.predict(source).probabilities for source in (file, str(file), encode_png(pixels), pixels)]
    assert told[0] == told[1] == told[2] == told[3]
    assert predictor.predict(file).name == str(file)


def test_probabilities_are_those_that_evaluation_scored(predictor, run, registry):
    samples = make_images().test
    probabilities = predictor.probabilities([preprocess(photo_of(sample), run.preprocess) for sample in samples])
    assert probabilities.dtype == np.float32
    labels = np.array([sample.label for sample in samples])
    evaluation = evaluate(run, device="cpu", registry=registry)
    assert evaluation.accuracy == (probabilities.argmax(axis=1) == labels).mean() == run.results["test"]["accuracy"]
    likelihood = probabilities[np.arange(len(labels)), labels]
    assert evaluation.loss == pytest.approx(-np.log(likelihood).mean(), rel=1e-5)
    assert run.results["test"]["loss"] == pytest.approx(evaluation.loss, rel=1e-5)


def photo_of(sample):
    from zoo.data.images.decode import decode

    return decode(sample.source)


def test_a_batch_says_what_each_photo_says_alone(predictor):
    batch = [preprocess(make_photo(label, 3), predictor.preprocess) for label in range(3)]
    together = predictor.probabilities(batch)
    alone = np.concatenate([predictor.probabilities([image]) for image in batch])
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_bad_files_are_told_in_their_place_and_the_others_predicted(predictor, tmp_path):
    files = []
    for number in range(70):
        file = tmp_path / f"{number:02}.png"
        file.write_bytes(b"broken" if number in (0, 40, 69) else encode_png(make_photo(number % 3, number)))
        files.append(file)
    files.insert(5, tmp_path / "missing.png")
    outcomes = list(predictor.predict_files(files))
    assert len(outcomes) == len(files)
    for file, outcome in zip(files, outcomes, strict=True):
        if file.name in ("00.png", "40.png", "69.png", "missing.png"):
            assert isinstance(outcome, ImageError)
            assert outcome.message.startswith(str(file))
        else:
            assert outcome.name == str(file)


def test_nothing_but_bad_files_and_nothing_at_all_are_no_trouble(predictor, tmp_path):
    (outcome,) = predictor.predict_files([tmp_path / "missing.png"])
    assert isinstance(outcome, ImageError)
    assert list(predictor.predict_files([])) == []


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4, 3), dtype=np.float32),
        np.zeros((4, 4), dtype=np.uint8),
        np.zeros((4, 4, 4), dtype=np.uint8),
        np.zeros((1, 4, 4, 3), dtype=np.uint8),
        np.zeros((0, 4, 3), dtype=np.uint8),
    ],
)
def test_an_array_that_is_no_photo_is_told(predictor, array):
    with pytest.raises(ImageError, match=r"not uint8 \(H, W, 3\)"):
        predictor.predict(array)


def test_a_bad_photo_is_told(predictor):
    with pytest.raises(ImageError, match="photo: "):
        predictor.predict(b"no photo")


def test_a_run_is_found_by_its_name_or_its_folder(run, registry):
    for reference in (run, run.path, str(run.path)):
        assert load(reference, device="cpu", registry=registry).classes == CLASSES
    assert load(run.name, runs=run.path.parent, device="cpu", registry=registry).run.path == run.path
    with pytest.raises(RunError, match="There is no run 'none-such'"):
        load("none-such", runs=run.path.parent, registry=registry)


def test_a_plugin_that_is_gone_is_told_by_name(run):
    others = make_registry(FakePlugin(backbones=[make_backbone_spec("other")]))
    with pytest.raises(UnknownNameError, match="There is no backbone 'fake/small'"):
        load(run, device="cpu", registry=others)


def test_a_run_without_its_weights_is_told(run, registry, tmp_path):
    write_record(tmp_path, run.record)
    with pytest.raises(RunError, match=r"has no model\.safetensors"):
        load(tmp_path, device="cpu", registry=registry)


def test_pretrained_weights_are_not_fetched_to_be_overwritten(run, tmp_path):
    asked = []

    def build(request):
        asked.append(request.pretrained)
        return make_backbone_spec().build(request)

    load(run, device="cpu", registry=make_registry(FakePlugin(backbones=[make_backbone_spec("small", build=build)])))
    assert asked == [False]


def test_a_frozen_run_and_one_of_another_size_are_rebuilt_as_they_were(tmp_path, registry):
    first = finetune(
        "small",
        data="colours",
        head="flat",
        runs=tmp_path,
        registry=registry,
        image_size=24,
        freeze="all",
        device="cpu",
    )
    # A second run takes its size from the first: its own configuration says nothing of it.
    second = finetune(
        "small",
        data="colours",
        head="flat",
        runs=tmp_path,
        registry=registry,
        weights=first.name,
        epochs=1,
        device="cpu",
    )
    assert second.preprocess.size == (24, 24)
    sizes = []

    def build(request):
        sizes.append(request.image_size)
        return make_backbone_spec().build(request)

    for run in (first, second):
        predictor = load(run, registry=make_registry(FakePlugin(backbones=[make_backbone_spec("small", build=build)])))
        assert predictor.preprocess == run.preprocess
    assert sizes == [(24, 24), (24, 24)]


def test_a_record_written_by_hand_is_told(run, registry, tmp_path):
    record = json.loads((run.path / "run.json").read_text())
    (tmp_path / "model.safetensors").write_bytes(run.weights_path.read_bytes())
    for key, message in (("config", "no 'config'"), ("classes", "no 'classes'"), ("preprocess", "no 'preprocess'")):
        write_json_record(tmp_path, {name: value for name, value in record.items() if name != key})
        with pytest.raises(RunError, match=message):
            load(open_run(tmp_path), device="cpu", registry=registry)
    for key in ("backbone", "head"):
        write_json_record(tmp_path, {name: value for name, value in record.items() if name != key})
        with pytest.raises(RunError, match=f"no '{key}'"):
            load(Path(tmp_path), device="cpu", registry=registry)
