"""Suspects are found by probes that did not see them, in all splits, and written as lists that training takes."""

import json

import pytest
from fakes import CLASSES, FakePlugin, make_images, make_registry, make_samples
from training_runs import EventRecorder

import zoo_heads
from zoo.data.sources.exclusions import read_exclusions
from zoo.errors import DataError
from zoo.plugins.specs import ImageSet
from zoo.training.suspects.find import find_suspects

WRONG = {"train/red/3.png": 1, "train/green/5.png": 2, "val/blue/1.png": 0, "test/red/2.png": 2}


def relabel(samples):
    return tuple(sample._replace(label=WRONG.get(sample.name, sample.label)) for sample in samples)


@pytest.fixture(scope="module")
def found():
    plugin = FakePlugin(heads=zoo_heads.zoo_heads())
    images = make_images()
    plugin.dataset = make_images(**{split: relabel(getattr(images, split)) for split in ("train", "val", "test")})
    recorder = EventRecorder()
    result = find_suspects("colours", backbone="small", registry=make_registry(plugin), observer=recorder)
    assert not [note for note in recorder.notes if "accuracy" in note]
    return result


def test_wrong_labels_of_all_splits_come_first(found):
    first = found.ranking[:4]
    assert {each.name for each in first} == set(WRONG)
    assert all(each.suggested == each.name.split("/")[1] for each in first)
    assert {each.split for each in first} == {"train", "val", "test"}
    assert [each.rank for each in first] == [1, 2, 3, 4]
    assert len(found.ranking) == 66
    assert 3 <= len(found.suspects) <= 12
    assert found.counts()["val"][1] == 12


def test_the_reason_names_both_classes(found):
    suspect = next(each for each in found.suspects if each.name == "train/red/3.png")
    start, end = suspect.reason.split("; ")
    assert start == f"looks like red ({suspect.suggested_probability:.2f})"
    assert end == f"labelled green ({suspect.label_probability:.2f})"


def test_lists_are_what_training_takes(found, tmp_path):
    excluded = read_exclusions(found.write_exclusions(tmp_path / "exclude.csv"))
    assert [*excluded] == [each.name for each in found.suspects]
    assert excluded["train/red/3.png"].startswith("looks like red")
    lines = found.write_corrections(tmp_path / "labels.csv").read_text().splitlines()
    assert lines[0] == "path,label,split,old label,reason"
    assert any(line.startswith("train/red/3.png,red,train,green,looks like red") for line in lines)


def test_plain_values_and_html(found):
    plain = json.loads(json.dumps(found.to_dict()))
    assert plain["photos"] == 66
    assert plain["splits"]["test"]["photos"] == 18
    assert plain["suspects"][0]["rank"] == 1
    assert "labels may be wrong" in found._repr_html_()


def test_the_sheet_is_a_picture(found, tmp_path):
    assert found.write_sheet(tmp_path / "sheet.png", count=4).read_bytes()[:4] == b"\x89PNG"


def test_photos_with_several_labels_are_refused():
    samples = tuple(each._replace(label=(each.label,)) for each in make_samples("train", 6))
    images = ImageSet(name="sets", classes=CLASSES, train=samples, multi_label=True)
    registry = make_registry(FakePlugin(heads=zoo_heads.zoo_heads()))
    with pytest.raises(DataError, match="any number of labels"):
        find_suspects(images, backbone="small", registry=registry)
