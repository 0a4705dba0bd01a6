import errno
import io
import json
import math
import sys
from dataclasses import replace

import pytest

from zoo.display import console, observers
from zoo.display.observers import LineDisplay, display_events
from zoo.display.stdout import CheckedStream, OutputError
from zoo.events import EpochResult, Estimate, Finished, Note, Started, StepResult, Work

STARTED = Started(
    run="tiny-linear-dogs-1",
    backbone="acme/tiny",
    head="heads/linear",
    weights="V1, from https://example.org/tiny.pth",
    data="dogs",
    images={"train": 180, "val": 20, "test": 0},
    classes=("a", "b", "c", "d", "e"),
    parameters=11_177_538,
    trainable=1026,
    device="cpu",
    precision="fp32",
    epochs=3,
    steps=6,
)
STEP = StepResult(epoch=2, step=4, steps=6, loss=0.3121, accuracy=0.912, images_per_second=48.4, seconds_left=62.0)
WORK = Work(what="decode train", done=45, total=180)
NOTE = Note(text="Mind the gap.")


def epoch(number, **values):
    common = {"train_loss": 0.5, "train_accuracy": 0.75, "val_loss": 0.4, "val_accuracy": 0.8, "learning_rate": 1e-4}
    return EpochResult(epoch=number, **{**common, "seconds": 3.0, "images_per_second": 48.25, **values})


def finished(**results):
    scores = {"accuracy": 0.931, "interval": [0.911, 0.947], "count": 800}
    return Finished(
        path="runs/tiny-1", results={"test": scores, "seconds": 192.0, "images_per_second": 48.0, **results}
    )


def show(*events, **how):
    with display_events(**how) as observer:
        for event in events:
            observer(event)


def test_piped_lines_describe_the_run(capsys):
    show(STARTED, NOTE, WORK, STEP, epoch(0, best=True), epoch(2, train_accuracy=math.nan), finished())
    lines = capsys.readouterr().out.splitlines()
    assert lines[:6] == [
        "tiny-linear-dogs-1",
        "  model    acme/tiny + heads/linear, 11.2 M parameters, 1.0 k trainable",
        "  weights  V1, from https://example.org/tiny.pth",
        "  data     dogs: 180 train, 20 val photos, 5 classes (a, b, c, d, ...)",
        "  machine  cpu, fp32",
        "note: Mind the gap.",
    ]
    assert lines[7].split()[:3] == ["epoch", "loss", "accuracy"]
    assert lines[8] == "  probe    0.500    75.0 %     0.400    80.0 %        -     48.2  3.0 s *"
    assert lines[9] == "    2/3    0.500         -     0.400    80.0 %  1.0e-04     48.2  3.0 s"
    assert "test accuracy 93.1 % ± 1.8 (800 photos)" in lines
    assert lines[-1] == "  zoo evaluate runs/tiny-1"


def test_the_columns_are_aligned_with_the_header():
    titles, row = observers.EPOCH_HEADER, observers.format_epoch(epoch(2), 3)
    for name in ("loss", "accuracy", "val loss", "val acc", "rate", "img/s"):
        assert row[titles.index(name) + len(name) - 1] != " "


def test_without_a_test_split_the_validation_accuracy_is_printed(capsys):
    event = finished()
    event.results["val"] = event.results.pop("test")
    show(event)
    assert "val accuracy  93.1 % ± 1.8" in capsys.readouterr().out


def test_a_note_is_printed_once(capsys):
    show(NOTE, STARTED, NOTE, Note(text="Mind the gap.", warning=True), Note(text="Another."))
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith(("note", "warning"))] == ["note: Mind the gap.", "note: Another."]


def test_next_steps_can_be_left_out(capsys):
    show(finished(), next_steps=False)
    assert "Next steps" not in capsys.readouterr().out


def test_slow_work_is_reported_every_thirty_seconds(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(observers.time, "monotonic", lambda: now[0])
    display = LineDisplay()
    display(STARTED)
    for now[0] in (1.0, 31.0, 32.0, 62.0):
        display(WORK if now[0] < 40 else STEP)
    lines = capsys.readouterr().out.splitlines()[5:]
    assert lines == [
        "decode train: 25 %",
        "  2/3   4 of 6 steps, loss 0.312, accuracy 91.2 %, 48 images/s, 1 min 2 s left",
    ]


def test_the_time_left_of_work_follows_from_its_pace(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(observers.time, "monotonic", lambda: now[0])
    display = LineDisplay()
    done = {10.0: 40, 50.0: 80, 90.0: 160, 130.0: 40, 170.0: 60}  # then the same work on another split begins
    for now[0], number in done.items():
        display(Work(what="compute features of val", done=number, total=200))
    now[0] = 210.0
    display(Work(what="download", done=5, total=None))
    assert capsys.readouterr().out.splitlines() == [
        "compute features of val: 40 %, 2 min 0 s left",
        "compute features of val: 80 %, 27 s left",
        "compute features of val: 20 %",
        "compute features of val: 30 %, 4 min 40 s left",
        "download: 5",
    ]


def test_an_estimate_is_printed_as_one_sentence(capsys):
    show(
        Estimate(seconds=41.0, work="1,505 photos once through the backbone"),
        Estimate(seconds=600.0, work="epochs 1 to 4, 57 steps each", at_most=True),
    )
    assert capsys.readouterr().out.splitlines() == [
        "About 40 s on this machine: 1,505 photos once through the backbone.",
        "At most about 10 min on this machine: epochs 1 to 4, 57 steps each.",
    ]


def test_quiet_prints_only_the_path_of_a_single_run(capsys):
    show(STARTED, NOTE, WORK, STEP, epoch(1), finished(), quiet=True)
    assert capsys.readouterr().out == "runs/tiny-1\n"
    show(finished(), quiet=True, next_steps=False)
    assert capsys.readouterr().out == ""


def test_json_is_one_event_per_line(capsys):
    show(STARTED, NOTE, WORK, STEP, epoch(1, train_accuracy=math.nan), finished(), as_json=True)
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["event"] for event in events] == ["Started", "Note", "Work", "StepResult", "EpochResult", "Finished"]
    assert events[0]["images"]["train"] == 180
    assert events[4]["train_accuracy"] is None
    assert events[5]["results"]["seconds"] == 192.0


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setattr(console, "on_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)


def test_a_terminal_shows_a_bar_and_removes_it(capsys, terminal):
    with display_events() as display:
        display(STARTED)
        display(WORK)
        assert display._progress is not None
        display(Work(what="decode train", done=180, total=180))
        assert display._progress is None
        display(STEP)
        display(Note(text="Between [the] steps.", warning=True))
        assert display._progress.tasks[0].description == "epoch 2/3"
        assert (
            display._progress.tasks[0].fields["details"] == "loss 0.312, accuracy 91.2 %, 48 images/s, 1 min 2 s left"
        )
        display(epoch(2))
        assert display._progress is None
        display(finished())
    out = capsys.readouterr().out
    assert "Between [the] steps." in out
    assert "test accuracy" in out


def test_an_interrupt_frees_the_terminal(terminal):
    def interrupted():
        with display_events() as display:
            displays.append(display)
            display(STEP)
            raise KeyboardInterrupt

    displays = []
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert displays[0]._progress is None


@pytest.mark.parametrize("event", [STEP, Note(text="A line.")])
def test_a_bar_on_a_terminal_that_is_gone_ends_the_work_and_not_the_thread_that_draws_it(terminal, monkeypatch, event):
    class Hung(io.StringIO):
        failing = False

        def write(self, text):
            if self.failing:
                raise OSError(errno.EIO, "Input/output error")
            return super().write(text)

    stream = Hung()
    monkeypatch.setattr(sys, "stdout", CheckedStream(stream))
    with pytest.raises(OutputError, match="Input/output error"), display_events() as display:  # noqa: PT012
        display(STEP)
        stream.failing = True
        display._progress.refresh()  # as the thread does
        display(event)


def test_mixup_has_no_training_accuracy():
    event = StepResult(
        epoch=1, step=1, steps=2, loss=1.0, accuracy=math.nan, images_per_second=5.0, seconds_left=math.inf
    )
    assert observers.format_step(event) == "loss 1.000, 5 images/s, - left"


def test_a_terminal_wraps_long_lines_between_words_and_leaves_paths_whole(capsys, terminal, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    with display_events() as display:
        display(STARTED)
        display.write(f"  weights  {'x' * 50} and so on")
    lines = capsys.readouterr().out.splitlines()
    assert "  data     dogs: 180 train, 20 val" in lines
    assert "           photos, 5 classes (a, b, c," in lines
    assert any("x" * 50 in line for line in lines)


def test_a_backbone_that_the_user_did_not_name_is_explained(capsys):
    show(replace(STARTED, backbone_reason="none given; its pretrained weights are on this machine"))
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == "  backbone tiny (none given; its pretrained weights are on this machine)"
