import pytest
from click.testing import CliRunner
from run_files import VALID_FILES, write_json_record

import zoo.runs.record
from zoo.cli.commands.runs import command
from zoo.errors import RunError
from zoo.preprocess import Preprocess
from zoo.runs.open import open_run
from zoo.runs.record import (
    DataRecord,
    PhotoRecord,
    RunRecord,
    read_photos,
    read_record,
    write_photos,
    write_record,
)
from zoo.runs.run import list_runs

RECORD = RunRecord(
    status="interrupted",
    created="2026-01-01T00:00:00+00:00",
    backbone="acme/tiny",
    head="heads/linear",
    parts={"loss": ("acme/steep",)},
    activation="sigmoid",
    config={"backbone": "tiny", "lr": 0.1, "limit": None},
    classes=("cat", "dog"),
    preprocess=Preprocess(size=(8, 8), resize=9, interpolation="bicubic"),
    weights="none: trained from scratch",
    data=DataRecord(
        name="pets",
        note="Drawings.",
        fingerprint="abc",
        counts={"train": 2, "val": 1, "test": 0},
        skipped=("a.txt: not an image",),
        check={"near": True, "findings": [{"kind": "leak", "text": "One leak."}]},
        cache={"train": {"tier": "memory"}},
        unreadable={"train": ["x.jpg: broken"]},
    ),
    packages={"torch": "2.15"},
    plugins={"acme:tiny": "1.0"},
    sources={"zoo": "0123456789ab"},
    hardware={"device": "cpu", "micro_batch_size": None},
    activation_cache={"reason": "no stage is frozen"},
    results={"test": {"accuracy": 0.9}},
    saved={"epoch": 1, "step": 3},
    changed=({"when": "2026", "what": ["option lr: was 0.1, is 0.2"]},),
)
PHOTOS = PhotoRecord(
    names={"train": ("a, b.jpg", "c\nd.jpg", "\udcff.jpg"), "val": ()},
    hashes={"train": ("00000001", "00000002", "00000003"), "val": ()},
)


@pytest.mark.parametrize(
    ("values", "activation"),
    [
        ({}, "softmax"),
        ({"config": {"loss": "focal"}}, "softmax"),
        ({"config": {"loss": "bce"}}, "sigmoid"),
        ({"config": {"loss": "bce"}, "activation": "softmax"}, "softmax"),
        ({"config": {"loss": "steep"}, "activation": "sigmoid"}, "sigmoid"),
    ],
)
def test_the_activation_of_older_records_follows_from_the_loss(values, activation):
    assert RunRecord.from_json(values, where="run.json").activation == activation


@pytest.mark.parametrize("values", [{"activation": "tanh"}, {"parts": {"loss": "focal"}}, {"parts": {"loss": [1]}}])
def test_an_activation_and_parts_that_cannot_be_are_refused(values):
    with pytest.raises(RunError, match=f"has an unreadable '{next(iter(values))}'"):
        RunRecord.from_json(values, where="run.json")
    record = RunRecord.from_json(values, where="run.json", strict=False)
    assert (record.activation, record.parts) == ("softmax", {})


def test_a_record_is_read_as_it_was_written(tmp_path):
    write_record(tmp_path, RECORD)
    assert read_record(tmp_path) == RECORD
    assert RECORD.data.leaks == ("One leak.",)


def test_photos_are_read_as_they_were_written_and_stored_apart_from_the_record(tmp_path):
    write_record(tmp_path, RECORD)
    write_photos(tmp_path, PHOTOS)
    assert read_photos(tmp_path) == PHOTOS
    assert "a, b.jpg" not in (tmp_path / "run.json").read_text()


def test_empty_progress_is_not_written():
    values = RunRecord().to_json()
    assert "saved" not in values
    assert "changed" not in values
    assert values["format"] == 2


def test_a_record_of_format_1_is_read_with_its_photos(tmp_path):
    old = {
        **VALID_FILES["run.json"],
        "hardware": {"part_size": 8, "device": "cpu"},
        "kept": {"val": True},
        "data": {
            "name": "dogs",
            "fingerprint": "abc",
            "split": {"train": ["a.jpg", "b.jpg"], "val": ["c.jpg"]},
            "digests": {"train": "0000000100000002", "val": "00000003"},
        },
    }
    write_json_record(tmp_path, old, version=1)
    run = open_run(tmp_path)
    assert run.record.hardware == {"micro_batch_size": 8, "device": "cpu"}
    assert run.record.activation_cache == {"val": True}
    assert run.photos().names == {"train": ("a.jpg", "b.jpg"), "val": ("c.jpg",)}
    assert run.photos().hashes == {"train": ("00000001", "00000002"), "val": ("00000003",)}


def test_a_record_of_a_newer_version_is_refused(tmp_path):
    write_json_record(tmp_path, {}, version=3)
    with pytest.raises(RunError, match="is not a run record of format 1 or 2") as caught:
        read_record(tmp_path)
    assert "newer version" in caught.value.hint


@pytest.mark.parametrize("key", ["config", "classes", "preprocess", "data", "results", "hardware", "status", "changed"])
def test_a_value_of_the_wrong_type_is_named_and_skipped_in_a_listing(tmp_path, key):
    folder = tmp_path / "r-1"
    folder.mkdir()
    write_json_record(folder, {**RECORD.to_json(), key: 3}, version=2)
    with pytest.raises(RunError, match=rf"run\.json has an unreadable '{key}'"):
        read_record(folder)
    (listed,) = list_runs(tmp_path)
    assert listed.record.backbone == "acme/tiny"


def test_unreadable_photos_are_named(tmp_path):
    write_record(tmp_path, RECORD)
    (tmp_path / "photos.json").write_text("{")
    with pytest.raises(RunError, match=r"photos\.json cannot be read"):
        read_photos(tmp_path)


def test_only_a_request_for_photos_reads_them(tmp_path, monkeypatch):
    """A record of 300,000 photos is listed, opened and searched for without the file that names them."""
    names = tuple(f"train/a-class-with-a-name/photo-{number:06}.jpg" for number in range(300_000))
    folder = tmp_path / "r-1"
    folder.mkdir()
    write_record(folder, RECORD)
    write_photos(folder, PhotoRecord(names={"train": names}, hashes={"train": ("00000001",) * len(names)}))
    files = []
    read = zoo.runs.record._read_json
    monkeypatch.setattr(
        zoo.runs.record, "_read_json", lambda path, **most: files.append(path.name) or read(path, **most)
    )
    (listed,) = list_runs(tmp_path)
    assert (folder / "run.json").stat().st_size < 10_000
    with pytest.raises(RunError, match="There is no run 'r-9'"):
        open_run("r-9", runs=tmp_path)
    assert open_run("r-1", runs=tmp_path).record == listed.record
    assert files == ["run.json", "run.json"]
    assert listed.photos().names["train"] == names
    assert files[2:] == ["photos.json"]


def test_the_command_that_lists_runs_does_not_read_their_photos(tmp_path):
    (tmp_path / "r-1").mkdir()
    write_record(tmp_path / "r-1", RECORD)
    (tmp_path / "r-1" / "photos.json").mkdir()  # an error if it is read
    result = CliRunner().invoke(command, ["--runs", str(tmp_path)], catch_exceptions=False)
    assert "r-1" in result.output
    with pytest.raises(RunError, match=r"photos\.json cannot be read"):
        read_photos(tmp_path / "r-1")
