import csv
import json

import numpy as np
import pytest
from fakes import FakePlugin, make_registry
from training_runs import FAST, EventRecorder, after_epoch, assert_same_results

import zoo
from zoo.cli.listing import summarize_folds
from zoo.display.observers import fold_results
from zoo.errors import ConfigError, DataError, RunError
from zoo.events import CrossValidated, Finished, Started
from zoo.metrics.intervals import wilson_interval
from zoo.metrics.multi_label import mean_average_precision
from zoo.plugins.specs import ImageSet
from zoo.runs.cross_validation import FOLDS, open_cross_validation
from zoo.training import finalize

FOLD = FAST | {"epochs": 2}


@pytest.fixture(autouse=True)
def _no_pictures_of_runs(monkeypatch):
    monkeypatch.setattr(finalize, "write_pictures", lambda folder, **kwargs: None)


@pytest.fixture
def images():
    """Photos in groups of three, and a test split."""
    made = FakePlugin().dataset
    samples = [*made.train, *made.val, *made.test]
    grouped = [sample._replace(group=f"g{number // 3}") for number, sample in enumerate(samples)]
    return ImageSet(name="grouped", classes=made.classes, train=tuple(grouped[:-6]), test=tuple(grouped[-6:]))


def validate(folder, registry, observer=None, **values):
    values = {**FOLD, "pictures": False, **values}
    return zoo.cross_validate("small", runs=folder, registry=registry, observer=observer, **values)


def names(samples):
    return {sample.name for sample in samples}


def test_every_photo_is_measured_once_by_a_run_that_did_not_see_it(tmp_path, registry, images):
    observer = EventRecorder()
    result = validate(tmp_path, registry, observer, data=images, folds=3, epochs=1, pictures=True)
    assert [run.path for run in result.runs] == [result.path / f"fold-{number}" for number in (1, 2, 3)]
    assert result.path.name == "small-flat-grouped-3fold-1"
    held_out = [set(run.photos().names["test"]) for run in result.runs]
    assert set.union(*held_out) == names(images.train)
    assert sum(map(len, held_out)) == len(images.train) == result.evaluation.count
    group_of = {sample.name: sample.group for sample in images.train}
    for run, fold in zip(result.runs, held_out, strict=True):
        photos = run.photos().names
        others = {*photos["train"], *photos["val"]}
        assert not others & names(images.test)
        assert not {group_of[name] for name in others} & {group_of[name] for name in fold}
    correct = sum(run.results["test"]["accuracy"] * run.results["test"]["count"] for run in result.runs)
    assert result.evaluation.accuracy == pytest.approx(correct / result.evaluation.count)
    low, high = wilson_interval(round(correct), result.evaluation.count)
    assert result.evaluation.interval[0] <= low < high <= result.evaluation.interval[1]
    assert len([event for event in observer.events if isinstance(event, Finished)]) == 3
    assert any("The test split of the data (6 photos) is in no fold" in note for note in observer.notes)

    record = json.loads((result.path / FOLDS).read_text())
    assert record["status"] == "finished"
    assert record["results"]["accuracy"] == result.evaluation.accuracy
    assert [fold["accuracy"] for fold in record["results"]["folds"]] == [*result.accuracies]
    assert record["results"]["groups"] == len(set(group_of.values()))
    rows = list(csv.DictReader((result.path / "predictions.csv").read_text().splitlines()))
    assert {row["photo"] for row in rows} == names(images.train)
    assert sum(row["label"] == row["predicted"] for row in rows) == round(correct)
    assert (result.path / "confusion.png").stat().st_size > 1000
    event = observer.events[-1]
    assert isinstance(event, CrossValidated)
    assert json.loads(json.dumps(event.results)) == record["results"]
    assert event.command == ""  # none can name an `ImageSet`
    assert f"{result.evaluation.count} photos" in json.dumps(result._repr_html_())


def test_the_final_model_is_trained_with_the_test_split_of_the_data(tmp_path, registry):
    observer = EventRecorder()
    result = validate(tmp_path, registry, observer, folds=2, epochs=1)
    assert observer.events[-1].command == f"zoo finetune --like {result.path / 'fold-1'} --fold none"
    assert (result.final_config.fold, result.final_config.test_fraction) == (None, 0.2)


def test_the_final_model_holds_no_photo_out_for_a_test_if_the_data_has_none(tmp_path, registry, images):
    whole = ImageSet(name="whole", classes=images.classes, train=images.train)
    result = validate(tmp_path, registry, data=whole, folds=2, epochs=1)
    final = zoo.finetune(result.final_config, runs=tmp_path / "final", registry=registry)
    counts = final.record.data.counts
    assert counts["test"] == 0
    assert counts["train"] + counts["val"] == len(images.train)


def test_a_stopped_cross_validation_continues_in_the_middle_of_a_fold(tmp_path, registry):
    whole = validate(tmp_path / "whole", registry, folds=2)

    seen = []

    def is_second_epoch_of_the_second_fold(event):
        seen.extend([event] if isinstance(event, Started) else [])
        return len(seen) == 2 and after_epoch(1)(event)

    observer = EventRecorder(is_second_epoch_of_the_second_fold)
    with pytest.raises(KeyboardInterrupt):
        validate(tmp_path / "stopped", registry, observer, folds=2)
    (folder,) = (tmp_path / "stopped").iterdir()
    assert any(f"'zoo finetune --resume {folder}' resumes it after epoch 1" in note for note in observer.notes)
    found = open_cross_validation(folder.name, runs=tmp_path / "stopped")
    assert found.status == "stopped"
    assert [run.status for run in found.runs()] == ["finished", "interrupted"]
    first = (folder / "fold-1/run.json").stat().st_mtime_ns

    observer = EventRecorder()
    resumed = zoo.resume_cross_validation(folder, registry=registry, observer=observer)
    assert (folder / "fold-1/run.json").stat().st_mtime_ns == first
    assert "Fold 2 of 2 is resumed." in observer.notes
    for run, other in zip(resumed.runs, whole.runs, strict=True):
        assert_same_results(run, other)
    assert resumed.evaluation == whole.evaluation
    assert (folder / "predictions.csv").read_bytes() == (whole.path / "predictions.csv").read_bytes()
    with pytest.raises(RunError, match="is finished"):
        zoo.resume_cross_validation(folder, registry=registry)


def test_a_cross_validation_whose_data_has_changed_is_not_resumed(tmp_path, images):
    plugin = FakePlugin(dataset=images)
    registry = make_registry(plugin)
    stopped = EventRecorder(lambda event: isinstance(event, Finished))
    with pytest.raises(KeyboardInterrupt):
        validate(tmp_path, registry, stopped, folds=2, epochs=1)
    (folder,) = tmp_path.iterdir()
    plugin.dataset = ImageSet(name="grouped", classes=images.classes, train=images.train[3:], test=images.test)
    with pytest.raises(RunError, match="fold-1 are not those of fold 1 now"):
        zoo.resume_cross_validation(folder, registry=registry)


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"folds": 1}, ConfigError, "argument 'folds' is 1"),
        ({"folds": 3, "fold": "1/3"}, ConfigError, "holds out the fold 1/3"),
        ({"folds": 3, "devices": 2}, ConfigError, "runs in a single process"),
        ({"folds": 30}, DataError, "has 20 groups: too few for 30 folds"),
    ],
)
def test_what_cannot_be_cross_validated_is_an_error_and_leaves_no_folder(
    tmp_path, registry, images, values, error, message
):
    with pytest.raises(error, match=message):
        validate(tmp_path, registry, data=images, **values)
    assert list(tmp_path.iterdir()) == []


def test_photos_with_several_labels_are_decided_at_the_thresholds_of_their_fold(tmp_path, registry, images):
    """Photos have the label that is their class, some a second one, and some none; they are in groups of three."""
    labels = [
        ((), (each.label,), (each.label, 2) if each.label < 2 else (1, 2))[n % 3] for n, each in enumerate(images.train)
    ]
    train = tuple(each._replace(label=own) for each, own in zip(images.train, labels, strict=True))
    several = ImageSet(name="several", classes=images.classes, train=train, multi_label=True)
    observer = EventRecorder()
    result = validate(tmp_path, registry, observer, data=several, folds=3, epochs=1, pictures=True)
    rows = {row["photo"]: row for row in csv.DictReader((result.path / "predictions.csv").read_text().splitlines())}
    assert rows.keys() == names(train)
    p = np.array([[float(rows[each.name][label]) for label in images.classes] for each in train])
    decided = []
    for each in train:
        row = rows[each.name]
        assert row["labels"] == "|".join(images.classes[label] for label in each.label)
        cuts = result.runs[int(row["fold"]) - 1].thresholds
        expected = [name for name, cut in zip(images.classes, cuts, strict=True) if np.float32(row[name]) >= cut]
        assert row["predicted"] == "|".join(expected)
        decided.append([name in expected for name in images.classes])
    targets = np.array([[label in each.label for label in range(3)] for each in train])
    evaluation = result.evaluation
    assert evaluation.exact_match == pytest.approx((np.array(decided) == targets).all(axis=1).mean())
    assert evaluation.mean_ap == pytest.approx(mean_average_precision(p.astype(np.float32), targets))
    assert evaluation.thresholds == pytest.approx(np.mean([run.thresholds for run in result.runs], axis=0))
    assert (result.path / "precision_recall.png").stat().st_size > 1000
    event = observer.events[-1]
    shown = dict(fold_results(event))
    assert shown["mAP"].endswith(f"({len(train)} photos in {event.results['groups']} groups, 3 folds)")
    assert "exact match" in json.dumps(result._repr_html_())
    assert summarize_folds(open_cross_validation(result.path)).mean_ap == evaluation.mean_ap


def test_a_single_fold_may_be_trained_by_itself(tmp_path, registry, images):
    run = zoo.finetune(
        "small", runs=tmp_path, registry=registry, **{**FOLD, "data": images, "fold": "2/3", "epochs": 1}
    )
    assert run.config["fold"] == "2/3"
    evaluation = zoo.evaluate(run, data=images, registry=registry)
    assert evaluation.accuracy == pytest.approx(run.results["test"]["accuracy"])
    assert len((run.path / "predictions.csv").read_text().splitlines()) == 1 + run.results["test"]["count"]


@pytest.mark.parametrize("fold", ["0/5", "6/5", "1/1", "1", "a/b", "1/5/5"])
def test_a_fold_that_does_not_exist_is_an_error(fold):
    with pytest.raises(ConfigError, match="option 'fold'"):
        zoo.make_config("small", data="colours", fold=fold)
