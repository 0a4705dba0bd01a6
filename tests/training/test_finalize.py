import math
from statistics import fmean

import pytest
from fakes import CLASSES, make_images
from training_runs import FAST, EventRecorder

import zoo_heads
from zoo.config import make_config
from zoo.events import EpochResult, Work
from zoo.inference.run_predictor import load
from zoo.models import engines
from zoo.training import finalize
from zoo.training.distributed.process_group import SINGLE_PROCESS
from zoo.training.finetune import run_request
from zoo.training.request import TrainingRequest, resolve_names


@pytest.fixture
def pictures(monkeypatch):
    """The arguments with which pictures were written."""
    calls = []
    monkeypatch.setattr(finalize, "write_pictures", lambda folder, **kwargs: calls.append({"folder": folder, **kwargs}))
    return calls


def test_the_results_are_those_of_the_best_epoch(train):
    run = train(epochs=4, lr=0.05)
    best = [row for row in run.metrics() if row["best"]][-1]
    assert run.results["best_epoch"] == best["epoch"]
    assert run.results["val"]["accuracy"] == best["val_accuracy"]
    assert run.results["val"]["loss"] == pytest.approx(best["val_loss"], rel=1e-3)


def test_results_are_finite_even_with_mixup(train):
    run = train(mixup=0.4, epochs=1)
    assert run.metrics()[0]["train_accuracy"] is None
    assert all(math.isfinite(value) for value in run.results["test"].values() if isinstance(value, float))


def test_pictures_show_the_test_split(train, pictures):
    run = train(epochs=2, pictures=True)
    (call,) = pictures
    assert call["folder"] == run.path
    assert call["rows"] == run.metrics()
    assert call["split"] == "test"
    assert call["evaluation"].count == 18
    assert call["evaluation"].accuracy == run.results["test"]["accuracy"]
    assert len(call["mistakes"]) == round(18 * (1 - run.results["test"]["accuracy"]))


def test_without_a_test_split_the_validation_split_is_evaluated_and_shown(train, plugin, pictures):
    plugin.dataset = make_images(test=())
    observer = EventRecorder()
    run = train(epochs=1, observer=observer, pictures=True)
    assert "test" not in run.results
    assert run.results["val"]["count"] == 12
    assert any("no test split" in note for note in observer.notes)
    assert [(call["split"], call["evaluation"].count) for call in pictures] == [("validation", 12)]


def test_pictures_are_optional(train, pictures):
    train(epochs=1, pictures=False)
    assert pictures == []


def test_training_that_stopped_early_is_explained(train, monkeypatch):
    monkeypatch.setattr("zoo.training.state.is_lower", lambda losses, others, errors=1.0: False)
    run = train(epochs=6, patience=2)
    assert [row["epoch"] for row in run.metrics()] == [1, 2, 3]  # the first is the lowest so far, the next two are not
    reason = "the validation loss did not fall by more than its standard error"
    assert run.results["stopped"] == f"after epoch 3 of 6: {reason}"


def test_patience_follows_the_monitored_value(train):
    """A learning rate of 0: nothing changes after the first epoch."""
    run = train(epochs=6, lr=0.0, patience=2, monitor="balanced-accuracy")
    assert [row["epoch"] for row in run.metrics()] == [1, 2, 3]
    assert run.results["stopped"] == "after epoch 3 of 6: balanced-accuracy did not improve"


@pytest.mark.parametrize(
    "values", [{"epochs": 3, "patience": None}, {"epochs": 1, "patience": 1}], ids=["no patience", "last epoch"]
)
def test_training_that_took_all_its_epochs_has_not_stopped(train, monkeypatch, values):
    monkeypatch.setattr("zoo.training.state.is_lower", lambda losses, others, errors=1.0: False)
    run = train(**values)
    assert len(run.metrics()) == values["epochs"]
    assert "stopped" not in run.results


@pytest.fixture
def heads(plugin):
    plugin.heads = [*zoo_heads.zoo_heads(), *plugin.heads]


@pytest.mark.usefixtures("heads")
@pytest.mark.parametrize(
    "values",
    [
        {"probe": True, "epochs": 1, "lr": 1e-9},
        {"probe": False, "epochs": 2},
        {"freeze": "all", "optimizer": "lbfgs", "weight_decay": "auto", "epochs": 1},
    ],
    ids=["probe", "fine-tuned", "frozen"],
)
@pytest.mark.parametrize("engine", ["torch", "onnxruntime"])
def test_test_results_are_those_of_the_saved_weights(train, registry, plugin, values, engine, monkeypatch, tmp_path):
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    seconds = {"torch": 10.0, "onnxruntime": 1.0 if engine == "onnxruntime" else 20.0}
    monkeypatch.setattr(engines, "_time", lambda calls: {name: [seconds[name]] * 2 for name in calls})
    run = train(**values, head="linear", head_options={"stages": 3})
    assert run.record.hardware["engine"]["name"] == engine
    assert (run.results["best_epoch"] == 0) == values.get("probe", False)
    predictor = load(run, device="cpu", precision="fp32", registry=registry)
    losses, right = [], []
    for sample in plugin.dataset.test:
        prediction = predictor.predict(sample.source)
        losses.append(-math.log(prediction.probabilities[CLASSES[sample.label]]))
        right.append(prediction.label == CLASSES[sample.label])
    assert run.results["test"]["loss"] == pytest.approx(fmean(losses), rel=1e-3)
    assert run.results["test"]["accuracy"] == pytest.approx(fmean(right))


@pytest.mark.parametrize(("cache", "notes"), [("off", 1), ("memory", 0)])
def test_photos_that_change_while_they_are_decoded_again_and_again_are_reported(train, tmp_path, cache, notes):
    samples = make_images().train
    for number, sample in enumerate(samples):
        path = tmp_path / "photos" / str(sample.label) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(sample.source)

    class Replace(EventRecorder):
        def __call__(self, event):
            super().__call__(event)
            if isinstance(event, EpochResult) and event.epoch == 1:
                for photo in (tmp_path / "photos").glob("*/*.png"):
                    photo.write_bytes(samples[-1].source)

    observer = Replace()
    run = train(data=str(tmp_path / "photos"), cache=cache, epochs=2, observer=observer)
    found = [note for note in observer.notes if "train photos changed during training; the first: " in note]
    assert len(found) == notes
    assert ("train" in run.record.data.changed) == bool(notes)


@pytest.mark.parametrize("values", [{"epochs": 1}, {"freeze": "all", "optimizer": "lbfgs"}])
def test_a_trial_keeps_the_scores_of_validation_photos_and_leaves_the_test_photos_alone(registry, runs, values):
    config = make_config("small", registry=registry, **{**FAST, **values})
    scores, observer = {}, EventRecorder()
    request = TrainingRequest(
        config=config,
        names=resolve_names(config, registry=registry),
        runs=runs,
        observer=observer,
        processes=SINGLE_PROCESS,
        registry=registry,
        started=0.0,
        pictures=False,
        trial=True,
        scores=scores,
    )
    run = run_request(request)
    assert run.results["val"]["accuracy"] == scores["val"].correct.mean()
    assert run.results["val"]["loss"] == pytest.approx(scores["val"].losses.mean(), rel=1e-4)
    assert "test" not in run.results
    assert not [event for event in observer.events if isinstance(event, Work) and "test" in event.what]
