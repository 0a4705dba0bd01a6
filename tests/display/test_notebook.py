import sys
from types import SimpleNamespace

import pytest

import zoo
from zoo.display import console
from zoo.display.notebook import NotebookDisplay
from zoo.display.observers import LineDisplay, LiveDisplay
from zoo.display.progress import choose_observer
from zoo.events import EpochResult, Finished, Note, Started, StepResult, Work, ignore

STARTED = Started(
    run="tiny-linear-dogs-1",
    backbone="acme/tiny",
    head="heads/linear",
    weights="none",
    data="dogs",
    images={"train": 8, "val": 2},
    classes=("<cat>", "dog"),
    parameters=100,
    trainable=100,
    device="cpu",
    precision="fp32",
    epochs=2,
    steps=4,
)
STEP = StepResult(epoch=1, step=1, steps=4, loss=0.5, accuracy=0.75, images_per_second=8.0, seconds_left=3.0)
EPOCH = EpochResult(
    epoch=1,
    train_loss=0.5,
    train_accuracy=0.75,
    val_loss=0.25,
    val_accuracy=0.875,
    learning_rate=0.001,
    seconds=2.0,
    images_per_second=8.0,
    best=True,
)
RESULTS = {"test": {"accuracy": 0.9, "interval": [0.8, 0.95], "count": 10}, "seconds": 5.0}
FINISHED = Finished(path="runs/tiny-linear-dogs-1", results=RESULTS)


@pytest.fixture
def outputs(monkeypatch):
    """The outputs of a notebook's cell: lists of the contents that each has had."""
    shown = {}

    def display(content, *, raw, display_id, update=False):
        assert raw
        assert update == (display_id in shown)
        shown.setdefault(display_id, []).append(content)

    shell = SimpleNamespace(kernel=object())
    ipython = SimpleNamespace(get_ipython=lambda: shell, display=SimpleNamespace(display=display))
    modules = {"IPython": ipython, "IPython.display": ipython.display}
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    return shown


def test_a_training_is_one_output_that_is_updated(outputs):
    display = NotebookDisplay()
    for event in (Work(what="decode train", done=1, total=8), Note(text="A note."), STARTED, STEP, EPOCH, FINISHED):
        display(event)
    (contents,) = outputs.values()
    first, last = contents[0]["text/html"], contents[-1]["text/html"]
    assert "decode train" in first
    assert "12 %" in first
    assert "decode train" not in last
    for text in ("A note.", "&lt;cat&gt;, dog", "87.5 %", "1/2", "90.0 % ± 7.5", "runs/tiny-linear-dogs-1"):
        assert text in last
    assert "<cat>" not in last
    assert "test accuracy 90.0 % ± 7.5 (10 photos)" in contents[-1]["text/plain"]


def test_a_bar_moves_a_few_times_a_second_only(outputs):
    display = NotebookDisplay()
    display(STARTED)
    for _ in range(1000):
        display(STEP)
    (contents,) = outputs.values()
    assert len(contents) < 20
    assert "epoch 1/2" in display._render()


def test_work_that_is_done_shows_no_bar(outputs):
    display = NotebookDisplay()
    display(Work(what="decode test", done=3, total=4))
    display(Work(what="decode test", done=4, total=4))
    (contents,) = outputs.values()
    assert "decode test" not in contents[-1]["text/html"]


def test_the_next_training_has_an_output_of_its_own(outputs):
    display = NotebookDisplay()
    for event in (STARTED, EPOCH, FINISHED, Note(text="Run 2 of 2."), STARTED, EPOCH, FINISHED):
        display(event)
    first, second = (contents[-1]["text/html"] for contents in outputs.values())
    assert "Run 2 of 2." not in first
    assert "Run 2 of 2." in second


def test_progress_fits_its_place(monkeypatch, outputs):
    assert type(zoo.progress()) is NotebookDisplay
    monkeypatch.setitem(sys.modules, "IPython", None)
    assert type(zoo.progress()) is LineDisplay
    monkeypatch.setattr(console, "on_terminal", lambda: True)
    live = zoo.progress()
    assert type(live) is LiveDisplay
    assert not live.next_steps


def test_progress_is_shown_by_default_in_ipython_only(monkeypatch, outputs):
    assert type(choose_observer(None)) is NotebookDisplay
    assert choose_observer(ignore) is ignore
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: None))
    assert choose_observer(None) is ignore


def test_a_script_sees_lines(capsys):
    progress = zoo.progress()
    for event in (STARTED, EPOCH, FINISHED):
        progress(event)
    out = capsys.readouterr().out
    assert "tiny-linear-dogs-1" in out
    assert "test accuracy 90.0 % ± 7.5 (10 photos)" in out
    assert "Next steps" not in out
