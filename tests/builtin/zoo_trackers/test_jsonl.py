import json


def rows_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_every_event_is_a_line(track):
    folder = track("jsonl")
    rows = rows_of(folder / "trackers" / "jsonl" / "events.jsonl")
    assert [row["event"] for row in rows[:4]] == ["Configured", "Work", "Note", "Started"]
    assert [row["event"] for row in rows[-2:]] == ["Finished", "Closed"]
    assert rows[0]["config"]["head_options"] == {"hidden": 3}
    assert rows[3]["name"] == "tiny-linear-photos-1"
    epochs = [row for row in rows if row["event"] == "EpochResult"]
    assert [row["epoch"] for row in epochs] == [0, 1, 2]
    assert (epochs[1]["val_loss"], epochs[1]["learning_rate"], epochs[1]["train_accuracy"]) == (0.5, 0.001, None)
    assert rows[-2]["results"]["test"]["accuracy"] == 0.75
    assert rows[-1]["status"] == "finished"
    assert {row["run"] for row in rows} == {str(folder)}


def test_a_resumed_run_appends(track, tmp_path):
    file = tmp_path / "all" / "events.jsonl"
    track("jsonl", status="interrupted", file=str(file))
    track("jsonl", resumed=True, file=str(file))
    rows = rows_of(file)
    assert [row["status"] for row in rows if row["event"] == "Closed"] == ["interrupted", "finished"]
    assert [row["event"] for row in rows].count("Resumed") == 1
