import json

import numpy as np
import pytest
from fakes import CLASSES, make_images
from training_runs import FAST, EventRecorder

import zoo.inference.stress.measure as measuring
from zoo.errors import ConfigError, UnknownNameError
from zoo.inference.run_predictor import load
from zoo.inference.stress import pictures
from zoo.inference.stress.adversarial import Attacker
from zoo.inference.stress.run import stress
from zoo.training.finetune import finetune

KINDS = ("color-cast", "mirror", "fgsm", "pgd")


@pytest.fixture
def drawn(monkeypatch):
    """The folders that pictures were drawn in; drawing them takes longer than the tests."""
    folders = []
    monkeypatch.setattr(pictures, "write_pictures", lambda folder, *_, **__: folders.append(folder))
    return folders


@pytest.fixture
def test(trained_run, registry, tmp_path):
    """Calls `stress` with the trained run, or with models."""

    def call(*models, **values):
        settings = {"runs": tmp_path / "runs", "minutes": None, "kinds": KINDS, "device": "cpu", "engine": "torch"}
        return stress([*models] or trained_run, registry=registry, **{**settings, **values})

    (tmp_path / "runs").mkdir()
    return call


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(measuring, "BLOCK", 8)
    monkeypatch.setattr(measuring, "_ATTACKED", 4)


def answers_of(report):
    return {file.stem: np.load(file)["predicted"].tolist() for file in (report.folder / "answers").glob("*.npz")}


def test_a_report_has_figures_pictures_and_the_requirements_that_fail(trained_run, test):
    report = test(require=["clean=0.2", "color-cast:5=1"])
    (model,) = report.models
    assert model.clean == trained_run.results["test"]["accuracy"]
    assert (model.count, report.photos, report.complete, model.dropped) == (18, 18, True, ())
    assert {kind.name: len(kind.strengths) for kind in model.kinds} == {
        "color-cast": 5,
        "mirror": 1,
        "fgsm": 3,
        "pgd": 3,
    }
    assert {kind.name: kind.count for kind in model.kinds} == {"color-cast": 18, "mirror": 18, "fgsm": 8, "pgd": 8}
    (failure,) = report.failures
    assert failure.startswith(
        f"{trained_run.name} fails color-cast:5=1: its accuracy under color-cast of strength 5 is 0."
    )
    assert report.folder.name == f"stress-{trained_run.name}-1"
    assert json.loads((report.folder / "stress.json").read_text("utf-8")) == report.to_dict()
    assert {"curves.png", "classes.png"} <= {file.name for file in report.folder.iterdir()}


def test_a_test_that_was_stopped_goes_on_with_the_same_answers(test, drawn, small_blocks, tmp_path):
    whole = test(output=tmp_path / "whole")
    recorder = EventRecorder(condition=lambda event: getattr(event, "done", 0) >= 5 * 8)
    with pytest.raises(KeyboardInterrupt):
        test(observer=recorder)
    stopped = {name: len(rows) for name, rows in answers_of(test(minutes=1e-9)).items()}
    assert stopped == dict.fromkeys(("clean", *KINDS), 8)
    resumed = test()
    assert answers_of(resumed) == answers_of(whole)
    assert resumed.complete
    seen = EventRecorder()
    assert test(observer=seen).to_dict() == resumed.to_dict()
    assert not [event for event in seen.events if hasattr(event, "done")]  # nothing is measured twice


def test_answers_do_not_depend_on_blocks_order_or_number_of_photos(test, drawn, monkeypatch, tmp_path):
    whole = answers_of(test(output=tmp_path / "whole", kinds=["color-cast"]))
    monkeypatch.setattr(measuring, "BLOCK", 5)
    few = answers_of(test(output=tmp_path / "few", kinds=["color-cast"], photos=7))
    assert few["color-cast"] == whole["color-cast"][:7]
    assert answers_of(test(output=tmp_path / "few", kinds=["color-cast"]))["color-cast"] == whole["color-cast"]
    again = test(output=tmp_path / "few", kinds=["color-cast"], photos=7)  # fewer than were measured before
    assert (again.models[0].count, again.complete) == (7, True)
    assert answers_of(again) == whole
    assert answers_of(test(output=tmp_path / "seed", kinds=["color-cast"], seed=1))["color-cast"] != whole["color-cast"]


def test_kinds_for_which_there_is_no_time_are_named(test, drawn, small_blocks, monkeypatch):
    moments = iter([0.0, 1.0, 2.0, 1e9])
    monkeypatch.setattr(measuring.time, "monotonic", lambda: next(moments))
    report = test(minutes=1)
    (model,) = report.models
    assert ([kind.name for kind in model.kinds], model.count) == (["color-cast"], 8)
    assert model.dropped == ("mirror", "fgsm", "pgd")
    assert not report.complete


def test_models_are_compared_on_the_same_photos(trained_run, test, registry, plugin, drawn, tmp_path):
    plugin.dataset = make_images(classes=CLASSES[::-1])  # the same names in another order
    other = finetune("small", runs=tmp_path, registry=registry, pictures=False, **{**FAST, "epochs": 1, "seed": 5})
    plugin.dataset = make_images()
    report = test(trained_run, other, kinds=["color-cast"], split="test")
    first, second = report.models
    assert first.count == second.count > 0
    difference = report.differences[second.name]["mean"]
    assert difference["difference"] == pytest.approx(second.mean.accuracy - first.mean.accuracy)
    assert drawn == [report.folder]
    assert (report.folder / "comparison.json").is_file()
    assert len(list((tmp_path / "runs").iterdir())) == 2


def test_an_attack_stays_within_its_bounds_and_misleads(trained_run, registry):
    attacker = Attacker(load(trained_run, device="cpu", registry=registry))
    random = np.random.default_rng(0)
    images = list(random.integers(0, 256, (9, *trained_run.preprocess.size, 3), dtype=np.uint8))
    labels = [int(row.argmax()) for row in attacker._predictor.probabilities(images)]
    for method in ("fgsm", "pgd"):
        changed = attacker.attack(method, images, labels, 2, [np.random.default_rng(n) for n in range(9)])
        distances = [np.abs(one.astype(int) - two) for one, two in zip(images, changed, strict=True)]
        assert {one.dtype for one in changed} == {np.dtype(np.uint8)}
        assert max(distance.max() for distance in distances) == 2
        before, after = (attacker._predictor.probabilities(some) for some in (images, changed))
        places = np.arange(9), labels
        assert after[places].mean() < before[places].mean()


def test_wrong_arguments_are_errors_before_anything_is_measured(trained_run, test):
    with pytest.raises(UnknownNameError, match="no kind of change 'color-cost'") as caught:
        test(kinds=["color-cost"])
    assert "Did you mean color-cast" in caught.value.hint
    for values, message in (({"photos": 0}, "'photos' is 0"), ({"minutes": 0}, "'minutes' is 0"), ({"seed": -1}, "-1")):
        with pytest.raises(ConfigError, match=message):
            test(**values)
    with pytest.raises(ConfigError, match="names no kind of change"):
        test(kinds=["color-cast"], require=["fog=0.5"])


def test_models_of_several_labels_are_refused(trained_run, test, monkeypatch):
    monkeypatch.setattr(type(trained_run), "multi_label", True)
    monkeypatch.setattr("zoo.inference.evaluate.load_samples", lambda *_, **__: list(make_images().test))
    with pytest.raises(ConfigError, match="a stress test needs one class per photo"):
        test()
