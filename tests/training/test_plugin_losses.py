"""Losses and metrics of third-party plugins in whole runs."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from fakes import FakePlugin, encode_png, make_photo, make_registry
from torch.nn import functional as F
from training_runs import EventRecorder, after_epoch, assert_same_results, latest_run, read_weights

import zoo
from zoo.errors import PluginError, UnknownNameError
from zoo.inference.evaluate import evaluate
from zoo.inference.run_predictor import load
from zoo.plugins.options import option
from zoo.runs.open import open_run

PHOTO = encode_png(make_photo(0, 1))


@dataclasses.dataclass(frozen=True, kw_only=True)
class SteepOptions:
    steepness: float = option(1.0, help="How steep it is.")


def steep(request):
    def loss(logits, targets):
        soft = F.one_hot(targets, logits.shape[1]).to(logits) if targets.ndim == 1 else targets
        return request.options.steepness * F.binary_cross_entropy_with_logits(logits, soft)

    return loss


def fails_in_training(request):
    calls = []

    def loss(logits, targets):
        calls.append(logits)
        if len(calls) > 6:
            raise IndexError("bad luck")
        return F.cross_entropy(logits, targets)

    return loss


def greenness(request):
    """Returns the mean probability of green: not what training improves."""
    return {"greenness": float(request.probabilities[:, 1].mean()), "photos": len(request.targets)}


def fails_for_few(request):
    if len(request.targets) < 20:
        raise IndexError("too few")
    return {"many": 1.0}


def make_acme(**changes):
    """Returns plugins with the losses `steep` and `failing` and the metrics `greenness` and `picky`."""
    plugin = FakePlugin()
    losses = [
        zoo.LossSpec(name="steep", build=steep, activation="sigmoid", options=SteepOptions),
        zoo.LossSpec(name="failing", build=fails_in_training),
    ]
    metrics = [
        zoo.MetricSpec(name="greenness", compute=greenness, higher_is_better=False),
        zoo.MetricSpec(name="picky", compute=fails_for_few),
    ]
    if changes.get("losses", True):
        plugin.zoo_losses = zoo.hookimpl(lambda: losses)
    plugin.zoo_metrics = zoo.hookimpl(lambda: metrics)
    return make_registry(plugin, "acme")


@pytest.fixture
def registry():
    return make_acme()


def test_a_loss_trains_and_the_finished_run_needs_no_loss(train, registry):
    run = train(loss="steep", loss_options={"steepness": 2}, label_smoothing=0.1, mixup=0.2)
    assert run.record.parts["loss"] == ("acme/steep",)
    assert run.record.activation == "sigmoid"
    assert run.record.plugins["acme:acme"] == "1.2"
    without = make_acme(losses=False)
    predictor = load(run, device="cpu", registry=without)
    assert predictor.classifier.head.criterion.activation == "sigmoid"
    assert all(0 <= each <= 1 for each in predictor.predict(PHOTO).probabilities.values())
    assert evaluate(run, device="cpu", registry=without).accuracy == run.results["test"]["accuracy"]


def test_the_options_of_a_loss_change_the_training(train):
    flat, other = (read_weights(train(loss="steep", loss_options={"steepness": value})) for value in (1, 50))
    assert not all(torch.equal(flat[name], other[name]) for name in flat)


@pytest.mark.parametrize("optimizer", ["lbfgs", "cg"])
def test_a_loss_is_minimised_over_all_photos_at_once(train, optimizer):
    run = train(loss="steep", freeze="all", optimizer=optimizer)
    assert run.record.activation == "sigmoid"
    assert run.results["val"]["accuracy"] > 0.5


def test_a_loss_trains_a_head_on_frozen_features_in_steps(train):
    rows = train(loss="steep", freeze="all", lr=0.01, ema=None).metrics()
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]


def test_a_stopped_run_resumes_bit_for_bit_with_loss_and_metrics(train, resume, runs):
    values = {"loss": "steep", "metric": ("greenness", "recall"), "monitor": "greenness", "ema": None, "patience": 2}
    whole = train(**values)
    with pytest.raises(KeyboardInterrupt):
        train(observer=EventRecorder(after_epoch(1)), **values)
    stopped = latest_run(runs)
    assert_same_results(resume(stopped.path), whole)


def test_resuming_names_the_missing_plugin_of_a_loss(train, resume, runs):
    with pytest.raises(KeyboardInterrupt):
        train(observer=EventRecorder(after_epoch(1)), loss="steep")
    stopped = latest_run(runs)
    record = dataclasses.replace(stopped.record, plugins={"fake:fake": "1", "acme-losses:steep": "1.3"})
    record = dataclasses.replace(record, parts={"loss": ("acme-losses/steep",)})
    stopped = dataclasses.replace(stopped, record=record)
    with pytest.raises(UnknownNameError) as caught:
        resume(stopped, registry=make_acme(losses=False))
    assert "needs the loss 'acme-losses/steep' of the plugin acme-losses 1.3, which is not installed" in str(
        caught.value
    )
    assert "pip install acme-losses==1.3" in caught.value.hint


def test_a_loss_that_raises_in_training_is_named(train):
    with pytest.raises(PluginError, match="The plugin acme:acme failed while training 'failing': IndexError: bad luck"):
        train(loss="failing")


def test_an_unknown_loss_is_an_error_with_near_names(train):
    with pytest.raises(UnknownNameError, match="There is no loss 'stepe'") as caught:
        train(loss="stepe")
    assert "acme/steep" in caught.value.hint


def test_metrics_are_in_results_and_epochs(train):
    run = train(metric=["balanced-accuracy", "greenness"])
    for split, photos in (("val", 12), ("test", 18)):
        scores = run.results[split]
        assert {"accuracy", "interval", "count", "loss", "macro_f1", "calibration_error"} < scores.keys()
        values = scores["metrics"]
        assert values["photos"] == {"value": photos, "interval": None}
        balanced = values["balanced_accuracy"]
        assert balanced["value"] == pytest.approx(scores["accuracy"])  # as many photos of each class
        assert balanced["interval"][0] <= balanced["value"] <= balanced["interval"][1]
    assert [row["metrics"]["photos"] for row in run.metrics()] == [12, 12, 12]
    assert open_run(run.path).results == run.results


def test_without_metrics_results_and_epochs_are_as_before(train):
    run = train()
    assert "metrics" not in run.results["test"]
    assert all("metrics" not in row for row in run.metrics())


def test_a_monitored_metric_decides_on_the_best_epoch(train):
    run = train(monitor="greenness", epochs=4)
    rows = run.metrics()
    values = [row["metrics"]["greenness"] for row in rows]
    assert run.results["best_epoch"] == 1 + int(np.argmin(values))
    assert run.results["val"]["metrics"]["greenness"]["value"] == pytest.approx(min(values), rel=1e-4)


@pytest.mark.parametrize(
    ("monitor", "key", "sign"), [("val-loss", "val_loss", -1), ("val-accuracy", "val_accuracy", 1)]
)
def test_loss_and_accuracy_can_be_monitored(train, monitor, key, sign):
    run = train(monitor=monitor, epochs=4, lr=0.02)
    rows = run.metrics()
    best = max(rows, key=lambda row: (sign * row[key], -row["val_loss"]))
    assert run.results["best_epoch"] == best["epoch"]


def test_a_metric_that_fails_is_left_out_with_a_warning_and_costs_no_training(train):
    recorder = EventRecorder()
    run = train(metric=["picky", "greenness"], observer=recorder)
    assert "greenness" in run.results["test"]["metrics"]
    assert "many" not in run.results["test"]["metrics"]
    (note,) = [text for text in recorder.notes if "picky" in text]
    assert note.startswith("The plugin acme:acme failed while computing 'picky': IndexError: too few.")


def test_a_monitored_metric_that_fails_ends_the_training(train, runs):
    with pytest.raises(PluginError, match="failed while computing 'picky'"):
        train(monitor="picky", save_every=0)
    assert latest_run(runs).record.status == "interrupted"


def test_a_run_is_evaluated_with_other_metrics(train, registry):
    run = train()
    evaluation = evaluate(run, device="cpu", registry=registry, metrics=["log-loss", "greenness"])
    assert evaluation.metrics["log_loss"].value == pytest.approx(evaluation.loss)
    assert not math.isnan(evaluation.metrics["greenness"].value)
    with pytest.raises(UnknownNameError, match="There is no metric 'log-los'"):
        evaluate(run, device="cpu", registry=registry, metrics=["log-los"])
    with pytest.raises(PluginError, match="failed while computing 'picky'"):
        evaluate(run, device="cpu", registry=registry, metrics=["picky"])
