"""Weights & Biases, offline: the file that 'wandb sync' uploads is read back."""

import json
import struct
import time

import pytest

wandb = pytest.importorskip("wandb", reason="the extra 'wandb' is not installed")
BLOCK, FULL, MIDDLE, LAST = 32768, 1, 3, 4
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def records_of(folder):
    """Returns the complete records of the file of an offline run, which has the format of LevelDB's logs."""
    from wandb.proto import wandb_internal_pb2

    (file,) = folder.glob("trackers/wandb/wandb/offline-run-*/*.wandb")
    content, at, whole, records = file.read_bytes(), 7, b"", []
    while at + 7 <= len(content):
        if (left := BLOCK - at % BLOCK) < 7:
            at += left
            continue
        size, kind = struct.unpack("<HB", content[at + 4 : at + 7])
        if at + 7 + size > len(content):
            break
        whole = (whole if kind in (MIDDLE, LAST) else b"") + content[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (FULL, LAST):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(whole)
            records.append(record)
    return records


def wait_for_records(folder):
    """Returns the records once the last one is written, which a process of wandb does after the end of the run."""
    deadline = time.monotonic() + 60
    while True:
        records = records_of(folder)
        if any(record.WhichOneof("record_type") == "exit" for record in records) or time.monotonic() > deadline:
            return records
        time.sleep(0.2)


def test_an_offline_run_has_everything(track, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    folder = track("wandb", mode="offline", group="compare tiny", model=True)
    records = wait_for_records(folder)
    (run,) = [record.run for record in records if record.WhichOneof("record_type") == "run"]
    assert (run.display_name, run.run_group, run.project) == (folder.name, "compare tiny", "finetune-zoo")
    config = {item.key: json.loads(item.value_json) for item in run.config.update}
    assert config["backbone"] == "tiny"
    assert config["run_folder"] == str(folder.resolve())
    rows = [record.history for record in records if record.WhichOneof("record_type") == "history"]
    names = {item.key or "/".join(item.nested_key) for row in rows for item in row.item}
    assert {"val_loss", "learning_rate", "images_per_second"} <= names
    assert any(name.startswith("pictures/curves") for name in names)
    (artifact,) = [record.artifact for record in records if record.WhichOneof("record_type") == "artifact"]
    assert (artifact.type, artifact.name) == ("model", folder.name)
    assert any(record.WhichOneof("record_type") == "exit" for record in records)


def test_a_resumed_run_keeps_its_id(track, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    folder = track("wandb", mode="offline", status="interrupted")
    first = json.loads((folder / "trackers/wandb/state.json").read_text())
    track("wandb", mode="offline", resumed=True)
    assert json.loads((folder / "trackers/wandb/state.json").read_text()) == first
