"""Weights & Biases, offline: its own reader reads the file back."""

import json

import pytest

wandb = pytest.importorskip("wandb", reason="the extra 'wandb' is not installed")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def records_of(folder):
    from wandb.proto import wandb_internal_pb2
    from wandb.sdk.internal.datastore import DataStore

    (file,) = folder.glob("trackers/wandb/wandb/offline-run-*/*.wandb")
    store = DataStore()
    store.open_for_scan(str(file))
    records = []
    while (data := store.scan_data()) is not None:
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        records.append(record)
    return records


def test_an_offline_run_has_everything(track, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    folder = track("wandb", mode="offline", group="compare tiny", model=True)
    records = records_of(folder)
    (run,) = [record.run for record in records if record.WhichOneof("record_type") == "run"]
    assert (run.display_name, run.run_group, run.project) == (folder.name, "compare tiny", "finetune-zoo")
    config = {item.key: json.loads(item.value_json) for item in run.config.update}
    assert config["backbone"] == "tiny"
    assert config["run_folder"] == str(folder.resolve())
    rows = [record.history for record in records if record.WhichOneof("record_type") == "history"]
    names = {item.key or "/".join(item.nested_key) for row in rows for item in row.item}
    assert {"val_loss", "learning_rate", "images_per_second", "pictures/curves"} <= names
    assert any(record.WhichOneof("record_type") == "exit" for record in records)


def test_a_resumed_run_keeps_its_id(track, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    folder = track("wandb", mode="offline", status="interrupted")
    first = json.loads((folder / "trackers/wandb/state.json").read_text())
    track("wandb", mode="offline", resumed=True)
    assert json.loads((folder / "trackers/wandb/state.json").read_text()) == first
