import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import zoo.inference.stress.run
from zoo.inference.stress import pictures
from zoo.inference.stress.kinds import KINDS
from zoo.inference.stress.results import Accuracy, ClassResult, KindResult, ModelResult, summarise_scores
from zoo.inference.stress.run import StressReport


def make_accuracy(accuracy):
    return Accuracy(
        accuracy=accuracy,
        interval=(accuracy - 0.1, accuracy + 0.1),
        difference=accuracy - 0.9,
        difference_interval=(-0.9, 0.1),
    )


def make_kind(name, *accuracies, adversarial=False, count=40):
    strengths = tuple(map(make_accuracy, accuracies))
    mean = make_accuracy(float(np.mean(accuracies)))
    levels = tuple(range(len(accuracies)))
    return KindResult(
        name=name, summary="", levels=levels, count=count, strengths=strengths, mean=mean, adversarial=adversarial
    )


def make_model(name="tiny", **values):
    kinds = (
        make_kind("fog", 0.5, 0.4, 0.3, 0.2, 0.1),
        make_kind("mirror", 0.9),
        make_kind("pgd", 0.2, 0.1, 0.0, adversarial=True, count=10),
    )
    classes = (
        ClassResult(name="cat", count=20, clean=0.9, changed=0.4, by_kind={"fog": 0.2}, taken_for="dog"),
        ClassResult(name="dog", count=20, clean=0.9, changed=0.9, by_kind={"fog": 0.9}, taken_for=""),
    )
    settings = {
        "name": name,
        "count": 40,
        "clean": 0.9,
        "clean_interval": (0.8, 0.95),
        "kinds": kinds,
        "mean": summarise_scores(np.array([0.5, 0.7] * 20), np.ones(40)),
        "classes": classes,
    }
    return ModelResult(**{**settings, **values})


@pytest.fixture
def answer(make_run, monkeypatch):
    """Returns a function that decides what `stress` returns, and the list of calls."""
    make_run()
    calls = []

    def decide(*models, **values):
        settings = {
            "differences": {},
            "failures": (),
            "folder": Path("runs/stress-tiny-1"),
            "complete": True,
            "photos": 40,
        }
        report = StressReport(models=models or (make_model(),), **{**settings, **values})

        def stress(found, **arguments):
            calls.append(([each.name for each in found], arguments))
            return report

        monkeypatch.setattr(zoo.inference.stress.run, "stress", stress)
        return calls

    return decide


def test_the_worst_kind_is_first_and_attacks_come_after_the_mean(run_zoo, answer):
    answer()
    code, out, err = run_zoo("stress", "tiny-linear-dogs-1")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "tiny  accuracy  90.0 % ± 7.5  (40 photos)"
    assert lines[1].split() == ["change", "1", "2", "3", "4", "5", "mean", "to", "clean"]
    assert lines[2].split()[:12] == ["fog", "50.0", "%", "40.0", "%", "30.0", "%", "20.0", "%", "10.0", "%", "30.0"]
    assert lines[2].endswith("-60.0 (-90.0 to +10.0)")
    assert [line.split()[0] for line in lines[2:6]] == ["fog", "mirror", "mean", "pgd"]
    assert lines[6] == "Adversarial, on 10 photos, not part of the mean: fgsm, pgd."
    assert "cat    90.0 %   40.0 %  dog" in lines
    assert lines[-1] == "results  runs/stress-tiny-1"


def test_what_the_time_did_not_suffice_for_is_said(run_zoo, answer):
    answer(make_model(dropped=("jpeg", "crop")), complete=False, photos=100)
    lines = run_zoo("stress", "tiny-linear-dogs-1").out.splitlines()
    assert "Not measured, because the time did not suffice: jpeg, crop." in lines
    assert "40 of 100 photos in the time; the same command goes on." in lines


def test_options_reach_the_function(run_zoo, answer):
    calls = answer()
    run_zoo(
        "stress", "tiny-linear-dogs-1", "--minutes", "none", "--kind", "fog", "--require", "fog=0.1", "--photos", "7"
    )
    ((names, arguments),) = calls
    assert names == ["tiny-linear-dogs-1"]
    assert (arguments["minutes"], arguments["photos"]) == (None, 7)
    assert (arguments["kinds"], arguments["require"]) == (("fog",), ("fog=0.1",))
    run_zoo("stress", "tiny-linear-dogs-1", "--minutes", "2.5")
    assert calls[-1][1]["minutes"] == 2.5
    code, _, err = run_zoo("stress", "tiny-linear-dogs-1", "--minutes", "soon")
    assert code == 2
    assert "'soon' is neither a number nor none" in err


@pytest.mark.parametrize("options", [(), ("--json",), ("-q",)])
def test_a_requirement_that_fails_ends_with_1_and_is_named(run_zoo, answer, options):
    answer(failures=("tiny fails jpeg:3=0.85: its accuracy under jpeg of strength 3 is 0.5000, on 40 photos.",))
    code, out, err = run_zoo("stress", "tiny-linear-dogs-1", *options)
    assert code == 1
    assert "tiny fails jpeg:3=0.85" in err
    assert "The results are in" in err
    if options == ("--json",):
        assert json.loads(out)["failures"][0].startswith("tiny fails jpeg:3=0.85")


def test_differences_of_several_models_have_a_table(run_zoo, answer, make_run):
    make_run("tiny-linear-dogs-2")
    found = {"difference": 0.051, "interval": [0.01, 0.09], "count": 40}
    answer(make_model("one"), make_model("two"), differences={"two": {"fog": found, "mean": found}})
    lines = run_zoo("stress", "tiny-linear-dogs-1", "tiny-linear-dogs-2").out.splitlines()
    assert "two minus one, in points of accuracy" in lines
    assert ["fog", "+5.1", "+1.0", "to", "+9.0"] in [line.split() for line in lines]


def test_a_file_is_measured_on_other_data_but_not_attacked(run_zoo, plugins, opener, monkeypatch, tmp_path):
    monkeypatch.setattr(pictures, "write_pictures", lambda *_, **__: None)  # drawing them takes longer than all else
    plugins.append(opener)
    (tmp_path / "model.box").write_text("good")
    for label in ("cat", "dog"):
        for number in range(3):
            file = tmp_path / "new" / label / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (20, 16), (number, 9, 9)).save(file)
    arguments = ("stress", "model.box", "--data", "./new", "--output", "out", "--kind", "noise", "--kind", "mirror")
    code, out, err = run_zoo(*arguments, "--json")
    report = json.loads(out)
    assert (code, report["models"][0]["count"], report["complete"]) == (0, 6, True)
    assert {kind["name"] for kind in report["models"][0]["kinds"]} == {"noise", "mirror"}
    assert (tmp_path / "out" / "photos.csv").read_text("utf-8").startswith("photo,label,number\n")
    code, _, err = run_zoo(*arguments, "--kind", "pgd")
    assert code == 1
    assert "model.box cannot be attacked: an exported file has no gradients." in err


def test_the_help_names_every_kind(run_zoo):
    text = re.sub(r"-\n\s+", "-", run_zoo("stress", "--help").out)  # lines break behind hyphens, too
    words = set(re.findall(r"[\w-]+", text))
    assert words >= set(KINDS)
