import contextlib
import dataclasses
import shutil

import pytest
from fakes import CLASSES, encode_png, make_images, make_photo, make_registry, make_samples
from run_files import write_json_record
from training_runs import EventRecorder

import zoo
import zoo.inference.run_predictor
from zoo.data.sources.folder import read_folder
from zoo.errors import ConfigError, DataError, RunError, UnknownNameError
from zoo.events import Note, Work
from zoo.inference.evaluate import evaluate
from zoo.inference.open import ModelFile
from zoo.models.engines import Engine
from zoo.plugins.specs import Sample
from zoo.runs.open import open_run
from zoo.runs.record import PhotoRecord, write_photos
from zoo.runs.run import RunFolder


def evaluate_run(run, registry, **values):
    return evaluate(run, device="cpu", registry=registry, **values)


def write_folder(folder, of, classes=CLASSES):
    for sample in of:
        file = folder / classes[sample.label] / sample.name.replace("/", "-")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(sample.source)
    return str(folder)


def test_the_splits_of_a_run_are_evaluated_as_in_training(trained_run, registry):
    test, val = evaluate_run(trained_run, registry), evaluate_run(trained_run, registry, split="val")
    assert test.accuracy == trained_run.results["test"]["accuracy"]
    assert val.accuracy == trained_run.results["val"]["accuracy"]
    assert (test.count, val.count) == (18, 12)
    assert evaluate_run(trained_run, registry, split="train").count == 36
    assert test.classes == CLASSES


def test_onnx_runtime_gives_the_same_metrics_as_torch(trained_run, registry, home):
    expected = evaluate_run(trained_run, registry)
    actual = evaluate_run(trained_run, registry, engine="onnxruntime")
    assert len([*(home / "graphs").iterdir()]) == 1
    assert actual.confusion.tolist() == expected.confusion.tolist()
    assert actual.loss == pytest.approx(expected.loss, rel=1e-4)


def test_the_number_of_photos_may_decide_on_the_engine(trained_run, registry, home, monkeypatch):
    numbers = []

    def choose_engine(network, *, images, **_):
        numbers.append(images)
        return Engine(name="torch", reason="", run=network)

    monkeypatch.setattr(zoo.inference.run_predictor, "choose_engine", choose_engine)
    evaluate_run(trained_run, registry, engine="auto")
    assert numbers == [18]


def test_photos_that_have_changed_since_training_are_reported(trained_run, registry, plugin):
    recorder = EventRecorder()
    evaluate_run(trained_run, registry, observer=recorder)
    assert recorder.notes == []
    plugin.dataset = make_images(test=make_images().test[1:])
    evaluate_run(trained_run, registry, observer=recorder)
    assert recorder.notes == [f"The test photos are not those that {trained_run.name} was trained with."]


def test_photos_of_the_same_name_with_another_content_or_label_are_reported(trained_run, registry, plugin):
    test = list(make_images().test)
    test[3] = test[3]._replace(source=test[4].source)
    plugin.dataset = make_images(test=tuple(test))
    recorder = EventRecorder()
    evaluate_run(trained_run, registry, observer=recorder)
    assert recorder.notes == [
        f"1 of {len(test)} test photos have changed since {trained_run.name} was trained; the first: {test[3].name}."
    ]
    test[5] = test[5]._replace(label=(test[5].label + 1) % 3)
    plugin.dataset = make_images(test=tuple(test))
    evaluate_run(trained_run, registry, observer=recorder)
    assert f"2 of {len(test)} test photos have changed" in recorder.notes[1]


def test_the_folder_that_a_record_names_is_reported_before_it_is_read(trained_run, registry, tmp_path):
    """A trained_run from elsewhere may name any."""
    folder = write_folder(tmp_path / "photos", make_images().test)
    recorder = EventRecorder()
    elsewhere = dataclasses.replace(trained_run.record, config={**trained_run.config, "data": folder})
    with contextlib.suppress(DataError):
        evaluate_run(RunFolder(trained_run.path, elsewhere), registry, split="train", observer=recorder)
    assert recorder.notes[0] == f"The photos are read from {folder}, as the record of {trained_run.name} says."
    gone = dataclasses.replace(trained_run.record, config={**trained_run.config, "data": str(tmp_path / "gone.csv")})
    with pytest.raises(DataError, match=rf"gone\.csv does not exist. The record of {trained_run.name} names it"):
        evaluate_run(RunFolder(trained_run.path, gone), registry, split="train")


def test_a_folder_that_is_gone_is_no_missing_plugin(trained_run, registry):
    """Its name could also be that of a dataset."""
    gone = dataclasses.replace(
        trained_run.record,
        config={**trained_run.config, "data": "photos"},
        plugins={"finetune-zoo:torchvision": "0.0.1", "finetune-zoo:heads": "0.0.1"},
    )
    with pytest.raises(UnknownNameError) as caught:
        evaluate_run(RunFolder(trained_run.path, gone), registry)
    assert caught.value.message.startswith("There is no dataset 'photos'. There is no folder photos either.")
    assert caught.value.message.endswith(f"The record of {trained_run.name} names it.")
    assert caught.value.hint == "Pass the location of the data with --data."


def test_classes_are_matched_by_name_not_by_position(trained_run, registry, plugin, tmp_path):
    expected = evaluate_run(trained_run, registry)
    # A folder's classes are sorted by name: blue, green, red.
    folder = write_folder(tmp_path / "photos", make_images().test)
    again = evaluate_run(trained_run, registry, data=folder)
    assert again.accuracy == expected.accuracy
    assert again.confusion.tolist() == expected.confusion.tolist()
    plugin.dataset = make_images(
        classes=CLASSES[::-1], test=tuple(sample._replace(label=2 - sample.label) for sample in make_images().test)
    )
    assert evaluate_run(trained_run, registry, data="colours").confusion.tolist() == expected.confusion.tolist()


def test_other_data_may_lack_a_class_but_not_have_a_new_one(trained_run, registry, tmp_path):
    two = write_folder(tmp_path / "two", [sample for sample in make_images().test if sample.label < 2])
    evaluation = evaluate_run(trained_run, registry, data=two)
    assert (evaluation.count, sum(evaluation.confusion[2])) == (12, 0)
    four = write_folder(tmp_path / "four", make_samples("test", 2), classes=("red", "green", "purple"))
    with pytest.raises(DataError, match=f"has the class 'purple', which {trained_run.name} does not know") as caught:
        evaluate_run(trained_run, registry, data=four)
    assert "red, green, blue" in caught.value.hint


def test_photos_of_one_class_can_be_evaluated_and_the_absent_classes_are_named(trained_run, registry, tmp_path):
    one = write_folder(tmp_path / "one", [sample for sample in make_images().test if sample.label == 1])
    (tmp_path / "one" / "red").mkdir()  # still empty
    recorder = EventRecorder()
    evaluation = evaluate_run(trained_run, registry, data=one, observer=recorder)
    assert (evaluation.count, [scores.support for scores in evaluation.per_class]) == (6, [0, 6, 0])
    assert recorder.notes == ["'one' has no test photos of 2 of 3 classes: red, blue."]


def test_a_test_split_alone_can_be_evaluated(trained_run, registry, tmp_path):
    write_folder(tmp_path / "new" / "Test_Set", make_images().test)
    write_folder(tmp_path / "new" / "Train_Set", make_images().test[:1])
    assert evaluate_run(trained_run, registry, data=str(tmp_path / "new")).count == 18
    write_folder(tmp_path / "part" / "test", make_images().test)
    assert evaluate_run(trained_run, registry, data=str(tmp_path / "part")).count == 18


def test_training_photos_are_not_evaluated_as_test_photos(trained_run, registry, tmp_path):
    write_folder(tmp_path / "photos" / "train", make_images().test)
    with pytest.raises(DataError, match="'photos' has no test split"):
        evaluate_run(trained_run, registry, data=str(tmp_path / "photos"))
    assert evaluate_run(trained_run, registry, data=str(tmp_path / "photos"), split="train").count == 18


def test_photos_that_are_left_out_are_reported(trained_run, registry, tmp_path):
    folder = write_folder(tmp_path / "photos", make_images().test)
    (tmp_path / "photos" / "red" / "1.dng").touch()
    recorder = EventRecorder()
    evaluate_run(trained_run, registry, data=folder, observer=recorder)
    assert recorder.notes[0].startswith("1 of 19 photos left out: 1 RAW photo cannot be read (red/1.dng).")


def test_the_splits_of_a_run_need_no_training_photos_any_more(trained_run, registry, tmp_path):
    folder = tmp_path / "photos"
    for split in ("train", "val", "test"):
        write_folder(folder / split, getattr(make_images(), split))
    images = read_folder(folder)
    photos = PhotoRecord(
        names={split: tuple(sample.name for sample in getattr(images, split)) for split in ("train", "val", "test")}
    )
    run = RunFolder(
        tmp_path / "run", dataclasses.replace(trained_run.record, config={**trained_run.config, "data": str(folder)})
    )
    shutil.copytree(trained_run.path, run.path)
    write_photos(run.path, photos)
    expected = evaluate_run(run, registry)
    shutil.rmtree(folder / "train")
    assert evaluate_run(run, registry).to_dict() == expected.to_dict()
    with pytest.raises(DataError, match="no train folder"):
        evaluate_run(run, registry, split="train")
    shutil.rmtree(folder / "test" / "red")
    with pytest.raises(DataError, match="no train folder"):
        evaluate_run(run, registry)


def test_a_missing_split_is_an_error(trained_run, registry, tmp_path):
    folder = write_folder(tmp_path / "photos", make_images().test)
    with pytest.raises(DataError, match="has no val split") as caught:
        evaluate_run(trained_run, registry, data=folder, split="val")
    assert "--split" in caught.value.hint


def test_an_unreadable_photo_is_reported_and_left_out(trained_run, registry, tmp_path):
    bad = Sample(encode_png(make_photo(0, 0))[:80], 0, "bad.png")
    folder = write_folder(tmp_path / "photos", [*make_images().test, bad])
    events = []
    evaluation = evaluate_run(trained_run, registry, data=folder, observer=events.append)
    assert evaluation.count == 18
    (note,) = (event for event in events if isinstance(event, Note))
    assert note.warning
    assert "bad.png" in note.text
    assert any(isinstance(event, Work) and event.what == "evaluate test" for event in events)


def test_more_photos_than_a_batch_keep_their_labels_and_no_readable_photo_is_an_error(trained_run, registry, tmp_path):
    many = write_folder(tmp_path / "many", make_samples("test", 50))
    evaluation = evaluate_run(trained_run, registry, data=many)
    assert (evaluation.count, [scores.support for scores in evaluation.per_class]) == (150, [50, 50, 50])
    assert evaluation.accuracy == pytest.approx(evaluate_run(trained_run, registry).accuracy, abs=0.1)
    for file in (tmp_path / "many").rglob("*.png"):
        file.write_bytes(b"bad")
    with pytest.raises(DataError, match="None of 150 photos is readable; the first: "):
        evaluate_run(trained_run, registry, data=many)


def test_an_invalid_configuration_is_an_error(trained_run, registry, tmp_path):
    record = trained_run.record.to_json()
    write_json_record(tmp_path, {**record, "config": {**record["config"], "speed": 3}}, version=2)
    with pytest.raises(RunError, match=r"'config' in run\.json is not readable"):
        evaluate_run(open_run(tmp_path), registry)


def test_a_model_may_be_named_by_a_path(trained_run, registry):
    expected = evaluate_run(trained_run, registry).accuracy
    assert evaluate_run(str(trained_run.path), registry).accuracy == expected
    assert evaluate_run(trained_run.path, registry).accuracy == expected
    with pytest.raises(RunError, match="There is no run 'nowhere'"):
        evaluate_run("nowhere", registry)


def test_the_former_name_of_the_split_is_accepted(trained_run, registry):
    assert evaluate_run(trained_run, registry, part="val") == evaluate_run(trained_run, registry, split="val")


def test_an_unknown_split_is_an_error(trained_run, registry):
    with pytest.raises(ConfigError, match="There is no split 'tset'") as caught:
        evaluate_run(trained_run, registry, split="tset")
    assert caught.value.hint == "Did you mean test? The splits are test, val, train."


def test_a_file_needs_data(tmp_path):
    file = tmp_path / "model.x"
    with pytest.raises(ConfigError, match=r"model\.x contains no photos to evaluate on") as caught:
        evaluate(ModelFile(file, offer=None))
    assert "--data" in caught.value.hint


@dataclasses.dataclass(frozen=True)
class Folder:
    root: str = zoo.option(help="The folder of the photos.")


def test_a_dataset_with_a_required_option_gets_its_value(trained_run, plugin):
    roots = []

    def load(request):
        roots.append(request.options.root)
        return make_images()

    spec = zoo.DatasetSpec(name="rooted", load=load, options=Folder)
    plugin.zoo_datasets = zoo.hookimpl(lambda: [spec])
    registry = make_registry(plugin)
    with pytest.raises(ConfigError, match="dataset rooted requires the option 'root'") as caught:
        evaluate_run(trained_run, registry, data="rooted")
    assert caught.value.hint == "Set it with --data-option root=VALUE. root (str, required): The folder of the photos."
    assert evaluate_run(trained_run, registry, data="rooted", data_options={"root": "a"}).count == 18
    assert roots == ["a"]
