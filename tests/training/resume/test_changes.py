"""Changes since a run was started, and runs of an earlier version."""

import dataclasses
import json

import pytest
import torch
from fakes import encode_png, make_images, make_photo
from run_files import write_json_record
from training_runs import STEPS, EventRecorder, assert_same_results, latest_run

from zoo.errors import RunError
from zoo.inference.evaluate import evaluate
from zoo.runs.open import open_run
from zoo.runs.record import DataRecord, PhotoRecord, RunRecord, write_record
from zoo.runs.run import list_runs
from zoo.training.resume import find_changes


def test_changed_photos_are_listed_and_the_run_is_not_resumed(stop, resume, plugin):
    run = stop(STEPS + 2)
    first, second, *others = plugin.dataset.train
    changed = first._replace(source=encode_png(make_photo(0, 99)))
    relabelled = second._replace(label=2)
    new = first._replace(name="train/red/new.png")
    plugin.dataset = make_images(train=(changed, relabelled, *others, new), val=plugin.dataset.val[1:])
    with pytest.raises(RunError) as caught:
        resume(run.path)
    assert caught.value.message.splitlines() == [
        f"{run.path} cannot be resumed: this has changed since it was started:",
        "  new train photos: train/red/new.png",
        "  train photos with other content or another label: train/green/0.png, train/red/0.png",
        "  missing val photos: val/red/0.png",
    ]
    assert "--resume-anyway" in caught.value.hint
    assert open_run(run.path).record == run.record


def test_changed_code_and_options_are_listed_and_the_run_is_not_resumed(stop, resume):
    run = stop(STEPS + 2)
    record = run.record.to_json()
    record["config"]["lr"] = 0.5
    record["packages"]["torch"] = "1.0"
    record["sources"]["fakes"] = "0" * 12
    write_json_record(run.path, record, version=2)
    with pytest.raises(RunError) as caught:
        resume(run.path)
    changes = caught.value.message.splitlines()[1:]
    assert changes[0] == "  option lr: was 0.001, is 0.5"
    assert changes[1] == f"  version of torch: was 1.0, is {run.record.packages['torch']}"
    assert changes[2] == f"  source code of fakes: was {'0' * 12}, is {run.record.sources['fakes']}"
    assert len(changes) == 3


def test_a_run_can_be_resumed_anyway_and_the_record_lists_the_changes(stop, resume, plugin):
    run, observer = stop(STEPS + 2), EventRecorder()
    plugin.dataset = make_images(train=plugin.dataset.train[1:])
    resumed = resume(run.path, anyway=True, observer=observer)
    what = ["missing train photos: train/red/0.png"]
    assert [change["what"] for change in resumed.record.changed] == [what]
    assert resumed.record.data.counts["train"] == 35
    assert "train/red/0.png" not in resumed.photos().names["train"]
    assert observer.notes[0] == f"Changed since the run was started: {what[0]}."


def test_another_machine_is_reported(stop, resume):
    run, observer = stop(2), EventRecorder()
    write_record(run.path, run.record.with_hardware(threads=64))
    resume(run.path, observer=observer)
    assert "started on another machine (threads 64 -> 1)" in observer.notes[0]


def to_format_1(run):
    """Rewrites a run folder as version 1 of the format: photos in ``run.json``, and the earlier names of keys."""
    record = run.record.to_json()
    photos = json.loads((run.path / "photos.json").read_text())
    (run.path / "photos.json").unlink()
    record["data"].update(split=photos["split"], digests=photos["digests"])
    record["kept"] = record.pop("activation_cache")
    record["hardware"]["part_size"] = record["hardware"].pop("micro_batch_size")
    write_json_record(run.path, record, version=1)
    if (run.path / "checkpoint.pt").exists():
        content = torch.load(run.path / "checkpoint.pt")
        machine = content["about"]["machine"]
        machine["part_size"] = machine.pop("micro_batch_size")
        torch.save(content, run.path / "checkpoint.pt")


@pytest.mark.parametrize("micro_batch_size", [None, 4])
def test_a_run_in_format_1_is_resumed_evaluated_and_listed(
    stop, train, resume, runs, registry, monkeypatch, micro_batch_size
):
    whole = train(freeze="1")
    run = stop(STEPS + 2, freeze="1")
    write_record(run.path, run.record.with_hardware(micro_batch_size=micro_batch_size))
    if micro_batch_size:
        content = torch.load(run.path / "checkpoint.pt")
        content["about"]["machine"]["micro_batch_size"] = micro_batch_size
        torch.save(content, run.path / "checkpoint.pt")
    to_format_1(latest_run(runs))
    stopped = open_run(run.path)
    assert stopped.record.activation_cache["val"] is True
    assert stopped.photos().names["val"][:2] == ("val/red/0.png", "val/green/0.png")
    resumed = resume(run.path)
    assert resumed.record.hardware["micro_batch_size"] == micro_batch_size
    assert "part_size" not in resumed.record.hardware
    if micro_batch_size is None:
        assert_same_results(resumed, whole)
    to_format_1(resumed)
    assert {run.name for run in list_runs(runs)} == {whole.name, resumed.name}
    assert all(run.finished for run in list_runs(runs))
    evaluation = evaluate(open_run(resumed.path), registry=registry, device="cpu")
    assert evaluation.accuracy == resumed.results["test"]["accuracy"]


def test_changed_photos_of_a_run_in_format_1_are_listed(stop, resume, plugin):
    run = stop(STEPS + 2)
    to_format_1(run)
    first, *others = plugin.dataset.train
    plugin.dataset = make_images(train=(first._replace(label=2), *others))
    with pytest.raises(RunError, match=r"train photos with other content or another label: train/red/0\.png"):
        resume(run.path)


RECORD = RunRecord(
    classes=("cat", "dog"),
    config={"lr": 0.1, "freeze": "none"},
    packages={"torch": "2.15"},
    plugins={"acme:cats": "1"},
    sources={"zoo": "ab"},
    data=DataRecord(fingerprint="f1"),
)
PHOTOS = PhotoRecord(
    names={"train": tuple(f"{n}.png" for n in range(6)), "val": ("v.png",)},
    hashes={"train": tuple(f"{n:08}" for n in range(6)), "val": ("0000000v",)},
)
OTHER_DATA = DataRecord(fingerprint="f2")


def find(photos=PHOTOS, **changes):
    return find_changes(RECORD, dataclasses.replace(RECORD, **changes), PHOTOS, photos)


def test_without_changes_none_is_found():
    assert find() == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"config": {"lr": 0.2, "freeze": "none"}}, "option lr: was 0.1, is 0.2"),
        ({"packages": {"torch": "2.16"}}, "version of torch: was 2.15, is 2.16"),
        ({"plugins": {}}, "plugin acme:cats: was 1, is missing"),
        ({"sources": {"zoo": "ab", "acme": "cd"}}, "source code of acme: was missing, is cd"),
        ({"classes": ("cat", "cow"), "data": OTHER_DATA}, "classes: were cat, dog, are cat, cow"),
        ({"data": OTHER_DATA}, "fingerprint of the data: was f1, is f2"),
        (
            {
                "data": OTHER_DATA,
                "photos": PhotoRecord(
                    names={"train": ("0.png",), "val": ("v.png",)},
                    hashes={"train": ("00000000",), "val": ("0000000v",)},
                ),
            },
            "missing train photos: 1.png, 2.png, 3.png and 2 more",
        ),
        (
            {
                "data": OTHER_DATA,
                "photos": dataclasses.replace(PHOTOS, hashes={**PHOTOS.hashes, "val": ("0000000w",)}),
            },
            "val photos with other content or another label: v.png",
        ),
    ],
)
def test_a_change_is_described(changes, message):
    assert find(**changes) == [message]
