import contextlib
import dataclasses

import pytest
from fakes import CLASSES, FakePlugin, encode_png, make_images, make_photo, make_registry, make_samples
from run_files import write_json_record

from zoo.errors import DataError, RunError
from zoo.events import Note, Work
from zoo.inference.evaluate import evaluate
from zoo.plugins.specs import Sample
from zoo.runs.open import open_run
from zoo.runs.run import Run
from zoo.training.finetune import finetune


@pytest.fixture
def made(tmp_path):
    """A trained run, its registry and its plugin, whose dataset a test may change."""
    plugin = FakePlugin()
    registry = make_registry(plugin)
    values = {"head": "flat", "epochs": 2, "batch_size": 8, "lr": 0.003, "device": "cpu", "precision": "fp32"}
    return finetune("small", data="colours", runs=tmp_path, registry=registry, **values), registry, plugin


def score(run, registry, **values):
    return evaluate(run, device="cpu", registry=registry, **values)


def write_folder(folder, of, classes=CLASSES):
    for sample in of:
        file = folder / classes[sample.label] / sample.name.replace("/", "-")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(sample.source)
    return str(folder)


def test_the_runs_own_parts_are_scored_as_they_were(made):
    run, registry, _ = made
    test, val = score(run, registry), score(run, registry, part="val")
    assert test.accuracy == run.results["test"]["accuracy"]
    assert val.accuracy == run.results["val"]["accuracy"]
    assert (test.count, val.count) == (18, 12)
    assert score(run, registry, part="train").count == 36
    assert test.classes == CLASSES


def test_photos_that_came_since_are_told(made):
    run, registry, plugin = made
    notes = []
    score(run, registry, observer=lambda event: notes.append(event.text) if isinstance(event, Note) else None)
    assert notes == []
    plugin.dataset = make_images(test=make_images().test[1:])
    score(run, registry, observer=lambda event: notes.append(event.text) if isinstance(event, Note) else None)
    assert notes == [f"The test photos are no longer those that {run.name} was made with."]


def test_the_folder_that_a_record_names_is_told_before_it_is_read(made, tmp_path):
    """A run from elsewhere may name any."""
    run, registry, _ = made
    folder = write_folder(tmp_path / "photos", make_images().test)
    events = []
    elsewhere = dataclasses.replace(run.record, config={**run.config, "data": folder})
    with contextlib.suppress(DataError):
        evaluate(Run(run.path, elsewhere), part="train", device="cpu", registry=registry, observer=events.append)
    notes = [event.text for event in events if isinstance(event, Note)]
    assert notes[0] == f"The photos are read from {folder}, as the record of {run.name} says."
    gone = dataclasses.replace(run.record, config={**run.config, "data": str(tmp_path / "gone.csv")})
    with pytest.raises(DataError, match=rf"gone\.csv does not exist. The record of {run.name} names it"):
        evaluate(Run(run.path, gone), part="train", device="cpu", registry=registry)


def test_classes_are_matched_by_name_not_by_position(made, tmp_path):
    run, registry, plugin = made
    expected = score(run, registry)
    # A folder's classes are sorted by name: blue, green, red.
    folder = write_folder(tmp_path / "photos", make_images().test)
    again = score(run, registry, data=folder)
    assert again.accuracy == expected.accuracy
    assert again.confusion == expected.confusion
    plugin.dataset = make_images(
        classes=CLASSES[::-1], test=tuple(sample._replace(label=2 - sample.label) for sample in make_images().test)
    )
    assert score(run, registry, data="colours").confusion == expected.confusion


def test_other_data_may_lack_a_class_but_not_bring_a_new_one(made, tmp_path):
    run, registry, _ = made
    two = write_folder(tmp_path / "two", [sample for sample in make_images().test if sample.label < 2])
    evaluation = score(run, registry, data=two)
    assert (evaluation.count, sum(evaluation.confusion[2])) == (12, 0)
    four = write_folder(tmp_path / "four", make_samples("test", 2), classes=("red", "green", "purple"))
    with pytest.raises(DataError, match=f"has the class 'purple', which {run.name} does not know") as caught:
        score(run, registry, data=four)
    assert "red, green, blue" in caught.value.hint


def test_a_part_that_is_not_there_is_told(made, tmp_path):
    run, registry, _ = made
    folder = write_folder(tmp_path / "photos", make_images().test)
    with pytest.raises(DataError, match="has no val part") as caught:
        score(run, registry, data=folder, part="val")
    assert "--part" in caught.value.hint


def test_an_unreadable_photo_is_told_and_left_out(made, tmp_path):
    run, registry, _ = made
    bad = Sample(encode_png(make_photo(0, 0))[:80], 0, "bad.png")
    folder = write_folder(tmp_path / "photos", [*make_images().test, bad])
    events = []
    evaluation = score(run, registry, data=folder, observer=events.append)
    assert evaluation.count == 18
    (note,) = (event for event in events if isinstance(event, Note))
    assert note.warning
    assert "bad.png" in note.text
    assert any(isinstance(event, Work) and event.what == "score test" for event in events)


def test_more_photos_than_a_batch_keep_their_labels_and_nothing_readable_is_told(made, tmp_path):
    run, registry, _ = made
    many = write_folder(tmp_path / "many", make_samples("test", 50))
    evaluation = score(run, registry, data=many)
    assert (evaluation.count, [scores.support for scores in evaluation.per_class]) == (150, [50, 50, 50])
    assert evaluation.accuracy == pytest.approx(score(run, registry).accuracy, abs=0.1)
    for file in (tmp_path / "many").rglob("*.png"):
        file.write_bytes(b"bad")
    with pytest.raises(DataError, match="None of 150 photos is readable; the first: "):
        score(run, registry, data=many)


def test_a_configuration_that_is_not_readable_is_told(made):
    run, registry, _ = made
    write_json_record(run.path, {**run.record.to_json(), "config": {**run.config, "speed": 3}}, version=2)
    with pytest.raises(RunError, match=r"'config' in run\.json is not readable"):
        score(open_run(run.path), registry)
