"""Runs whose weights or whose network are not finite: no photo gets a class."""

import numpy as np
import pytest
import safetensors.torch
import torch
from fakes import FakePlugin, SmallBackbone, SmallHead, encode_png, make_backbone_spec, make_photo, make_registry
from training_runs import FAST

import zoo
from zoo.errors import PredictionError, RunError
from zoo.inference.evaluate import evaluate
from zoo.inference.predictor import PhotoPredictor
from zoo.inference.run_predictor import load
from zoo.plugins.contracts import Features
from zoo.plugins.specs import Sample
from zoo.training.finetune import finetune

BLACK = encode_png(np.zeros((20, 20, 3), np.uint8))


class Standardising(SmallBackbone):
    """Divides by the standard deviation of each image, which is zero for a plain one."""

    def forward(self, images):
        features = super().forward(images)
        spread = (images - images.amin(dim=(1, 2, 3), keepdim=True)).mean(dim=(1, 2, 3))
        return Features(features.pooled * (spread / spread)[:, None], features.map)


class HugeHead(SmallHead):
    """Overflows for bright images."""

    def forward(self, features):
        return torch.where(features.pooled.sum(1, keepdim=True) > self.limit, torch.inf, super().forward(features))

    limit = torch.inf


@pytest.fixture(scope="module")
def registry():
    backbone = make_backbone_spec(build=lambda request: Standardising())
    return make_registry(FakePlugin(backbones=[backbone], heads=[zoo.HeadSpec(name="flat", build=HugeHead)]))


@pytest.fixture(scope="module")
def run(tmp_path_factory, registry):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_HOME", str(tmp_path_factory.mktemp("home")))
        values = {**FAST, "epochs": 1, "loss": "bce"}
        return finetune("small", runs=tmp_path_factory.mktemp("runs"), registry=registry, pictures=False, **values)


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))


@pytest.fixture(params=["torch", "onnxruntime"])
def predictor(request, run, registry):
    return load(run, device="cpu", registry=registry, engine=request.param)


def test_a_photo_for_which_the_network_returns_nan_gets_no_class(predictor):
    assert predictor.predict(make_photo(0, 0)).label
    for predict in (predictor.predict, predictor.explain):
        with pytest.raises(PredictionError, match=r"returns NaN or infinity"):
            predict(BLACK)
    black = np.zeros((*predictor.preprocess.size, 3), np.uint8)
    with pytest.raises(PredictionError, match=r"returns NaN or infinity"):
        predictor.probabilities([black, black])


def test_the_other_photos_of_the_batch_get_theirs(predictor, tmp_path):
    for number in range(5):
        (tmp_path / f"{number}.png").write_bytes(BLACK if number == 3 else encode_png(make_photo(0, number)))
    outcomes = list(predictor.predict_files(sorted(tmp_path.glob("*.png"))))
    (error,) = (outcome for outcome in outcomes if isinstance(outcome, PredictionError))
    assert outcomes.index(error) == 3
    assert error.message.startswith(f"{tmp_path / '3.png'}: {predictor.name} returns NaN or infinity")


def test_torch_names_the_module_in_which_it_begins(run, registry):
    with pytest.raises(PredictionError) as caught:
        load(run, device="cpu", registry=registry).predict(BLACK)
    assert caught.value.message == f"photo: {run.name} returns NaN or infinity, first in the input of head."
    assert "All weights are finite" in caught.value.hint


def test_a_probability_of_one_that_comes_from_an_infinite_logit_is_no_certainty(run, registry, monkeypatch):
    predictor = load(run, device="cpu", registry=registry)
    monkeypatch.setattr(HugeHead, "limit", -torch.inf)
    with pytest.raises(PredictionError, match=r"first in the output of head\."):
        predictor.predict(make_photo(0, 0))


@pytest.mark.parametrize("engine", ["torch", "onnxruntime"])
def test_evaluation_names_the_photo(run, registry, tmp_path, engine):
    for name, content in (("a.png", encode_png(make_photo(0, 0))), ("b.png", BLACK)):
        (tmp_path / "red").mkdir(exist_ok=True)
        (tmp_path / "red" / name).write_bytes(content)
    (tmp_path / "blue").mkdir()
    (tmp_path / "blue" / "c.png").write_bytes(encode_png(make_photo(2, 0)))
    with pytest.raises(PredictionError, match=r"b\.png: .* returns NaN or infinity"):
        evaluate(run, data=str(tmp_path), device="cpu", registry=registry, engine=engine)


class BlindPredictor(PhotoPredictor):
    """Returns NaN, as a plugin may."""

    name, classes = "blind", ("hotdog", "other")
    preprocess = zoo.Preprocess(size=(8, 8), resize=8, mean=(0.5,) * 3, std=(0.5,) * 3)

    def probabilities(self, images):
        return np.full((len(images), 2), np.nan, np.float32)


def test_a_predictor_of_a_plugin_that_returns_nan_is_named(tmp_path):
    predictor = BlindPredictor()
    for predict in (predictor.predict, predictor.explain):
        with pytest.raises(PredictionError, match=r"^photo: blind returns NaN or infinity\."):
            predict(BLACK)
    (tmp_path / "a.png").write_bytes(BLACK)
    (outcome,) = predictor.predict_files([tmp_path / "a.png"])
    assert isinstance(outcome, PredictionError)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("head.linear.bias", torch.nan),
        ("backbone.body.stem.0.weight", torch.inf),
        ("backbone.body.stem.1.running_var", torch.nan),
    ],
)
def test_weights_of_a_run_that_are_not_finite_are_named_when_it_is_loaded(run, registry, name, value):
    state = safetensors.torch.load_file(run.weights_path)
    original = run.weights_path.read_bytes()
    state[name].view(-1)[0] = value
    try:
        safetensors.torch.save_file(state, run.weights_path)
        for call in (
            lambda: load(run, device="cpu", registry=registry),
            lambda: load(run, device="cpu", registry=registry, engine="auto"),
            lambda: evaluate(run, device="cpu", registry=registry),
        ):
            with pytest.raises(RunError, match=rf"model\.safetensors has weights that are not finite: {name}\."):
                call()
    finally:
        run.weights_path.write_bytes(original)


def test_a_dataset_sample_is_named_by_its_name(run, registry, plugin):
    predictor = load(run, device="cpu", registry=registry)
    from zoo.inference.evaluate import predict_samples

    with pytest.raises(PredictionError, match=r"^test/black: "):
        predict_samples(predictor, [Sample(BLACK, 0, "test/black")], split="test", observer=lambda event: None)
