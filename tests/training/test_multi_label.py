"""Training, evaluation and prediction with several labels per photo."""

import csv
import io
import json

import numpy as np
import pytest
import torch
from fakes import FakePlugin, encode_png, make_images
from training_runs import FAST, EventRecorder, after_epoch, latest_run, read_weights

import zoo
import zoo_heads
from zoo.config import make_config
from zoo.errors import ConfigError, DataError, RunError
from zoo.inference.evaluate import evaluate
from zoo.inference.paired import evaluate_paired
from zoo.inference.prediction_csv import PredictionCsv
from zoo.inference.run_predictor import load
from zoo.metrics.multi_label import MultiLabelEvaluation
from zoo.plugins.specs import ImageSet, Sample
from zoo.runs.open import open_run
from zoo.runs.record import write_record
from zoo.training.balance import make_balance

CLASSES = ("red", "green", "blue")
FROZEN = {"freeze": "all", "optimizer": "lbfgs", "weight_decay": "auto", "head": "linear", "epochs": 1}


def make_labelled(split, count, *, seed=0):
    """Returns photos whose labels are their bright colours, any number of them, on noise."""
    random = np.random.default_rng([seed, count])
    samples = []
    for number in range(count):
        labels = tuple(np.flatnonzero(random.random(3) < 0.4).tolist())
        pixels = random.integers(0, 120, (24, 20, 3))
        pixels[..., list(labels)] += 90
        samples.append(Sample(encode_png(pixels.astype(np.uint8)), labels, f"{split}/{number}.png"))
    return tuple(samples)


def make_colours(**changes):
    splits = {"train": make_labelled("train", 40), "val": make_labelled("val", 14), "test": make_labelled("test", 20)}
    return ImageSet(**{"name": "colours", "classes": CLASSES, "multi_label": True, **splits, **changes})


@pytest.fixture
def plugin():
    return FakePlugin(heads=zoo_heads.zoo_heads() + FakePlugin().heads, dataset=make_colours())


def test_a_probe_decides_on_labels_and_says_how_well(train, registry, plugin):
    observer = EventRecorder()
    run = train(**FROZEN, observer=observer, pictures=True)
    written = {path.name for path in run.path.glob("*.png")}
    assert written == {"curves.png", "precision_recall.png", "reliability.png", "mistakes.png"}
    assert any("any number of labels: the loss is bce" in note for note in observer.notes)
    record = run.record
    assert (record.multi_label, record.activation, record.config["loss"]) == (True, "sigmoid", "bce")
    assert record.requested["loss"] == "cross-entropy"
    assert len(record.thresholds) == 3
    assert (record.calibration.photos, record.calibration.fitted_on) == (54, "out-of-fold")
    assert record.calibration.sets is None
    assert len(record.probe["strength"]) == 3
    test = run.results["test"]
    assert test["mean_ap"] > 0.9
    assert test["intervals"]["mean_ap"][0] <= test["mean_ap"]
    assert run.metrics()[0]["metrics"]["mean_ap"] == pytest.approx(run.results["val"]["mean_ap"])
    evaluation = evaluate(run, device="cpu", registry=registry)
    assert isinstance(evaluation, MultiLabelEvaluation)
    assert evaluation.mean_ap == pytest.approx(test["mean_ap"], abs=1e-6)
    assert evaluation.exact_match == pytest.approx(test["exact_match"])
    assert evaluation.thresholds == record.thresholds
    predictor = load(run, device="cpu", registry=registry)
    predictions = predictor.predict([sample.source for sample in plugin.dataset.test])
    right = [
        {*each.labels} == {CLASSES[label] for label in sample.label}
        for each, sample in zip(predictions, plugin.dataset.test, strict=True)
    ]
    assert np.mean(right) == pytest.approx(evaluation.exact_match)
    for each in predictions:
        decided = [name for name in CLASSES if each.probabilities[name] >= record.thresholds[CLASSES.index(name)]]
        assert sorted(each.labels) == sorted(decided)
        assert each.answer == (", ".join(each.labels) or "None of the labels")


def test_fine_tuning_with_mixup_and_smoothed_labels(train):
    run = train(loss="asymmetric", mixup=0.3, label_smoothing=0.1, epochs=5, lr=0.02, monitor="val-map")
    rows = run.metrics()
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]
    scores = {row["epoch"]: row["metrics"]["mean_ap"] for row in rows}
    assert scores[run.results["best_epoch"]] == max(scores.values()) > 0.9


@pytest.mark.parametrize(
    "values",
    [pytest.param({}, marks=pytest.mark.slow), {"probe": True, "head": "linear"}],
    ids=["without probe", "after a probe"],
)
def test_a_resumed_run_has_the_weights_and_thresholds_of_one_that_never_stopped(train, resume, runs, values):
    values = {"epochs": 2, "lr": 0.01, **values}
    whole = train(**values)
    observer = EventRecorder(after_epoch(1))
    with pytest.raises(KeyboardInterrupt):
        train(**values, observer=observer)
    stopped = latest_run(runs)
    assert stopped.record.thresholds == ()
    assert stopped.thresholds == (0.5, 0.5, 0.5)
    resumed = resume(stopped)
    one, two = read_weights(whole), read_weights(resumed)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert resumed.record.thresholds == whole.record.thresholds
    assert resumed.results["test"] == whole.results["test"]


def test_thresholds_are_chosen_on_calibrated_probabilities(train, registry, plugin):
    plain, calibrated = (train(**FROZEN, calibration=choice) for choice in ("none", "temperature"))
    assert calibrated.calibration.temperature
    assert plain.thresholds != calibrated.thresholds
    # With a temperature for each label the order of its photos, and so each decision, stays the same.
    sources = [sample.source for sample in plugin.dataset.test]
    decisions = [
        [each.labels and {*each.labels} for each in load(run, device="cpu", registry=registry).predict(sources)]
        for run in (plain, calibrated)
    ]
    assert np.mean([one == two for one, two in zip(*decisions, strict=True)]) > 0.9


def test_thresholds_follow_the_rule_that_the_user_names(train):
    assert train(epochs=1, threshold="0.25").record.thresholds == (0.25,) * 3
    with pytest.raises(ConfigError, match="option 'threshold' is 'f2'"):
        train(threshold="f2")


def test_a_loss_of_the_softmax_and_metrics_of_one_class_are_refused(train, plugin):
    with pytest.raises(ConfigError, match="option 'loss' is 'focal', whose probabilities sum to one") as caught:
        train(loss="focal")
    assert caught.value.hint == "Losses with a probability for each label: asymmetric, bce."
    with pytest.raises(ConfigError, match="metric balanced-accuracy is for photos with one class each"):
        train(metric=["balanced-accuracy"])


@pytest.mark.parametrize("values", [{"logit_adjustment": 1.0}, {"sampler": "sqrt"}])
def test_options_that_count_photos_by_class_are_refused(train, values):
    with pytest.raises(ConfigError, match="is for one class per photo; the photos of 'colours' have any number"):
        train(**values)


def make_rare():
    """Returns photos of which 20 are red, 5 green and all blue, of 40 for training."""
    train = tuple(
        sample._replace(label=tuple(label for label in (0, 1, 2) if number % (2, 8, 1)[label] == 0))
        for number, sample in enumerate(make_labelled("train", 40))
    )
    return make_colours(train=train)


def test_rare_labels_get_a_weight_by_their_number_of_photos(tmp_path):
    images, file = make_rare(), tmp_path / "weights.csv"

    def weights(rule):
        config = make_config("small", data=images, class_weights=rule)
        return make_balance(config, images).positive_weights

    assert weights("balanced") == pytest.approx((1, 7, 1))
    assert weights("effective") == pytest.approx((1, (1 - 0.99**35) / (1 - 0.99**5), 1))
    rarer = make_colours(train=(*images.train, *(each._replace(label=()) for each in images.train)))
    assert make_balance(make_config("small", data=rarer, class_weights="balanced"), rarer).positive_weights[1] == 10
    file.write_text("red,1\ngreen,12\nblue,0.5\n")
    assert weights(file) == (1, 12, 0.5)
    file.write_text("red,1\n")
    with pytest.raises(ConfigError) as caught:
        weights(file)
    assert "1 weighs photos with and without it alike" in caught.value.hint


def test_weights_of_labels_raise_their_probabilities_and_survive_a_resume(train, resume, runs, plugin, tmp_path):
    plugin.dataset, file = make_rare(), tmp_path / "weights.csv"
    file.write_text("red,1\ngreen,9\nblue,1\n")
    plain, weighted = train(**FROZEN), train(**FROZEN, class_weights=file)
    assert weighted.record.balance == {"positive_weights": {"red": 1, "green": 9, "blue": 1}}
    sources = [sample.source for sample in plugin.dataset.test]
    means = [np.mean([each.probabilities["green"] for each in run.predict(sources)]) for run in (plain, weighted)]
    assert means[1] > 1.5 * means[0]
    values = {"epochs": 2, "lr": 0.01, "class_weights": file, "loss": "asymmetric"}
    whole = train(**values)
    with pytest.raises(KeyboardInterrupt):
        train(**values, observer=EventRecorder(after_epoch(1)))
    file.write_text("red,9\ngreen,1\nblue,1\n")
    one, two = read_weights(whole), read_weights(resume(latest_run(runs)))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_split_without_any_label_is_refused_before_training(train, plugin):
    empty = tuple(sample._replace(label=()) for sample in plugin.dataset.val)
    plugin.dataset = make_colours(val=empty)
    with pytest.raises(DataError, match="None of the 14 val photos of 'colours' has a label"):
        train()


def test_options_for_several_labels_are_refused_with_one_class_per_photo(train, plugin):
    plugin.dataset = make_images()
    for values in ({"threshold": "0.3"}, {"monitor": "val-map"}):
        with pytest.raises(ConfigError, match="which is for several labels per photo"):
            train(**values)


def test_data_of_the_other_kind_is_refused(train, registry):
    run = train(epochs=1)
    with pytest.raises(DataError, match=r"has one class for each photo, but .* any number of labels"):
        evaluate(run, data=make_images(), device="cpu", registry=registry)


def test_two_runs_are_compared_on_the_same_photos_with_their_own_thresholds(train, registry, plugin):
    """The second run has the classes in another order."""
    first = train(epochs=1)
    turned = (2, 0, 1)  # the number of each class in the other order
    splits = {
        split: tuple(
            each._replace(label=tuple(sorted(turned[label] for label in each.label)))
            for each in getattr(plugin.dataset, split)
        )
        for split in ("train", "val", "test")
    }
    plugin.dataset, own = make_colours(classes=("green", "blue", "red"), **splits), plugin.dataset
    second = train(**FROZEN)
    plugin.dataset = own
    result = evaluate_paired([first, second], device="cpu", registry=registry)
    (difference,) = result.differences
    one, two = result.evaluations.values()
    assert [one.mean_ap, two.mean_ap] == pytest.approx([each.results["test"]["mean_ap"] for each in (first, second)])
    assert two.macro_f1 == pytest.approx(second.results["test"]["macro_f1"])
    assert two.thresholds == tuple(second.thresholds[each] for each in (2, 0, 1))
    assert difference.mean_ap == pytest.approx(two.mean_ap - one.mean_ap)
    assert result.to_dict()["differences"][0]["text"] == difference.describe()
    plugin.dataset = make_images()
    third = train(epochs=1)
    with pytest.raises(ConfigError, match=f"{third.name} predicts one class for each photo, but {first.name} predicts"):
        evaluate_paired([first, third], data=own, device="cpu", registry=registry)


def test_a_record_with_thresholds_that_do_not_fit_is_refused(train):
    run = train(epochs=1)
    values = json.loads((run.path / "run.json").read_text("utf-8"))
    assert (values["multi_label"], len(values["thresholds"])) == (True, 3)
    for wrong in ([0.5, 0.5], [0.5, 0.5, 2], ["a", 0, 0]):
        (run.path / "run.json").write_text(json.dumps({**values, "thresholds": wrong}), "utf-8")
        with pytest.raises(RunError, match="unreadable 'thresholds'"):
            open_run(run.path)


def test_a_run_of_one_class_per_photo_records_nothing_of_labels(train, plugin):
    plugin.dataset = make_images()
    run = train(epochs=1)
    assert run.thresholds == ()
    write_record(run.path, run.record)
    assert not {"multi_label", "thresholds"} & json.loads((run.path / "run.json").read_text("utf-8")).keys()


def test_predictions_as_csv():
    prediction = zoo.Prediction(
        name="a.jpg",
        label="red",
        probability=0.75,
        probabilities={"red": 0.75, "blue": 0.5, "green": 0.0},
        labels=("red", "blue"),
    )
    none = zoo.Prediction(
        name="b.jpg", label="red", probability=0.1, probabilities={"red": 0.1, "green": 0, "blue": 0}, labels=()
    )
    for top, header, first, second in (
        (
            None,
            "photo,labels,red,green,blue,error",
            "red|blue,0.750000,0.000000,0.500000,",
            ",0.100000,0.000000,0.000000,",
        ),
        (1, "photo,labels,label 1,probability 1,error", "red|blue,red,0.750000,", ",red,0.100000,"),
    ):
        stream = io.StringIO()
        table = PredictionCsv(stream, CLASSES, top=top, multi_label=True)
        table.write("a.jpg", prediction)
        table.write("b.jpg", none)
        table.write("c.jpg", DataError("broken"))
        lines = stream.getvalue().splitlines()
        assert lines[:3] == [header, f"a.jpg,{first}", f"b.jpg,{second}"]
        assert {len(row) for row in csv.reader(lines)} == {len(header.split(","))}


@pytest.mark.slow
def test_variants_are_compared_by_their_mean_average_precision(registry, runs):
    values = {**FAST, "epochs": 1}
    del values["data"], values["lr"]
    comparison = zoo.compare(
        "small", data="colours", grid={"lr": [0.001, 0.02]}, common=values, runs=runs, registry=registry
    )
    scores = [open_run(path).results["test"]["mean_ap"] for variant in comparison.variants for path in variant.runs]
    assert [variant.mean for variant in comparison.variants] == scores
    assert {variant.figure for variant in comparison.variants} == {"mAP"}
