"""What can be done with the run that `zoo.finetune` returns."""

import dataclasses
import pickle

import pytest
from fakes import FakePlugin, make_images, make_photo, make_registry

import zoo
import zoo_export
from zoo.errors import ConfigError, RunError, UnknownNameError
from zoo.events import Note
from zoo.inference import run_predictor
from zoo.plugins.options import option
from zoo.plugins.specs import ExportTargetSpec
from zoo.runs.record import RunRecord
from zoo.runs.run import RunFolder
from zoo_export.targets.options import OnnxOptions


@dataclasses.dataclass(frozen=True, slots=True)
class TextOptions:
    words: int = option(1, help="How many words.", minimum=1)


def export_text(request):
    request.observer(Note(text="Exporting."))
    target = request.to or request.run / "run.txt"
    target.write_text(" ".join(["word"] * request.options.words))
    return target


class Plugin(FakePlugin):
    @zoo.hookimpl
    def zoo_export_targets(self):
        return [ExportTargetSpec(name="text", export=export_text, options=TextOptions)]


@pytest.fixture
def plugin():
    return Plugin()


def test_it_predicts_evaluates_and_has_a_history(train):
    run = train()
    photo = make_photo(0, 99)
    prediction = run.predict(photo)
    assert prediction == zoo.load(run, registry=run.registry).predict(photo)
    assert run.predict([photo, photo])[1].label == prediction.label
    evaluation = run.evaluate(split="val")
    assert evaluation == zoo.evaluate(run, split="val", registry=run.registry)
    assert run.evaluate(make_images()).count == run.evaluate().count
    assert [row["epoch"] for row in run.history] == [row["epoch"] for row in run.metrics()]


def test_a_network_is_loaded_once(train, monkeypatch):
    run = train()
    loads = []
    load = run_predictor.load
    monkeypatch.setattr(run_predictor, "load", lambda *args, **more: loads.append(args) or load(*args, **more))
    for _ in range(3):
        run.predict(make_photo(0, 99))
    assert len(loads) == 1
    run.weights_path.write_bytes(run.weights_path.read_bytes())  # as after the folder was replaced
    run.predict(make_photo(0, 99))
    assert len(loads) == 2


def test_a_run_without_weights_says_so(tmp_path, train):
    run = train()
    run.weights_path.unlink()
    with pytest.raises(RunError, match=r"has no model\.safetensors"):
        run.predict(make_photo(0, 99))


def test_it_is_exported_to_a_target_of_a_plugin(train, tmp_path):
    run, events = train(), []
    assert run.export(to="text", words=2, observer=events.append).read_text() == "word word"
    assert run.export(tmp_path / "one.txt", to="text").read_text() == "word"
    assert events == [Note(text="Exporting.")]
    with pytest.raises(ConfigError, match="words"):
        run.export(to="text", words=0)
    with pytest.raises(UnknownNameError, match="no export target 'txet'") as caught:
        run.export(to="txet")
    assert "Did you mean fake/text?" in caught.value.hint


def test_it_is_exported_to_onnx(train):
    run = train()
    registry = zoo.load_registry(extra={"fake": Plugin()})
    path = dataclasses.replace(run, registry=registry).export(photos=4)
    assert path == run.path / "model.onnx"
    photo = make_photo(0, 99)
    assert zoo_export.load(path).predict(photo).label == run.predict(photo).label


def test_the_defaults_of_the_target_are_those_of_the_function():
    import inspect

    from zoo_export.targets.onnx import export_onnx

    parameters = inspect.signature(export_onnx).parameters
    for field in dataclasses.fields(OnnxOptions):
        assert parameters[field.name].default == field.default


def test_it_is_pickled_without_its_plugins(train):
    run = train()
    copied = pickle.loads(pickle.dumps(run))
    assert copied == run
    assert copied.registry is None
    assert copied.record.results == run.record.results


def test_a_notebook_shows_it(train):
    shown = train()._repr_html_()
    assert "small-flat-colours-1" in shown
    assert "95 % interval" in shown
    assert len(shown) < 6000
    assert "stopped" in RunFolder(train().path, RunRecord(status="training"))._repr_html_()
    assert len(repr(train())) < 300


def test_hostile_values_of_a_record_are_escaped(tmp_path):
    name = "<img src=x onerror=alert(1)>"
    record = RunRecord(backbone=name, classes=(name,), results={"test": {"accuracy": name}, "seconds": name})
    assert "<img" not in RunFolder(tmp_path, record)._repr_html_()


def test_predictions_and_figures_are_shown(train):
    run = train()
    photo = make_photo(0, 99)
    assert run.predict(photo).label in run.predict(photo)._repr_html_()
    assert run.predict([photo, photo])._repr_html_().count("<tr") == 3
    assert "accuracy</b>" in run.evaluate()._repr_html_()


def test_a_comparison_is_shown(tmp_path):
    registry = make_registry(FakePlugin())
    values = {"data": "colours", "grid": {"epochs": [1, 2]}, "common": {"head": "flat", "weights": "none"}}
    shown = zoo.compare("small", **values, runs=tmp_path, registry=registry)._repr_html_()
    assert "epochs=2" in shown
    assert "comparison.png" in shown
