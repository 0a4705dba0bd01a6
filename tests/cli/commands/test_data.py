import dataclasses
import json

import numpy as np
import pytest
from scenes import encode, make_scene

import zoo.training.suspects.find
from zoo.data.sources.exclusions import read_exclusions
from zoo.metrics.label_errors import judge_labels
from zoo.plugins.specs import Sample
from zoo.training.suspects.result import Suspects


@pytest.fixture
def photos(tmp_path):
    """A folder with a leak and a broken file, among photos that are fine."""
    files = {
        f"{split}/{label}/{number}.jpg": encode(make_scene(1_000 * (place + 1) + 100 * side + number))
        for place, (split, count) in enumerate((("train", 14), ("val", 10), ("test", 10)))
        for side, label in enumerate(("cat", "dog"))
        for number in range(count)
    }
    files["train/cat/leak.jpg"] = files["test/cat/3.jpg"]
    files["train/dog/broken.jpg"] = b"\xff\xd8\xff"
    for name, content in files.items():
        file = tmp_path / "photos" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return tmp_path / "photos"


def test_problems_are_listed_and_fail(run_zoo, photos):
    code, out, err = run_zoo("data", "check", "photos")
    assert (code, err) == (1, "")
    lines = out.splitlines()
    assert lines[0].startswith("photos: 70 photos, ")
    assert lines[2:5] == ["class  train  val  test", "cat       15   10    10", "dog       15   10    10"]
    assert lines[6] == (
        "problem  test in train   1 of 20 test photos is also in train (identical). "
        "The test accuracy of a model trained on them is too high."
    )
    assert lines[8] == "                         test/cat/3.jpg = train/cat/leak.jpg"
    assert "2 problems, no warnings, no notes" in lines
    assert "problem  unreadable      1 photo cannot be read." in lines


def test_quiet_prints_only_findings_and_paths(run_zoo, photos):
    code, out, err = run_zoo("data", "check", "photos", "--fix", "-q")
    assert (code, err) == (1, "")
    lines = out.splitlines()
    assert {line.split()[0] for line in lines if not line.startswith(" ")} == {"problem", "exclude:"}
    assert lines[-1] == "exclude: photos-exclude.csv"


def test_a_clean_dataset_passes(run_zoo, photos):
    (photos / "train/cat/leak.jpg").unlink()
    (photos / "train/dog/broken.jpg").unlink()
    code, out, _ = run_zoo("data", "check", "photos")
    assert code == 0
    assert out.endswith("\n\nno problems, no warnings, no notes\n")


def test_json_has_everything(run_zoo, photos):
    code, out, _ = run_zoo("data", "check", "photos", "--json", "--html", "page.html")
    report = json.loads(out)
    assert code == 1
    assert report["worst"] == "problem"
    assert report["counts"]["train"] == {"cat": 15, "dog": 15}
    leak, broken = report["findings"]
    assert (leak["kind"], leak["level"], leak["count"]) == ("leak", "problem", 1)
    assert leak["pairs"] == [
        {
            "original": {"name": "test/cat/3.jpg", "split": "test", "class": "cat", "labels": ["cat"]},
            "duplicate": {"name": "train/cat/leak.jpg", "split": "train", "class": "cat", "labels": ["cat"]},
            "distance": None,
            "turned": False,
        }
    ]
    assert broken["photos"][0]["name"] == "train/dog/broken.jpg"
    assert report["written"] == {"html": "page.html"}


def test_the_list_is_named_after_the_data_and_can_be_used(run_zoo, photos, tmp_path):
    code, out, _ = run_zoo("data", "check", "photos", "--fix")
    assert code == 1
    assert "exclude: photos-exclude.csv\n" in out
    assert out.endswith("To leave these photos out: 'zoo finetune ... --exclude photos-exclude.csv'.\n")
    assert set(read_exclusions(tmp_path / "photos-exclude.csv")) == {"train/cat/leak.jpg", "train/dog/broken.jpg"}
    code, out, _ = run_zoo("data", "check", "photos", "--exclude", "photos-exclude.csv")
    assert code == 0
    assert "2 excluded" in out


def test_a_clean_copy_passes(run_zoo, photos):
    assert run_zoo("data", "check", "photos", "--fix-into", "clean").code == 1
    assert run_zoo("data", "check", "clean").code == 0


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--fix-list", "photos/train/cat/0.jpg"), "is not an exclusion list"),
        (("--html", "photos/train/cat/0.jpg"), "is not a report of zoo data check"),
        (("--fix-into", "photos/clean"), "lies inside the data"),
        (("--fix-into", "photos"), "lies inside the data"),
        (("--exclude", "nosuch.csv"), "nosuch.csv cannot be read"),
        (("--seed", "x"), "option 'seed'"),
    ],
)
def test_originals_are_never_overwritten(run_zoo, photos, args, message):
    before = (photos / "train/cat/0.jpg").read_bytes()
    code, _, err = run_zoo("data", "check", "photos", *args)
    assert code == 1
    assert message in err
    assert (photos / "train/cat/0.jpg").read_bytes() == before
    assert sorted(path.name for path in photos.iterdir()) == ["test", "train", "val"]


def test_the_report_is_printed_even_if_its_list_cannot_be_written(run_zoo, photos, tmp_path):
    (tmp_path / "photos-exclude.csv").write_text("mine")
    code, out, err = run_zoo("data", "check", "photos", "--fix")
    assert code == 1
    assert "2 problems" in out
    assert "photos-exclude.csv already exists" in err
    assert (tmp_path / "photos-exclude.csv").read_text() == "mine"


def test_wrong_usage(run_zoo, tmp_path):
    assert run_zoo("data", "check").code == 2
    assert run_zoo("data", "check", "x", "--near", "99").code == 2
    code, _, err = run_zoo("data", "check", "nosuch")
    assert code == 1
    assert "nosuch" in err
    (tmp_path / "empty").mkdir()
    code, _, err = run_zoo("data", "check", "./empty")
    assert code == 1
    assert "no class folders" in err


def test_photos_with_several_labels_are_counted_by_label(run_zoo, tmp_path):
    rows = ["path,animals"]
    for number in range(12):
        (tmp_path / f"{number}.jpg").write_bytes(encode(make_scene(number)))
        rows.append(f"{number}.jpg,{'fish ' * (number % 2)}{'ray' * (number % 3 == 0)}")
    (tmp_path / "reef.csv").write_text("\n".join(rows))
    options = ("--data-option", "labels=animals", "--data-option", "separator=space")
    code, out, _ = run_zoo("data", "check", "reef.csv", *options, "--html", "reef.html", "--fix-into", "clean")
    assert code == 0
    counts = out[out.index("label ") :].splitlines()[:4]
    assert counts == [
        "label     train  val  test",
        "fish          4    1     1",
        "ray           2    1     1",
        "no label      2    1     1",
    ]
    assert "labels together" in out
    assert "<th>label</th>" in (tmp_path / "reef.html").read_text()
    code, again, _ = run_zoo("data", "check", "clean/labels.csv")
    assert (code, "fish          4    1     1" in again) == (0, True)


def test_corrected_labels_are_checked_and_counted(run_zoo, photos, tmp_path):
    (tmp_path / "labels.csv").write_text("train/cat/1.jpg,dog\ntrain/cat/2.jpg,cat\n")
    code, out, _ = run_zoo("data", "check", "photos", "--labels", "labels.csv")
    assert code == 1
    assert "1 label changed of 2 listed in " in out
    assert "cat       14   10    10" in out.splitlines()
    (tmp_path / "labels.csv").write_text("train/cat/1.jpg,dgo\n")
    code, _, err = run_zoo("data", "check", "photos", "--labels", "labels.csv")
    assert code == 1
    assert "line 1: there is no class 'dgo' in the data" in err
    assert "Did you mean dog?" in err


def make_suspects(count):
    samples = tuple(Sample(encode(make_scene(number)), number % 2, f"{number}.jpg") for number in range(count))
    p = np.tile([0.9, 0.1], (count, 1))
    labels = np.array([sample.label for sample in samples])
    return Suspects(
        name="photos",
        backbone="tiny",
        classes=("cat", "dog"),
        samples=samples,
        splits=("train",) * count,
        probabilities=p,
        judgement=dataclasses.replace(judge_labels(p, labels), count=count // 2),
        unjudged=3,
    )


def test_suspects_are_listed_and_written(run_zoo, photos, tmp_path, monkeypatch):
    calls = []

    def find(data, **values):
        calls.append((data, values["val_fraction"], values["groups"], values["labels"]))
        return make_suspects(60)

    monkeypatch.setattr(zoo.training.suspects.find, "find_suspects", find)
    written = ("--fix-list", "list.csv", "--fix-labels", "labels.csv")
    code, out, err = run_zoo("data", "suspects", "photos", "--val-fraction", "0.2", *written)
    assert (code, err) == (0, "")
    assert calls == [("photos", 0.2, "auto", None)]
    lines = out.splitlines()
    assert lines[0] == "photos: 30 suspects (30 of 60 in train)"
    assert lines[1].startswith("3 photos cannot be judged")
    assert " 1  train  1.jpg   looks like cat (0.90); labelled dog (0.10)" in lines
    assert "and 10 more: --sheet shows, --fix-list and --json list them." in lines
    assert lines[-2:] == [
        "To leave these photos out: 'zoo finetune ... --exclude list.csv'.",
        "To correct these labels: 'zoo finetune ... --labels labels.csv'.",
    ]
    assert len(read_exclusions(tmp_path / "list.csv")) == 30
    plain = json.loads(run_zoo("data", "suspects", "photos", "--json").out)
    assert (plain["photos"], len(plain["suspects"]), plain["unjudged"]) == (60, 30, 3)


def test_suspects_overwrite_no_other_file(run_zoo, photos, tmp_path):
    (tmp_path / "labels.csv").write_text("mine")
    code, _, err = run_zoo("data", "suspects", "photos", "--fix-labels", "labels.csv")
    assert code == 1
    assert "labels.csv already exists and has no corrections" in err
    assert (tmp_path / "labels.csv").read_text() == "mine"
