import dataclasses
import os
import random
import signal
import threading

import numpy as np
import pytest
import torch
from counting_head import CountingHead
from fakes import SmallHead
from training_runs import STEPS, EventRecorder, assert_same_results, latest_run, press_ctrl_c, read_weights

from zoo.display.stdout import OutputError
from zoo.errors import RunError, TrainingError
from zoo.events import EpochResult, Finished, Started
from zoo.models.precision import Precision
from zoo.runs.manifest import check_folder
from zoo.runs.open import open_run
from zoo.runs.record import write_record
from zoo.training import train as training
from zoo.training.resume import locked_run


@pytest.mark.parametrize(
    ("signal_", "place"),
    [
        ({"at": 2, "by": signal.SIGINT}, "after step 2 of epoch 1"),
        ({"at": STEPS + 3, "by": signal.SIGTERM}, "after step 3 of epoch 2"),
        ({"at": STEPS, "when": "on_evaluation"}, "after step 5 of epoch 1"),
        pytest.param(
            {"at": 3, "by": getattr(signal, "SIGHUP", None)},
            "after step 3 of epoch 1",
            marks=pytest.mark.skipif(os.name != "posix", reason="Windows has no SIGHUP"),
        ),
    ],
)
def test_a_signal_saves_at_the_next_safe_point_and_the_run_can_be_resumed(
    train, interrupt, resume, runs, signal_, place
):
    notes = interrupt(train, **signal_)
    run = latest_run(runs)
    assert notes[-1] == f"Stopped. 'zoo finetune --resume {run.path}' resumes it {place}."
    assert run.record.status == "interrupted"
    resumed = resume(run.path)
    assert_same_results(resumed, train())
    assert resumed.finished
    assert not resumed.record.saved
    assert check_folder(resumed.path) == []
    files = {
        "run.json",
        "photos.json",
        "model.safetensors",
        "familiarity.safetensors",
        "metrics.jsonl",
        "manifest.json",
    }
    assert {file.name for file in resumed.path.iterdir()} == files


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({"backbone": "small-dropout", "dropout": 0.3, "freeze_norm_stats": False}, id="dropout"),
        pytest.param({"ema": 0.8, "probe": True}, id="average"),
        pytest.param({"optimizer": "sgd", "momentum": 0.9, "mixup": 0.2, "schedule": "linear"}, id="momentum"),
        pytest.param({"freeze": "2", "views": 2, "ema": 0.9}, id="views"),
        pytest.param({"optimizer": "schedule-free-adamw", "schedule": "constant", "save_every": 0}, id="schedule-free"),
        pytest.param({"optimizer": "lbfgs", "optimizer_options": {"full_batch": False}, "mixup": 0.2}, id="lbfgs"),
        pytest.param(
            {"optimizer": "cg", "optimizer_options": {"full_batch": False, "iterations": 2}, "schedule": "one-cycle"},
            id="cg",
        ),
        pytest.param(
            {"class_weights": "balanced", "sampler": "balanced", "loss": "focal", "mixup": 0.2},
            id="weights and sampler",
        ),
        pytest.param({"freeze": "2", "views": 2, "sampler": "sqrt", "logit_adjustment": 1.0}, id="sampler and views"),
        pytest.param({"augment": ("trivialaugment", "random-erasing", "mixup", "cutmix")}, id="augmented"),
    ],
)
@pytest.mark.parametrize("at", [3, 2 * STEPS + 1])
def test_a_resumed_run_ends_as_one_that_was_never_stopped(stop, train, resume, values, at):
    run = stop(at, **values)
    torch.manual_seed(1234)
    assert_same_results(resume(run.path), train(**values))


def test_a_resumed_run_continues_with_the_scale_of_its_loss(stop, train, resume, monkeypatch):
    scalers, loss_scaler = [], Precision.loss_scaler
    monkeypatch.setattr(Precision, "scales_loss", property(lambda precision: True))
    monkeypatch.setattr(
        Precision, "loss_scaler", lambda precision: scalers.append(loss_scaler(precision)) or scalers[-1]
    )
    run = stop(STEPS + 1)
    assert_same_results(resume(run.path), train())
    assert [each.state_dict()["_growth_tracker"] for each in scalers] == [STEPS + 1, 3 * STEPS, 3 * STEPS]


def test_a_run_can_be_stopped_repeatedly(stop, interrupt, train, resume):
    run = stop(2)
    for at in (2, 5, 2):
        interrupt(lambda observer: resume(run.path, observer=observer), at)
    assert open_run(run.path).record.saved == {"epoch": 2, "step": 1}
    assert_same_results(resume(run.path), train())


def test_the_python_and_numpy_generators_that_a_plugin_uses_are_resumed_too(stop, train, resume, monkeypatch):
    def forward(head, features, original=SmallHead.forward):
        return original(head, features) * (random.random() + np.random.rand() if head.training else 1)

    monkeypatch.setattr(SmallHead, "forward", forward)
    run = stop(STEPS + 2)
    random.seed(5)
    np.random.seed(5)
    assert_same_results(resume(run.path), train())


def test_a_second_ctrl_c_ends_the_run_at_once_and_the_last_save_is_kept(train, resume, runs, monkeypatch):
    def interrupt_twice(step):
        if step == STEPS + 2:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            pytest.fail("it continued")

    with monkeypatch.context() as patch:
        patch.setattr(CountingHead, "on_step", interrupt_twice)
        with pytest.raises(KeyboardInterrupt):
            train(save_every=0)
    run = latest_run(runs)
    assert run.record.saved == {"epoch": 1, "step": 1}
    assert_same_results(resume(run.path), train())


def test_training_works_in_a_thread_where_signals_cannot_be_handled(train):
    runs = []
    thread = threading.Thread(target=lambda: runs.append(train(epochs=1)))
    thread.start()
    thread.join()
    assert runs[0].finished
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("error", [BrokenPipeError(), OutputError(OSError(28, "No space left on device"))])
def test_an_output_that_cannot_be_written_saves_at_the_next_safe_point(train, resume, runs, error):
    def fail():
        raise error

    observer = EventRecorder(lambda event: isinstance(event, EpochResult), fail)
    with pytest.raises(type(error)):
        train(observer=observer)
    run = latest_run(runs)
    assert (run.record.status, run.record.saved) == ("interrupted", {"epoch": 1, "step": 1})
    assert_same_results(resume(run.path), train())


def test_signal_handlers_are_restored(stop):
    stop(2, by=signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("values", [{"dropout": 0.3, "probe": True}, {"freeze": "all", "optimizer": "lbfgs"}])
def test_a_run_that_was_not_saved_starts_again(train, resume, runs, values):
    class StoppedError(Exception):
        pass

    def stop():
        raise StoppedError

    with pytest.raises(StoppedError):
        train(observer=EventRecorder(lambda event: isinstance(event, Started), stop), **values)
    assert_same_results(resume(latest_run(runs).path), train(**values))


def test_a_run_with_a_frozen_backbone_stops_at_once_and_starts_again(train, resume, runs, interrupt):
    notes = interrupt(lambda observer: train(freeze="all", observer=observer), 2, by=signal.SIGTERM)
    run = latest_run(runs)
    assert notes[-1] == f"Stopped. 'zoo finetune --resume {run.path}' starts it again: nothing was saved yet."
    assert_same_results(resume(run.path), train(freeze="all"))


def test_an_epoch_that_was_saved_without_its_checkpoint_is_repeated(train, resume, runs, monkeypatch):
    save_checkpoint = training.save_checkpoint

    def interrupt_second_epoch(folder, learner, **kwargs):
        if learner.state.epoch == 2:
            press_ctrl_c()
        save_checkpoint(folder, learner, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(training, "save_checkpoint", interrupt_second_epoch)
        with pytest.raises(KeyboardInterrupt):
            train(save_every=0)
    run = latest_run(runs)
    assert [row["epoch"] for row in run.metrics()] == [1, 2]
    assert run.record.saved == {"epoch": 1, "step": STEPS}
    assert_same_results(resume(run.path), train())


def test_the_time_of_a_resumed_run_includes_the_time_before(stop, resume):
    run = stop(STEPS + 2)
    content = torch.load(run.path / "checkpoint.pt")
    content["about"]["seconds"] += 1000
    torch.save(content, run.path / "checkpoint.pt")
    assert 1000 < resume(run.path).results["seconds"] < 1100


def test_a_run_can_be_resumed_without_the_weights_that_it_started_from(train, stop, resume):
    first = train(epochs=1)
    run = stop(STEPS + 2, weights=str(first.weights_path))
    first.weights_path.unlink()
    resumed = resume(run.path)
    assert resumed.record.config["weights"] == str(first.weights_path)
    assert "loaded from" in resumed.record.weights


def test_a_finished_run_is_not_resumed(train, resume):
    run = train(epochs=1)
    with pytest.raises(RunError, match="is finished") as caught:
        resume(run.path)
    assert "--weights" in caught.value.hint


def test_a_run_that_was_killed_at_its_very_end_is_completed(train, resume):
    run, events = train(epochs=1), []
    (run.path / "manifest.json").unlink()
    for name in ("checkpoint.pt", ".lock", ".run.json.abc.json"):
        (run.path / name).write_bytes(b"left")
    assert resume(run.path, observer=events.append).finished
    assert [type(event) for event in events] == [Finished]
    assert check_folder(run.path) == []
    assert not (run.path / "checkpoint.pt").exists()
    assert [file.name for file in run.path.iterdir() if file.name.startswith(".")] == []


def test_two_processes_cannot_train_the_same_run(stop, resume):
    run = stop(2)
    with locked_run(run.path), pytest.raises(RunError, match=f"Another process is training {run.path}"):
        resume(run.path)
    assert open_run(run.path).record.status == "interrupted"
    assert resume(run.path).finished


def test_temporary_files_of_a_killed_save_are_removed(stop, resume):
    run = stop(2)
    (run.path / ".checkpoint.pt.q8x3.pt").write_bytes(b"half")
    resume(run.path)
    assert [file.name for file in run.path.iterdir() if file.name.startswith(".")] == []


def test_a_damaged_configuration_or_checkpoint_is_an_error(stop, resume):
    run = stop(2)
    for content in (b"not a checkpoint", b""):
        (run.path / "checkpoint.pt").write_bytes(content)
        with pytest.raises(RunError, match=r"checkpoint\.pt cannot be read"):
            resume(run.path)
    torch.save({"epoch": 3}, run.path / "checkpoint.pt")
    with pytest.raises(RunError, match="is not a checkpoint that this version can read"):
        resume(run.path)
    write_record(run.path, dataclasses.replace(run.record, config={"backbone": "small", "colour": "red"}))
    with pytest.raises(RunError, match=r"'config' in run\.json"):
        resume(run.path)


def test_weights_that_are_not_finite_end_the_run_and_are_not_saved(train, runs, monkeypatch):
    def corrupt(step):
        if step == STEPS + 2:
            CountingHead.latest.linear.weight.data.fill_(torch.inf)

    monkeypatch.setattr(CountingHead, "on_step", corrupt)
    with pytest.raises(TrainingError, match=r"in step 2 of epoch 2, at a learning rate of ") as caught:
        train(save_every=0)
    assert "--lr" in caught.value.hint
    run = latest_run(runs)
    assert run.record.saved == {"epoch": 1, "step": 1}
    assert all(tensor.isfinite().all() for tensor in read_weights(run).values())


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_the_number_of_workers_does_not_change_the_result(train, workers):
    assert_same_results(train(workers=3, cache="memory"), train(workers=workers, cache="off"))
