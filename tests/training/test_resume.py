import dataclasses
import random
import signal
import threading

import numpy as np
import pytest
import safetensors.torch
import torch
from fakes import FakePlugin, SmallHead, encode_png, make_backbone_spec, make_images, make_photo
from run_files import write_json_record

import zoo
from zoo.errors import RunError, TrainingError
from zoo.events import Finished, Note, Started
from zoo.models.precision import Precision
from zoo.runs.manifest import check_folder
from zoo.runs.open import open_run
from zoo.runs.record import write_record
from zoo.training import finalize as conclusion
from zoo.training import train as training
from zoo.training.finetune import finetune, resume
from zoo.training.resume import locked_run
from zoo.utils.interrupts import Terminated

FAST = {
    "head": "counted",
    "data": "colours",
    "epochs": 3,
    "batch_size": 8,
    "optimizer": "adamw",
    "lr": 1e-3,
    "freeze": "none",
    "crop_scale": 0.35,
    "eval_crop": None,
    "device": "cpu",
    "precision": "fp32",
    "workers": 2,
}
STEPS = 5  # an epoch: 36 photos in batches of 8


class CountedHead(SmallHead):
    """Counts the steps that it is trained, and calls `on_step` within each, and `on_evaluation`."""

    steps = 0
    latest = None
    on_step = staticmethod(lambda step: None)
    on_evaluation = staticmethod(lambda step: None)

    def forward(self, features):
        if self.training and torch.is_grad_enabled():
            CountedHead.steps, CountedHead.latest = CountedHead.steps + 1, self
            CountedHead.on_step(CountedHead.steps)
        elif CountedHead.steps:
            CountedHead.on_evaluation(CountedHead.steps)
        return super().forward(features)


@pytest.fixture
def plugin():
    backbones = [make_backbone_spec(), make_backbone_spec("small-dropout", dropout=0.3)]
    return FakePlugin(backbones=backbones, heads=[zoo.HeadSpec(name="counted", build=CountedHead)])


@pytest.fixture(autouse=True)
def _ctrl_c():
    """Tests that are started in the background ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def _counted_from_zero(monkeypatch):
    monkeypatch.setattr(CountedHead, "steps", 0)
    for name in ("write_curves", "write_confusion", "write_mistakes"):
        monkeypatch.setattr(conclusion, name, lambda *args, **how: None)


@pytest.fixture
def runs(tmp_path):
    return tmp_path / "runs"


@pytest.fixture
def train(runs, registry):
    def run(backbone="small", **values):
        return finetune(backbone, **{"registry": registry, "runs": runs, **FAST, **values})

    return run


@pytest.fixture
def stopping(monkeypatch):
    """Returns a function that calls another, which a signal stops within its step `at`; returns what was told."""

    def stop(work, at, *, by=signal.SIGINT, when="on_step"):
        told = []
        monkeypatch.setattr(CountedHead, "steps", 0)
        with monkeypatch.context() as patch:
            patch.setattr(CountedHead, when, lambda step: signal.raise_signal(by) if step == at else None)
            with pytest.raises(Terminated if by == signal.SIGTERM else KeyboardInterrupt):
                work(observer=told.append)
        return told

    return stop


@pytest.fixture
def stopped(train, stopping, runs):
    """Returns a function that trains until a signal stops it within step `at`, and returns the run."""

    def stop(at, *, by=signal.SIGINT, when="on_step", **values):
        stopping(lambda observer: train(observer=observer, **values), at, by=by, when=when)
        return newest(runs)

    return stop


def newest(runs):
    return open_run(max(runs.iterdir(), key=lambda folder: folder.stat().st_ctime_ns))


def weights_of(run):
    return safetensors.torch.load_file(run.path / "model.safetensors")


def assert_same(one, other):
    """Compares weights and figures of two runs, all but how long they took."""
    ours, theirs = weights_of(one), weights_of(other)
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []
    for row, expected in zip(one.metrics(), other.metrics(), strict=True):
        assert {k: v for k, v in row.items() if "second" not in k} == {
            k: v for k, v in expected.items() if "second" not in k
        }
    assert one.results["test"] == other.results["test"]
    assert one.results["best_epoch"] == other.results["best_epoch"]


@pytest.mark.parametrize(
    ("how", "where"),
    [
        ({"at": 2, "by": signal.SIGINT}, "after step 2 of epoch 1"),
        ({"at": STEPS + 3, "by": signal.SIGTERM}, "after step 3 of epoch 2"),
        ({"at": STEPS, "when": "on_evaluation"}, "after step 5 of epoch 1"),
    ],
)
def test_a_signal_saves_at_the_next_rest_and_says_how_to_go_on(train, stopping, runs, registry, how, where):
    told = stopping(train, **how)
    run = newest(runs)
    assert told[-1].text == f"Stopped. 'zoo finetune --resume {run.path}' goes on {where}."
    assert run.record.status == "interrupted"
    again = resume(run.path, registry=registry)
    assert_same(again, train())
    assert again.finished
    assert not again.record.saved
    assert check_folder(again.path) == []
    left = {"run.json", "model.safetensors", "metrics.jsonl", "manifest.json"}
    assert {file.name for file in again.path.iterdir()} == left


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({"backbone": "small-dropout", "dropout": 0.3, "freeze_norm_stats": False}, id="dropout"),
        pytest.param({"ema": 0.8, "probe": True}, id="average"),
        pytest.param({"optimizer": "sgd", "momentum": 0.9, "mixup": 0.2, "schedule": "linear"}, id="momentum"),
        pytest.param({"freeze": "2", "views": 2, "ema": 0.9}, id="views"),
    ],
)
@pytest.mark.parametrize("at", [3, 2 * STEPS + 1])
def test_a_resumed_run_ends_as_one_that_was_never_stopped(stopped, train, registry, values, at):
    run = stopped(at, **values)
    torch.manual_seed(1234)
    assert_same(resume(run.path, registry=registry), train(**values))


def test_a_scaled_loss_goes_on_at_its_scale(stopped, train, registry, monkeypatch):
    made, loss_scaler = [], Precision.loss_scaler
    monkeypatch.setattr(Precision, "scales_loss", property(lambda precision: True))
    monkeypatch.setattr(Precision, "loss_scaler", lambda precision: made.append(loss_scaler(precision)) or made[-1])
    run = stopped(STEPS + 1)
    assert_same(resume(run.path, registry=registry), train())
    assert [each.state_dict()["_growth_tracker"] for each in made] == [STEPS + 1, 3 * STEPS, 3 * STEPS]


def test_a_run_may_be_stopped_again_and_again(stopped, stopping, train, registry):
    run = stopped(2)
    for at in (2, 5, 2):
        stopping(lambda observer: resume(run.path, registry=registry, observer=observer), at)
    assert open_run(run.path).record.saved == {"epoch": 2, "step": 1}
    assert_same(resume(run.path, registry=registry), train())


def test_the_python_and_numpy_generators_of_a_plugin_go_on_too(stopped, train, registry, monkeypatch):
    def draw(head, features, forward=SmallHead.forward):
        return forward(head, features) * (random.random() + np.random.rand() if head.training else 1)

    monkeypatch.setattr(SmallHead, "forward", draw)
    run = stopped(STEPS + 2)
    random.seed(5)
    np.random.seed(5)
    assert_same(resume(run.path, registry=registry), train())


def test_a_second_ctrl_c_ends_it_at_once_and_the_last_save_is_kept(train, runs, registry, monkeypatch):
    def twice(step):
        if step == STEPS + 2:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            pytest.fail("it went on")

    with monkeypatch.context() as patch:
        patch.setattr(CountedHead, "on_step", twice)
        with pytest.raises(KeyboardInterrupt):
            train(save_every=0)
    run = newest(runs)
    assert run.record.saved == {"epoch": 1, "step": 1}
    assert_same(resume(run.path, registry=registry), train())


def test_in_a_thread_it_trains_though_no_signal_can_be_taken_over(train):
    runs = []
    thread = threading.Thread(target=lambda: runs.append(train(epochs=1)))
    thread.start()
    thread.join()
    assert runs[0].finished
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_signals_are_as_before_afterwards(train, stopped):
    stopped(2, by=signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_run_of_which_nothing_was_saved_begins_again(train, runs, registry):
    class Stopped(Exception):  # noqa: N818
        pass

    def stop(event):
        if isinstance(event, Started):
            raise Stopped

    for values in ({"dropout": 0.3, "probe": True}, {"freeze": "all", "optimizer": "lbfgs"}):
        with pytest.raises(Stopped):
            train(observer=stop, **values)
        assert_same(resume(newest(runs).path, registry=registry), train(**values))


def test_a_frozen_run_is_stopped_at_once_and_told_to_begin_again(train, runs, stopping, registry):
    told = stopping(lambda observer: train(freeze="all", observer=observer), 2, by=signal.SIGTERM)
    run = newest(runs)
    assert told[-1].text == f"Stopped. 'zoo finetune --resume {run.path}' begins again: nothing was saved yet."
    assert_same(resume(run.path, registry=registry), train(freeze="all"))


def test_what_an_epoch_left_before_its_checkpoint_is_come_by_again(train, runs, registry, monkeypatch):
    saved = training.save_checkpoint

    def killed(folder, learner, **safe_point):
        if learner.state.epoch == 2:
            raise KeyboardInterrupt
        saved(folder, learner, **safe_point)

    with monkeypatch.context() as patch:
        patch.setattr(training, "save_checkpoint", killed)
        with pytest.raises(KeyboardInterrupt):
            train(save_every=0)
    run = newest(runs)
    assert [row["epoch"] for row in run.metrics()] == [0, 1, 2]
    assert run.record.saved == {"epoch": 1, "step": STEPS}
    assert_same(resume(run.path, registry=registry), train())


def test_the_time_of_a_resumed_run_counts_what_was_done_before(stopped, registry):
    run = stopped(STEPS + 2)
    content = torch.load(run.path / "checkpoint.pt")
    content["about"]["seconds"] += 1000
    torch.save(content, run.path / "checkpoint.pt")
    assert 1000 < resume(run.path, registry=registry).results["seconds"] < 1100


def test_a_run_goes_on_though_what_it_started_from_is_gone(train, stopped, registry):
    first = train(epochs=1)
    run = stopped(STEPS + 2, weights=str(first.weights_path))
    first.weights_path.unlink()
    resumed = resume(run.path, registry=registry)
    assert resumed.record.config["weights"] == str(first.weights_path)
    assert "loaded from" in resumed.record.weights


def test_a_finished_run_is_not_resumed(train, registry):
    run = train(epochs=1)
    with pytest.raises(RunError, match="is finished") as caught:
        resume(run.path, registry=registry)
    assert "--weights" in caught.value.hint


def test_a_run_killed_on_its_very_last_step_is_sealed(train, registry):
    run, told = train(epochs=1), []
    (run.path / "manifest.json").unlink()
    for name in ("checkpoint.pt", ".lock", ".run.json.abc.json"):
        (run.path / name).write_bytes(b"left")
    assert resume(run.path, registry=registry, observer=told.append).finished
    assert [type(event) for event in told] == [Finished]
    assert check_folder(run.path) == []
    assert not (run.path / "checkpoint.pt").exists()
    assert [file.name for file in run.path.iterdir() if file.name.startswith(".")] == []


def test_two_processes_cannot_train_one_run(stopped, registry):
    run = stopped(2)
    with locked_run(run.path), pytest.raises(RunError, match=f"Another process is training {run.path}"):
        resume(run.path, registry=registry)
    assert open_run(run.path).record.status == "interrupted"
    assert resume(run.path, registry=registry).finished


def test_what_was_killed_in_a_save_leaves_nothing_behind(stopped, registry):
    run = stopped(2)
    (run.path / ".checkpoint.pt.q8x3.pt").write_bytes(b"half")
    resume(run.path, registry=registry)
    assert [file.name for file in run.path.iterdir() if file.name.startswith(".")] == []


def test_changed_photos_are_named_and_refused(stopped, registry, plugin):
    run = stopped(STEPS + 2)
    first, second, *safe_point = plugin.dataset.train
    another = first._replace(source=encode_png(make_photo(0, 99)))
    relabelled = second._replace(label=2)
    new = first._replace(name="train/red/new.png")
    plugin.dataset = make_images(train=(another, relabelled, *safe_point, new), val=plugin.dataset.val[1:])
    with pytest.raises(RunError) as caught:
        resume(run.path, registry=registry)
    assert caught.value.message.splitlines() == [
        f"{run.path} would not go on as the run that it was begun as:",
        "  train photos that are new: train/red/new.png",
        "  train photos with another content or label: train/green/0.png, train/red/0.png",
        "  val photos that are gone: val/red/0.png",
    ]
    assert "--resume-anyway" in caught.value.hint
    assert open_run(run.path).record == run.record


def test_changed_code_and_configuration_are_told_and_refused(stopped, registry):
    run = stopped(STEPS + 2)
    record = run.record.to_json()
    record["config"]["lr"] = 0.5
    record["packages"]["torch"] = "1.0"
    record["sources"]["fakes"] = "0" * 12
    write_json_record(run.path, record, version=2)
    with pytest.raises(RunError) as caught:
        resume(run.path, registry=registry)
    items = caught.value.message.splitlines()[1:]
    assert items[0] == "  option lr: was 0.001, is 0.5"
    assert items[1] == f"  version of torch: was 1.0, is {run.record['packages']['torch']}"
    assert items[2] == f"  source code of fakes: was {'0' * 12}, is {run.record['sources']['fakes']}"
    assert len(items) == 3


def test_who_insists_goes_on_and_the_record_tells(stopped, registry, plugin):
    run, notes = stopped(STEPS + 2), []
    plugin.dataset = make_images(train=plugin.dataset.train[1:])
    again = resume(run.path, registry=registry, anyway=True, observer=notes.append)
    what = ["train photos that are gone: train/red/0.png"]
    assert [change["what"] for change in again.record.changed] == [what]
    assert again.record.data.counts["train"] == 35
    warning = next(event for event in notes if isinstance(event, Note))
    assert warning.warning
    assert warning.text == f"Something has changed since the run was begun: {what[0]}."


def test_another_machine_is_told(stopped, registry):
    run, notes = stopped(2), []
    write_record(run.path, run.record.with_hardware(threads=64))
    resume(run.path, registry=registry, observer=lambda e: notes.append(e.text) if isinstance(e, Note) else None)
    assert "begun on another machine (threads 64 -> 1)" in notes[0]


def test_a_broken_configuration_or_checkpoint_is_told(stopped, registry):
    run = stopped(2)
    for content in (b"not a checkpoint", b""):
        (run.path / "checkpoint.pt").write_bytes(content)
        with pytest.raises(RunError, match=r"checkpoint\.pt cannot be read"):
            resume(run.path, registry=registry)
    torch.save({"epoch": 3}, run.path / "checkpoint.pt")
    with pytest.raises(RunError, match="is no checkpoint that this version writes"):
        resume(run.path, registry=registry)
    write_record(run.path, dataclasses.replace(run.record, config={"backbone": "small", "colour": "red"}))
    with pytest.raises(RunError, match=r"'config' in run\.json is not readable"):
        resume(run.path, registry=registry)


def test_spoilt_weights_end_the_run_and_do_not_take_the_place_of_good_ones(train, runs, registry, monkeypatch):
    def spoil(step):
        if step == STEPS + 2:
            CountedHead.latest.linear.weight.data.fill_(torch.inf)

    monkeypatch.setattr(CountedHead, "on_step", spoil)
    with pytest.raises(TrainingError, match=r"after step 2 of epoch 2, at a learning rate of ") as caught:
        train(save_every=0)
    assert "--lr" in caught.value.hint
    run = newest(runs)
    assert run.record.saved == {"epoch": 1, "step": 1}
    assert all(tensor.isfinite().all() for tensor in weights_of(run).values())


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_the_same_seed_gives_the_same_weights_whatever_the_number_of_workers(train, workers):
    assert_same(train(workers=3, cache="memory"), train(workers=workers, cache="off"))
