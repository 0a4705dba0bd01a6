"""Training and deciding between two classes whose mistakes do not cost the same."""

import csv
import json
import shutil

import numpy as np
import pytest
from fakes import make_images, make_samples
from training_runs import EventRecorder, latest_run

from zoo.config import make_config
from zoo.config.costs import parse_costs
from zoo.errors import ConfigError, RunError
from zoo.inference.evaluate import evaluate
from zoo.inference.paired import evaluate_paired
from zoo.inference.run_predictor import load
from zoo.metrics.classification import evaluate_predictions
from zoo.metrics.costs import CostDecision, decide_classes
from zoo.runs.open import open_run
from zoo_export.targets.onnx import export_onnx
from zoo_export.targets.pt2 import export_pt2

COSTS = {"cost": "miss=7,false-alarm=1", "positive": "green"}
DECISION = CostDecision(positive="b", threshold=0.25, miss=3, false_alarm=1)


@pytest.fixture
def two_classes(plugin):
    splits = {
        split: make_samples(split, count, classes=2) for split, count in (("train", 12), ("val", 4), ("test", 12))
    }
    plugin.dataset = make_images(classes=("red", "green"), **splits)
    return plugin.dataset


@pytest.mark.parametrize("text", ["miss=5,false-alarm=1", "false-alarm=0.2  miss=1", "miss=10,  false-alarm=2"])
def test_only_the_ratio_of_costs_decides(text):
    assert parse_costs(text, owner="finetune").threshold == pytest.approx(1 / 6)


@pytest.mark.parametrize("text", ["5", "miss=5", "miss=5,false-alarm=0", "miss=5,miss=1", "miss=inf,false-alarm=1", ""])
def test_costs_that_are_incomplete_or_not_positive_are_refused(text):
    with pytest.raises(ConfigError, match="option 'cost' is") as caught:
        parse_costs(text, owner="finetune")
    assert "--cost miss=5,false-alarm=1" in caught.value.hint


def test_a_class_is_decided_from_its_threshold_whatever_its_place():
    p = np.array([[0.8, 0.2], [0.75, 0.25], [0.4, 0.6]], dtype=np.float32)
    assert decide_classes(p, ("a", "b"), DECISION).tolist() == [0, 1, 1]
    assert decide_classes(p[:, ::-1], ("b", "a"), DECISION).tolist() == [1, 0, 0]
    assert decide_classes(p, ("a", "b"), None).tolist() == [0, 0, 1]


def test_an_evaluation_counts_decisions_and_what_mistakes_cost():
    p = np.array([[0.8, 0.2], [0.7, 0.3], [0.7, 0.3], [0.4, 0.6]], dtype=np.float32)
    evaluation = evaluate_predictions(p, [0, 0, 1, 0], ("a", "b"), DECISION)
    assert evaluation.confusion.tolist() == [[1, 2], [0, 1]]
    assert (evaluation.accuracy, evaluation.mean_cost) == (0.5, 2 / 4)
    assert evaluation.plain_cost == (1 + 3) / 4
    plain = evaluate_predictions(p, [0, 0, 1, 0], ("a", "b"))
    assert plain.calibration_error == evaluation.calibration_error
    assert (plain.mean_cost, plain.decision) == (None, None)
    assert json.loads(json.dumps(evaluation.to_dict()))["decision"]["positive"] == "b"


def test_a_run_decides_by_costs_wherever_it_is_used(train, registry, two_classes, tmp_path):
    observer = EventRecorder()
    run = train(**COSTS, lr=0.01, observer=observer)
    assert "Photos are decided to be 'green' from a probability of 0.125 (miss=7, false-alarm=1)." in observer.notes
    assert open_run(run.path).decision == run.record.decision
    predictor = load(run, device="cpu", registry=registry)
    predictions = predictor.predict([sample.source for sample in two_classes.test])
    wanted = ["green" if each.probabilities["green"] >= 0.125 else "red" for each in predictions]
    assert [each.label for each in predictions] == wanted
    assert all(next(iter(each.probabilities)) == each.label for each in predictions)
    assert all(each.probability == each.probabilities[each.label] for each in predictions)
    assert any(each.probability < 0.5 for each in predictions), "else the costs decide nothing here"
    evaluation = evaluate(run, device="cpu", registry=registry)
    right = [label == two_classes.classes[s.label] for label, s in zip(wanted, two_classes.test, strict=True)]
    assert evaluation.accuracy == pytest.approx(np.mean(right)) == run.results["test"]["accuracy"]
    assert evaluation.mean_cost == run.results["test"]["mean_cost"]

    exported = export_onnx(run, tmp_path / "m.onnx", device="cpu", registry=registry)
    assert exported.card.decision == run.decision
    from zoo_export.runtime.predictor import load as load_exported

    file = load_exported(tmp_path / "m.onnx", device="cpu")
    assert [each.label for each in file.predict([sample.source for sample in two_classes.test])] == wanted
    assert "decisions" in [each.name for each in file.session.runtime.get_outputs()]
    copy = open_run(shutil.copytree(run.path, tmp_path / "copy"))
    paired = evaluate_paired([run, copy], device="cpu", registry=registry)
    assert [each.mean_cost for each in paired.evaluations.values()] == [evaluation.mean_cost] * 2
    archive = export_pt2(run, tmp_path / "m.pt2", photos=3, registry=registry)
    assert archive.card.verified, "which compares the decisions of the archive, too"


def test_out_of_fold_predictions_are_decisions(train, two_classes, runs):
    train(**COSTS, epochs=1, fold="1/3")
    rows = list(csv.DictReader((latest_run(runs).path / "predictions.csv").read_text("utf-8").splitlines()))
    assert rows
    assert all((row["predicted"] == "green") == (float(row["green"]) >= 0.125) for row in rows)


def test_costs_need_two_classes_and_the_name_of_one(train, plugin):
    for values, message in (
        ({"cost": COSTS["cost"]}, "but there is no 'positive'"),
        ({"positive": "red"}, "but there is no 'cost'"),
    ):
        with pytest.raises(ConfigError, match=message):
            make_config("small", data="colours", **values)
    with pytest.raises(ConfigError, match="option 'cost' is for two classes; 'colours' has 3 classes"):
        train(**COSTS)
    plugin.dataset = make_images(classes=("red", "green"), train=make_samples("train", 4, classes=2), val=(), test=())
    with pytest.raises(ConfigError, match="has no class of this name") as caught:
        train(**{**COSTS, "positive": "gren"})
    assert "green" in caught.value.hint


@pytest.mark.parametrize("change", [{"positive": "blue"}, {"threshold": 1.0}, {"miss": "5"}, {"false_alarm": None}])
def test_a_record_with_a_decision_that_does_not_fit_is_refused(train, two_classes, change):
    run = train(**COSTS, epochs=1)
    values = json.loads((run.path / "run.json").read_text("utf-8"))
    values["decision"] |= change
    (run.path / "run.json").write_text(json.dumps(values), "utf-8")
    with pytest.raises(RunError, match="unreadable 'decision'"):
        open_run(run.path)
