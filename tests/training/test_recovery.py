"""Files of a stopped run that are empty, zeroed or torn: restored, or refused before anything is trained."""

import pytest
from training_runs import EventRecorder, after_epoch, assert_same_weights, latest_run

from zoo.errors import RunError
from zoo.events import EpochResult
from zoo.training.recovery import check_remains, describe_files, has_lost_weights

DAMAGES = {
    "empty": lambda content: b"",
    "zeros": lambda content: bytes(len(content)),
    "torn": lambda content: content[:-9],
    "not text": lambda content: b"\xff" + content,
}
RESTORED = "{} was damaged, and was restored from the checkpoint."


@pytest.fixture
def options():
    return {"epochs": 4, "lr": 1e-2, "save_every": 0}


@pytest.fixture
def stop(train, runs):
    """Returns a function that trains for some epochs, and returns the run, which can be resumed."""

    def stop_training(epochs, **values):
        with pytest.raises(KeyboardInterrupt):
            train(observer=EventRecorder(after_epoch(epochs)), **values)
        return latest_run(runs)

    return stop_training


def best_epochs(run):
    return [row["epoch"] for row in run.metrics() if row["best"]]


def damage(path, how):
    path.write_bytes(DAMAGES[how](path.read_bytes()))


@pytest.mark.parametrize("how", DAMAGES)
def test_damaged_metrics_are_restored(stop, train, resume, how):
    whole = train()
    run = stop(2)
    damage(run.path / "metrics.jsonl", how)
    observer = EventRecorder()
    resumed = resume(run.path, observer=observer)
    assert [row["val_loss"] for row in resumed.metrics()] == [row["val_loss"] for row in whole.metrics()]
    assert_same_weights(resumed, whole)
    assert RESTORED.format("metrics.jsonl") in observer.notes


@pytest.mark.parametrize("how", ["empty", "zeros", "torn"])
@pytest.mark.parametrize("ema", [None, 0.5])
def test_damaged_weights_of_the_epoch_of_the_checkpoint_are_restored(stop, train, resume, how, ema):
    whole = train(ema=ema)
    run = stop(best_epochs(whole)[-1] if best_epochs(whole)[-1] < 4 else 3, ema=ema)
    assert best_epochs(run)[-1] == run.record.saved["epoch"], "choose options with which this epoch is the best"
    damage(run.path / "model.safetensors", how)
    resumed = resume(run.path)
    assert_same_weights(resumed, whole)


def test_damaged_weights_of_an_earlier_epoch_are_refused_before_training(stop, resume, monkeypatch):
    monkeypatch.setattr("zoo.training.state.TrainState.improve", lambda state, *_, **__: first_only(state))
    run = stop(3)
    assert best_epochs(run) == [1]
    damage(run.path / "model.safetensors", "torn")
    observer = EventRecorder()
    with pytest.raises(RunError, match=r"model\.safetensors is damaged: it is not what was saved after epoch 1"):
        resume(run.path, observer=observer)
    assert not [event for event in observer.events if isinstance(event, EpochResult)]


def first_only(state):
    if state.best_epoch >= 0:
        return False
    state.best_epoch, state.best_accuracy, state.best_loss = state.epoch, 0.5, 1.0
    return True


def test_a_run_that_was_never_saved_starts_again_over_damaged_metrics(train, resume, runs):
    whole = train(freeze="all", optimizer="adamw")
    with pytest.raises(KeyboardInterrupt):
        train(freeze="all", optimizer="adamw", observer=EventRecorder(after_epoch(1)))
    run = latest_run(runs)
    damage(run.path / "metrics.jsonl", "not text")
    assert_same_weights(resume(run.path), whole)


def test_a_later_epoch_may_have_replaced_the_weights(stop):
    run = stop(1)
    metadata = {"epoch": 1, "step": 0, "best_epoch": 1, **describe_files(run.path)}
    assert not has_lost_weights(run.path, metadata)
    (run.path / "model.safetensors").write_bytes(b"those of the next epoch")
    assert has_lost_weights(run.path, metadata)
    assert not has_lost_weights(run.path, {**metadata, "epoch": 0})


def test_a_checkpoint_of_an_earlier_version_needs_its_metrics(stop):
    run = stop(1)
    metadata = {"epoch": 1, "step": 0, "best_epoch": 1}
    check_remains(run.path, metadata, lambda event: None)
    damage(run.path / "metrics.jsonl", "empty")
    with pytest.raises(RunError, match=r"metrics\.jsonl is damaged: it has no row for epoch 1"):
        check_remains(run.path, metadata, lambda event: None)


def test_a_probe_that_was_fitted_once_more_before_the_run_was_killed_is_no_damage(train, resume, runs, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    whole = train(probe=True, refit=True, lr=1e-9, epochs=2)
    assert whole.results["best_epoch"] == 0, "choose options with which the probe stays"
    with monkeypatch.context() as patch:
        patch.setattr("zoo.training.finalize._results", killed)  # after the probe was fitted and saved again
        with pytest.raises(KeyboardInterrupt):
            train(probe=True, refit=True, lr=1e-9, epochs=2)
    run = latest_run(runs)
    assert resume(run.path).finished
    metadata = {"epoch": 1, "step": 0, "best_epoch": 0, **describe_files(run.path)}
    assert not has_lost_weights(run.path, {**metadata, "weights": "0" * 64})
    damage(run.path / "model.safetensors", "torn")
    assert has_lost_weights(run.path, metadata)
