import dataclasses
import json
import random

import numpy as np
import pytest
import torch
from fakes import (
    CLASSES,
    FakePlugin,
    SmallBackbone,
    encode_png,
    make_backbone_spec,
    make_images,
    make_photo,
    make_registry,
)
from run_files import write_json_record

from zoo.config import FinetuneConfig
from zoo.data.images.decode import decode
from zoo.data.images.resize import preprocess
from zoo.errors import ConfigError, RunError, UnknownNameError
from zoo.inference import run_predictor
from zoo.inference.evaluate import evaluate
from zoo.inference.run_predictor import Predictor, cache_graph, load, rebuild_model
from zoo.inference.session_predictor import SessionPredictor
from zoo.models.build import resolve_preprocess
from zoo.models.engines import Engine
from zoo.models.random_state import random_states
from zoo.runs.open import open_run
from zoo.runs.record import write_record
from zoo.runs.weights import save_weights


@pytest.fixture
def predictor(trained_run, registry):
    return load(trained_run, device="cpu", registry=registry)


def registry_with(build):
    return make_registry(FakePlugin(backbones=[make_backbone_spec("small", build=build)]))


def test_a_trained_run_recognises_its_classes(predictor):
    prediction = predictor.predict(encode_png(make_photo(1, 5)))
    assert (prediction.name, prediction.label) == ("photo", "green")
    assert set(prediction.probabilities) == set(CLASSES)
    assert sum(prediction.probabilities.values()) == pytest.approx(1)


def test_heat_maps_are_float32_in_any_precision(trained_run, registry):
    batch = [preprocess(make_photo(label, 3), trained_run.preprocess) for label in range(3)]
    exact, rounded = (
        load(trained_run, device="cpu", precision=precision, registry=registry).explained(batch)
        for precision in ("fp32", "bf16")
    )
    for ours, theirs in zip(rounded, exact, strict=True):
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, theirs, atol=0.1)


def test_float32_is_not_rounded_on_a_gpu(predictor, trained_run, monkeypatch):
    """The predictor determines the precision; torch's default is to round float32 to TF32 in convolutions."""
    settings = []
    on_gpu = dataclasses.replace(predictor.precision, device=torch.device("cuda"))
    monkeypatch.setattr(predictor, "precision", on_gpu)
    to = torch.Tensor.to
    monkeypatch.setattr(
        torch.Tensor, "to", lambda x, *args, **options: x if on_gpu.device in args else to(x, *args, **options)
    )
    predictor.classifier.backbone.body["stem"].register_forward_hook(
        lambda *_: settings.append(torch.backends.cudnn.allow_tf32)
    )
    before = torch.backends.cudnn.allow_tf32
    predictor.classifier.backbone(torch.zeros(1, 3, 16, 16))
    predictor._run_network([preprocess(make_photo(1, 3), trained_run.preprocess)])
    assert settings == [before, False]
    assert torch.backends.cudnn.allow_tf32 is before is True


def test_probabilities_are_those_of_the_evaluation(predictor, trained_run, registry):
    samples = make_images().test
    images = [preprocess(decode(sample.source), trained_run.preprocess) for sample in samples]
    probabilities = predictor.probabilities(images)
    assert probabilities.dtype == np.float32
    labels = np.array([sample.label for sample in samples])
    evaluation, results = evaluate(trained_run, device="cpu", registry=registry), trained_run.results["test"]
    assert evaluation.accuracy == (probabilities.argmax(axis=1) == labels).mean() == results["accuracy"]
    likelihood = probabilities[np.arange(len(labels)), labels]
    assert evaluation.loss == pytest.approx(-np.log(likelihood).mean(), rel=1e-5)
    assert results["loss"] == pytest.approx(evaluation.loss, rel=1e-5)


def test_the_prediction_for_a_photo_does_not_depend_on_its_batch(predictor):
    batch = [preprocess(make_photo(label, 3), predictor.preprocess) for label in range(3)]
    together = predictor.probabilities(batch)
    alone = np.concatenate([predictor.probabilities([image]) for image in batch])
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_a_run_is_loaded_by_object_path_or_name(trained_run, registry):
    for reference in (trained_run, trained_run.path, str(trained_run.path)):
        assert load(reference, device="cpu", registry=registry).classes == CLASSES
    runs = trained_run.path.parent
    assert load(trained_run.name, runs=runs, device="cpu", registry=registry).run.path == trained_run.path
    with pytest.raises(RunError, match="There is no run 'none-such'"):
        load("none-such", runs=runs, registry=registry)


class DrawingBackbone(SmallBackbone):
    """Seeds global generators when it is built, and draws from that of torch when it runs."""

    def __init__(self):
        np.random.seed(0)
        random.seed(0)
        super().__init__()

    def forward(self, images):
        return super().forward(images + 1e-3 * torch.rand(()))


def test_loading_predicting_and_evaluating_leave_the_random_generators_as_they_were(trained_run):
    drawing = registry_with(lambda request: DrawingBackbone())
    photo = preprocess(make_photo(1, 3), trained_run.preprocess)
    before = str(random_states(torch.device("cpu")))
    predictor = load(trained_run, device="cpu", registry=drawing)
    predictor.probabilities([photo])
    predictor.explained([photo])
    evaluate(trained_run, device="cpu", registry=drawing)
    assert str(random_states(torch.device("cpu"))) == before


def test_a_name_that_the_plugin_no_longer_offers_is_an_error(trained_run):
    others = make_registry(FakePlugin(backbones=[make_backbone_spec("other")]))
    with pytest.raises(UnknownNameError, match="There is no backbone 'fake/small'"):
        load(trained_run, device="cpu", registry=others)


def test_a_plugin_that_is_not_installed_is_named_with_its_distribution(trained_run):
    with pytest.raises(UnknownNameError) as caught:
        load(trained_run, device="cpu", registry=make_registry(FakePlugin(), name="other"))
    name = trained_run.name
    assert caught.value.message == (
        f"The run {name} needs the backbone 'fake/small' of the plugin fake 1.2, which is not installed."
    )
    assert caught.value.hint == "If you trust the run, install the plugin: pip install fake==1.2"


def test_a_plugin_of_another_version_that_lacks_the_name_is_named_with_both_versions(trained_run, tmp_path):
    record = dataclasses.replace(trained_run.record, plugins={"fake:fake": "0.9"})
    write_record(tmp_path, record)
    others = make_registry(FakePlugin(backbones=[make_backbone_spec("other")]))
    with pytest.raises(UnknownNameError, match=r"of the plugin fake 0\.9, but 1\.2 is installed") as caught:
        load(tmp_path, device="cpu", registry=others)
    assert caught.value.hint.endswith("pip install fake==0.9")


def test_the_plugin_of_a_dataset_is_named_with_its_distribution(trained_run, registry, tmp_path):
    config = {**trained_run.config, "data": "others/pets"}
    write_record(tmp_path, dataclasses.replace(trained_run.record, config=config, plugins={"others:pets": "2"}))
    with pytest.raises(UnknownNameError) as caught:
        evaluate(tmp_path, registry=registry)
    assert caught.value.message == (
        f"The run {tmp_path.name} needs the dataset 'others/pets' of the plugin others 2, which is not installed."
    )
    assert caught.value.hint == "If you trust the run, install the plugin: pip install others==2"


def test_missing_weights_are_an_error(trained_run, registry, tmp_path):
    write_record(tmp_path, trained_run.record)
    with pytest.raises(RunError, match=r"has no model\.safetensors"):
        load(tmp_path, device="cpu", registry=registry)


def test_pretrained_weights_are_not_downloaded(trained_run):
    requests = []

    def build(request):
        requests.append(request.pretrained)
        return make_backbone_spec().build(request)

    load(trained_run, device="cpu", registry=registry_with(build))
    assert requests == [False]


@pytest.mark.parametrize("config", [{"freeze": "all", "image_size": 24}, {"weights": "another-run"}])
def test_a_frozen_run_and_one_of_another_size_are_rebuilt_from_their_records(trained_run, tmp_path, predictor, config):
    """A run that started from another run has its image size, which its own configuration does not name."""
    preprocessing = resolve_preprocess(
        FinetuneConfig(backbone="small", data="colours", image_size=24), trained_run.preprocess
    )
    values = {**trained_run.record.config, **config}
    record = dataclasses.replace(trained_run.record, config=values, preprocess=preprocessing, familiarity=None)
    write_record(tmp_path, record)
    save_weights(tmp_path, predictor.classifier)
    sizes = []

    def build(request):
        sizes.append(request.image_size)
        return make_backbone_spec().build(request)

    assert load(tmp_path, device="cpu", registry=registry_with(build)).preprocess == preprocessing
    assert sizes == [(24, 24)]


def test_a_record_that_lacks_a_value_is_an_error(trained_run, registry, tmp_path):
    record = json.loads((trained_run.path / "run.json").read_text())
    (tmp_path / "model.safetensors").write_bytes(trained_run.weights_path.read_bytes())
    for key in ("config", "classes", "preprocess", "backbone", "head"):
        write_json_record(tmp_path, {name: value for name, value in record.items() if name != key})
        with pytest.raises(RunError, match=f"no '{key}'"):
            load(open_run(tmp_path), device="cpu", registry=registry)


@pytest.fixture
def chosen(monkeypatch):
    """Replaces the choice of the engine; returns the arguments of each call."""

    def replace(name, reason="a test"):
        calls = []

        def choose_engine(network, **arguments):
            calls.append(arguments)
            if name == "onnxruntime":
                run_predictor_choice(network, **{**arguments, "name": name})
            return Engine(name=name, reason=reason, run=network)

        monkeypatch.setattr(run_predictor, "choose_engine", choose_engine)
        return calls

    run_predictor_choice = run_predictor.choose_engine
    return replace


def test_torch_is_the_default_engine(trained_run, registry, home):
    load(trained_run, device="cpu", registry=registry, engine="onnxruntime")
    assert isinstance(load(trained_run, device="cpu", registry=registry), Predictor)


def test_the_number_of_photos_decides_on_the_engine(trained_run, registry, home, chosen):
    calls = chosen("torch")
    predictor = load(trained_run, device="cpu", registry=registry, engine="auto", images=3)
    assert isinstance(predictor, Predictor)
    assert predictor.notes == ()
    load(trained_run, device="cpu", registry=registry, engine="auto")
    assert [call["images"] for call in calls] == [3, 10_000]
    assert calls[0]["name"] == "auto"
    assert calls[0]["image_size"] == trained_run.preprocess.size
    assert calls[0]["key"] == "fake/small with fake/flat, prediction, 16 x 16"
    assert not (home / "graphs").exists()


def test_a_graph_is_exported_once_and_then_used_for_any_number_of_photos(trained_run, registry, home, chosen):
    calls = chosen("onnxruntime")
    for images in (1000, 1):
        predictor = load(trained_run, device="cpu", registry=registry, engine="auto", images=images)
        assert isinstance(predictor, SessionPredictor)
    assert len(calls) == 1


def test_a_run_whose_graph_was_cached_opens_in_onnx_runtime_with_the_same_predictions(
    trained_run, registry, home, predictor, chosen
):
    calls = chosen("torch")
    cache_graph(trained_run, rebuild_model(trained_run, registry).classifier.train(), registry=registry)
    cached = load(trained_run, device="cpu", registry=registry, engine="auto")
    assert isinstance(cached, SessionPredictor)
    assert not calls
    batch = [preprocess(make_photo(label, 3), trained_run.preprocess) for label in range(3)]
    for ours, theirs in zip(cached.explained(batch), predictor.explained(batch), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_no_graph_is_cached_of_a_run_that_onnx_runtime_cannot_run_or_that_is_too_large(
    trained_run, registry, home, predictor, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr(run_predictor, "MAX_BYTES", trained_run.weights_path.stat().st_size - 1)
        cache_graph(trained_run, predictor.classifier, registry=registry)
    monkeypatch.setattr(torch.onnx, "export", lambda *_, **__: 1 / 0)
    cache_graph(trained_run, predictor.classifier, registry=registry)
    assert not (home / "graphs").exists()


def test_where_onnx_runtime_fails_torch_is_used_with_a_note(trained_run, registry, home, chosen):
    chosen("torch", reason="ONNX Runtime does not run this network: no such operator.")
    predictor = load(trained_run, device="cpu", registry=registry, engine="auto")
    assert isinstance(predictor, Predictor)
    assert predictor.notes == (
        "ONNX Runtime does not run this network: no such operator. It runs in torch, which may be slower.",
    )


def test_only_torch_computes_in_other_precisions(trained_run, registry, home):
    load(trained_run, device="cpu", registry=registry, engine="onnxruntime")
    predictor = load(trained_run, device="cpu", precision="bf16", registry=registry, engine="auto")
    assert isinstance(predictor, Predictor)


def test_an_unknown_engine_is_an_error(trained_run, registry):
    with pytest.raises(ConfigError, match="There is no engine 'openvino'") as caught:
        load(trained_run, registry=registry, engine="openvino")
    assert caught.value.hint == "The engines are torch, onnxruntime, auto."
