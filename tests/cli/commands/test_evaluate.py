import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

import zoo.inference.evaluate
import zoo.inference.paired
from zoo.events import Note
from zoo.inference.paired import PairedEvaluation
from zoo.metrics.classification import evaluate_predictions
from zoo.metrics.costs import CostDecision
from zoo.metrics.multi_label import evaluate_labels
from zoo.metrics.paired import compare_predictions
from zoo.metrics.paired_labels import compare_label_predictions
from zoo.metrics.slices import Slice
from zoo.plugins.specs import MetricValue


@pytest.fixture
def calls(make_run, monkeypatch):
    make_run()
    made = []

    def evaluate(run, *, data, split, device, observer, engine, metrics, metric_options):
        assert engine == "auto"
        made.append((run.name, data, split, device))
        observer(Note(text="Mind the gap."))
        p = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]])
        evaluation = evaluate_predictions(p, np.array([0, 1, 1, 1]), ("cat", "dog"))
        values = {name: MetricValue(value=0.75, interval=(0.5, 1.0)) for name in metrics}
        values |= {name: MetricValue(value=float("nan")) for name in metric_options}
        return dataclasses.replace(evaluation, metrics=values)

    monkeypatch.setattr(zoo.inference.evaluate, "evaluate", evaluate)
    return made


def test_metrics_classes_and_confusion_matrix(run_zoo, calls):
    code, out, err = run_zoo("evaluate", "tiny-linear-dogs-1")
    assert (code, err) == (0, "")
    assert calls == [("tiny-linear-dogs-1", None, "test", "auto")]
    assert out.startswith("note: Mind the gap.\n")
    assert run_zoo("evaluate", "tiny-linear-dogs-1", "-q").out == out.removeprefix("note: Mind the gap.\n")
    lines = out.splitlines()[1:]
    assert lines[0].startswith("accuracy  75.0 % ± ")
    assert lines[0].endswith("(4 photos)")
    assert lines[1].startswith("balanced accuracy  83.3 % ± ")
    assert not any(line.startswith("top-5") for line in lines)
    assert "class  precision   recall      F1  photos" in lines
    assert "cat       50.0 %  100.0 %  66.7 %       1" in lines
    assert [line.split() for line in lines[-3:]] == [["cat", "dog"], ["cat", "1", "0"], ["dog", "1", "2"]]


def test_several_models_are_compared(run_zoo, make_run, monkeypatch):
    make_run()
    make_run("tiny-linear-dogs-2")
    labels, right = np.array([0, 1] * 50), np.eye(2)[[0, 1] * 50]
    wrong = np.eye(2)[[1, 1] * 10 + [0, 1] * 40]

    def evaluate_paired(models, **_):
        names = [each.name for each in models]
        evaluations = {
            name: evaluate_predictions(p, labels, ("cat", "dog")) for name, p in zip(names, (wrong, right), strict=True)
        }
        difference = compare_predictions(*names, (wrong.argmax(1), right.argmax(1)), labels)
        return PairedEvaluation(evaluations=evaluations, differences=(difference,))

    monkeypatch.setattr(zoo.inference.paired, "evaluate_paired", evaluate_paired)
    both = ("evaluate", "tiny-linear-dogs-1", "tiny-linear-dogs-2")
    code, out, _ = run_zoo(*both)
    lines = out.splitlines()
    assert code == 0
    assert lines[0].split() == ["model", "accuracy", "macro", "F1", "calibration", "error", "loss"]
    assert lines[1].startswith("tiny-linear-dogs-1  90.0 % ± ")
    assert lines[-1].startswith("tiny-linear-dogs-2 is better than tiny-linear-dogs-1 by 10.0 points (")
    assert [each["name"] for each in json.loads(run_zoo(*both, "--json").out)["models"]] == [*both[1:]]


def test_several_models_of_several_labels_are_compared(run_zoo, make_run, monkeypatch):
    make_run()
    make_run("tiny-linear-dogs-2")
    targets = np.array([[0, 1], [1, 1], [1, 0], [0, 0]] * 25)
    good, poor = (np.abs(targets - share).astype(np.float32) for share in (0.1, 0.4))
    poor[::10] = 1 - poor[::10]
    cuts = (0.5, 0.5)

    def evaluate_paired(models, **_):
        first, second = (each.name for each in models)
        rows = {first: poor, second: good}
        return PairedEvaluation(
            evaluations={name: evaluate_labels(p, targets, ("cat", "dog"), cuts) for name, p in rows.items()},
            differences=(compare_label_predictions(first, second, (poor, good), (cuts, cuts), targets),),
        )

    monkeypatch.setattr(zoo.inference.paired, "evaluate_paired", evaluate_paired)
    _, out, _ = run_zoo("evaluate", "tiny-linear-dogs-1", "tiny-linear-dogs-2")
    header, first, second, _, sentence = out.splitlines()
    assert header.split("  ")[0] == "model"
    assert all(title in header for title in ("mAP", "macro F1", "micro F1", "exact match", "Hamming loss", "loss"))
    assert first.startswith("tiny-linear-dogs-1  ")
    assert "100.0 %" in second
    assert sentence.startswith("tiny-linear-dogs-2 is better than tiny-linear-dogs-1 by ")
    assert " points of mAP (" in sentence
    (difference,) = json.loads(run_zoo("evaluate", "tiny-linear-dogs-1", "tiny-linear-dogs-2", "--json").out)[
        "differences"
    ]
    assert difference["text"] == sentence


def test_a_decision_by_costs_is_shown_with_what_mistakes_cost(run_zoo, make_run, monkeypatch):
    make_run()
    decision = CostDecision(positive="cat", threshold=0.25, miss=3, false_alarm=1)
    p = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.3, 0.7]])
    evaluation = evaluate_predictions(p, np.array([0, 1, 1, 0]), ("cat", "dog"), decision)
    monkeypatch.setattr(zoo.inference.evaluate, "evaluate", lambda run, **_: evaluation)
    _, out, _ = run_zoo("evaluate", "tiny-linear-dogs-1")
    assert "cost per photo     0.250; 0.750 if the most probable class were predicted" in out
    assert "decision           'cat' from a probability of 0.250 (miss=3, false-alarm=1)" in out


def test_more_classes_than_fit_a_matrix_get_the_most_common_confusions(run_zoo, calls, monkeypatch):
    names = [f"k{index}" for index in range(13)]
    evaluation = evaluate_predictions(np.eye(13)[[1, 1, 0, 2]], np.array([0, 0, 0, 2]), names)
    monkeypatch.setattr(zoo.inference.evaluate, "evaluate", lambda *args, **kwargs: evaluation)
    lines = run_zoo("evaluate", "tiny-linear-dogs-1").out.splitlines()
    assert lines[-3:] == [
        "Most common confusions",
        "true class  predicted class  photos  of",
        "k0          k1                    2   3",
    ]


def test_chosen_metrics_are_added(run_zoo, calls):
    arguments = ("evaluate", "tiny-linear-dogs-1", "--metric", "a_b", "--metric", "c", "--metric-option", "undefined=1")
    lines = run_zoo(*arguments, "-q").out.splitlines()
    rows = [line.split() for line in lines[1:8]]
    assert ["a", "b", "0.75", "(0.5", "to", "1)"] in rows
    assert ["c", "0.75", "(0.5", "to", "1)"] in rows
    assert ["undefined", "-"] in rows
    metrics = json.loads(run_zoo(*arguments, "--json").out)["metrics"]
    assert metrics["c"] == {"value": 0.75, "interval": [0.5, 1.0]}
    assert metrics["undefined"] == {"value": None, "interval": None}


def test_other_data_and_another_split(run_zoo, calls):
    run_zoo("evaluate", "tiny-linear-dogs-1", "--data", "./new", "--split", "val", "--device", "cpu")
    assert calls == [("tiny-linear-dogs-1", "./new", "val", "cpu")]


def test_json(run_zoo, calls):
    evaluation = json.loads(run_zoo("evaluate", "tiny-linear-dogs-1", "--json").out)
    assert evaluation["accuracy"] == 0.75
    assert evaluation["per_class"][1]["name"] == "dog"
    assert evaluation["confusion"] == [[1, 0], [1, 2]]


def test_an_unknown_run_is_refused(run_zoo):
    code, _, err = run_zoo("evaluate", "nosuch")
    assert code == 1
    assert "There is no run 'nosuch'" in err


def test_a_file_is_evaluated_on_other_data(run_zoo, plugins, opener, tmp_path):
    plugins.append(opener)
    (tmp_path / "model.box").write_text("good")
    for label, count in (("cat", 1), ("dog", 3)):
        for number in range(count):
            file = tmp_path / "new" / label / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (20, 16), (number, 9, 9)).save(file)
    evaluation = json.loads(run_zoo("evaluate", "model.box", "--data", "./new", "--json").out)
    assert (evaluation["accuracy"], evaluation["confusion"]) == (0.75, [[0, 1], [0, 3]])
    code, _, err = run_zoo("evaluate", "model.box")
    assert code == 1
    assert err == "error: model.box contains no photos to evaluate on.\nPass some with --data.\n"
    (tmp_path / "new" / "dog").rename(tmp_path / "new" / "wolf")
    err = run_zoo("evaluate", "model.box", "--data", "./new").err
    assert err.startswith("error: 'new' has the class 'wolf', which model.box does not know.\nIts classes: cat, dog.")


def make_slice(**changes):
    values = {"by": "brightness", "name": "lowest", "low": 0.05, "high": 0.25, "count": 20, "accuracy": 0.5}
    others = {"interval": (0.3, 0.7), "expected": 0.9, "rest": 0.95, "p": 0.0001, "p_adjusted": 0.0016}
    return Slice(**{**values, **others, **changes})


@pytest.mark.parametrize(
    ("slices", "expected"),
    [
        ((make_slice(), make_slice(p_adjusted=0.4)), "brightness: lowest (0.05 to 0.25)      20"),
        (
            (make_slice(p=0.02, p_adjusted=0.32),),
            "None of 1 slices is worse than chance explains (the",
        ),
        ((), "There are too few photos to compare slices of them."),
    ],
)
def test_slices_that_are_worse_are_shown(run_zoo, make_run, monkeypatch, slices, expected):
    make_run()
    p = np.array([[0.9, 0.1], [0.2, 0.8]])

    def evaluate(run, *, slices: bool, **_):
        assert slices
        return dataclasses.replace(evaluate_predictions(p, np.array([0, 1]), ("cat", "dog")), slices=found)

    found = slices
    monkeypatch.setattr(zoo.inference.evaluate, "evaluate", evaluate)
    code, out, _ = run_zoo("evaluate", "tiny-linear-dogs-1", "--slices")
    assert code == 0
    assert expected in out
    assert out.count("lowest (") == (expected.startswith("brightness"))
    plain = json.loads(run_zoo("evaluate", "tiny-linear-dogs-1", "--slices", "--json").out)
    assert len(plain.get("slices", [])) == len(found)


def test_slices_are_for_one_model(run_zoo, make_run):
    make_run()
    make_run("tiny-linear-dogs-2")
    code, _, err = run_zoo("evaluate", "tiny-linear-dogs-1", "tiny-linear-dogs-2", "--slices")
    assert code == 2
    assert "--slices is for one model" in err
