import numpy as np
import pytest
import torch
from fakes import (
    FakePlugin,
    SmallBackbone,
    SmallHead,
    encode_png,
    make_backbone_spec,
    make_images,
    make_registry,
    make_samples,
)
from training_runs import EventRecorder, read_weights

import zoo
import zoo_heads
from zoo.errors import TrainingError
from zoo.events import EpochResult, Work
from zoo.plugins.contracts import Features
from zoo.plugins.specs import ImageSet, Sample
from zoo.training import linear_probe
from zoo.training.frozen.head_choice import STRENGTHS
from zoo.training.frozen.solver import fit_head

PROBE = {"probe": True, "epochs": 1, "head": "linear"}
FROZEN = {"freeze": "all", "optimizer": "lbfgs", "weight_decay": "auto", "head": "linear", "epochs": 1}


@pytest.fixture
def plugin():
    return FakePlugin(heads=[*zoo_heads.zoo_heads(), zoo.HeadSpec(name="flat", build=SmallHead)])


@pytest.fixture
def fits(monkeypatch):
    """The calls of the solver: head, number of photos, and strength of the penalty."""
    calls = []

    def record(head, pooled, labels, **values):
        calls.append((head, len(labels), values["strength"]))
        return fit_head(head, pooled, labels, **values)

    monkeypatch.setattr(linear_probe, "fit_head", record)
    return calls


@pytest.mark.parametrize("values", [PROBE, FROZEN], ids=["probe", "frozen"])
def test_the_head_and_the_penalty_of_the_lowest_loss_in_cross_validation_are_chosen(train, values):
    run = train(**values)
    probe = run.record.probe
    compared = probe["compared"]
    candidates = [{"stages": 1}, {"stages": 3}, {"stages": 3, "pooling": "catavgmax"}]
    for options in candidates:  # from strong to weak, until one is worse
        rows = [row for row in compared if row["options"] == options]
        assert [row["strength"] for row in rows] == [*STRENGTHS[: len(rows)]]
        assert len(rows) == len(STRENGTHS) or rows[-1]["loss"] > rows[-2]["loss"]
    best = min(compared, key=lambda row: row["loss"])
    assert (probe["options"], probe["strength"]) == (best["options"], best["strength"])
    assert probe["reason"] == "the lowest loss in 5-fold cross-validation"
    assert run.config["head_options"] == best["options"]
    width = [12, 28, 56][candidates.index(best["options"])]
    assert read_weights(run)["head.classifier.weight"].shape == (3, width)


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ({"stages": 2}, [{}]),  # every candidate sets the number of stages
        ({"pooling": "max"}, [{"stages": 1}, {"stages": 3}]),
        ({"stages": 3, "pooling": "avg"}, [{}]),
    ],
)
def test_what_the_user_set_is_not_compared(train, given, left):
    run = train(**PROBE, head_options=given)
    compared = run.record.probe["compared"]
    assert [row["options"] for row in compared if row["strength"] == STRENGTHS[0]] == left
    assert run.config["head_options"] == {**given, **run.record.probe["options"]}


def test_a_given_penalty_is_kept_and_the_heads_compared(train):
    run = train(**{**FROZEN, "weight_decay": 0.2})
    assert {row["strength"] for row in run.record.probe["compared"]} == {0.2}
    assert len(run.record.probe["compared"]) == 3
    assert run.record.probe["strength"] == 0.2


def test_with_too_few_photos_of_a_class_nothing_is_compared(train, plugin):
    few = tuple(sample for sample in make_samples("train", 12) if sample.label or sample.name < "train/red/2")
    assert sum(sample.label == 0 for sample in few) == 4
    plugin.dataset = make_images(train=few[1:])
    run = train(**PROBE)
    assert run.record.probe["options"] == {"stages": 1}
    assert run.record.probe["strength"] == 0.03
    assert run.record.probe["reason"] == "not compared: too few photos of a class"
    assert "compared" not in run.record.probe
    plugin.dataset = make_images(train=few)
    assert "compared" in train(**PROBE).record.probe


@pytest.mark.parametrize("head", ["flat", "mlp"])
def test_a_head_without_candidates_or_output_layer_is_fitted_with_a_penalty_that_suits_most(train, head):
    run = train(**{**PROBE, "head": head})
    probe = run.record.probe
    assert (probe["options"], probe["strength"], probe["reason"]) == ({}, 0.1, "not compared: no other candidate")


def test_the_choice_depends_on_nothing_but_the_seed(train):
    runs = [train(**PROBE), train(**PROBE)]
    assert runs[0].record.probe == runs[1].record.probe
    assert torch.equal(*(read_weights(run)["head.classifier.weight"] for run in runs))


def test_the_probe_is_epoch_zero_and_its_progress_is_reported(train):
    observer = EventRecorder()
    run = train(**PROBE, observer=observer)
    first = next(event for event in observer.events if isinstance(event, EpochResult))
    assert (first.epoch, first.best) == (0, True)
    assert run.metrics()[0]["val_loss"] == pytest.approx(first.val_loss)
    work = [event for event in observer.events if isinstance(event, Work)]
    for what, total in (
        ("compute features of train", 36),
        ("compute features of val", 12),
        ("cross-validate heads", 3),
    ):
        assert [event.done for event in work if event.what == what and event.total == total][-1] == total


# Flips


def make_ramps(split, per_class):
    """Returns noisy photos that become brighter to the right (class 0) or to the left (class 1)."""
    samples = []
    for number in range(2 * per_class):
        random = np.random.default_rng([number, len(split)])
        ramp = np.linspace(40, 200, 20) if number % 2 == 0 else np.linspace(200, 40, 20)
        pixels = ramp[None, :, None] + random.normal(0, 8, (20, 20, 3))
        samples.append(
            Sample(encode_png(pixels.clip(0, 255).astype(np.uint8)), number % 2, f"{split}/{number % 2}/{number}.png")
        )
    return tuple(samples)


def test_photos_of_classes_that_are_mirror_images_are_not_flipped(train, plugin):
    plugin.dataset = ImageSet(
        name="ramps",
        classes=("right", "left"),
        train=make_ramps("train", 16),
        val=make_ramps("val", 8),
        test=make_ramps("test", 8),
    )
    observer = EventRecorder()
    run = train(**PROBE, observer=observer)
    assert run.config["hflip"] == 0.0
    assert run.record.probe["mirrored_loss"] > 1.2 * run.record.probe["loss"]
    assert any("Mirrored photos are not recognised" in note for note in observer.notes)
    explicit = train(**PROBE, hflip=0.5)
    assert explicit.config["hflip"] == 0.5
    assert "mirrored_loss" not in explicit.record.probe


def test_photos_that_mean_the_same_in_the_mirror_are_flipped(train):
    run = train(**PROBE)
    assert run.config["hflip"] == 0.5
    assert run.record.probe["mirrored_loss"] == pytest.approx(run.record.probe["loss"], rel=0.2)


# Refit


@pytest.mark.parametrize("values", [{**PROBE, "lr": 1e-9}, FROZEN], ids=["probe", "frozen"])
def test_a_head_that_is_the_result_is_fitted_again_with_the_validation_photos(train, fits, values):
    run = train(**values, calibration="none")  # which would change the loss
    assert run.results["best_epoch"] == (0 if values["epochs"] and "probe" in values else 1)
    photos = [count for _, count, _ in fits]
    assert photos[0] == 36
    assert photos[-1] == 36 + 12
    head, _, strength = fits[-1]
    assert strength == run.record.probe["strength"]
    assert torch.equal(head.output_layer.weight.detach(), read_weights(run)["head.classifier.weight"])
    best = run.metrics()[0]
    assert run.results["val"]["loss"] == pytest.approx(best["val_loss"], rel=1e-3)  # of the head that had not seen them


def test_the_refit_is_optional(train, fits):
    refitted, not_refitted = train(**FROZEN), train(**FROZEN, refit=False)
    assert [count for _, count, _ in fits] == [36, 48, 36]
    weights = [read_weights(run)["head.classifier.weight"] for run in (refitted, not_refitted)]
    assert not torch.equal(*weights)
    assert refitted.results["val"] == not_refitted.results["val"]


def test_fine_tuning_that_is_better_keeps_its_weights(train, fits):
    run = train(**{**PROBE, "epochs": 6, "lr": 3e-3})
    assert run.results["best_epoch"] > 0
    assert 48 not in [count for _, count, _ in fits]


def test_a_head_that_is_trained_in_steps_is_not_compared_or_refitted(train, fits):
    run = train(freeze="all", optimizer="sgd", lr=0.1, head="linear", weight_decay=0.0)
    assert dict(run.record.probe) == {}
    assert fits == []


# Errors


@pytest.mark.parametrize("values", [PROBE, FROZEN], ids=["probe", "frozen"])
def test_a_validation_loss_that_is_not_finite_after_the_head_was_fitted_is_an_error(train, plugin, values):
    class BrokenInEvaluation(SmallHead):
        """Returns NaN for the last 4 of the 12 validation photos, which are evaluated 8 at a time."""

        def forward(self, features):
            return super().forward(features) * (torch.nan if len(features.pooled) == 4 else 1)

    plugin.heads = [zoo.HeadSpec(name="flat", build=BrokenInEvaluation)]
    with pytest.raises(TrainingError, match="The validation loss became nan after the head was fitted") as caught:
        train(registry=make_registry(plugin), **{**values, "head": "flat"})
    assert "--precision fp32" in caught.value.hint


@pytest.mark.parametrize("values", [PROBE, FROZEN], ids=["probe", "frozen"])
def test_features_that_are_not_finite_are_an_error(train, plugin, values):
    class Overflowing(SmallBackbone):
        def forward(self, images):
            features = super().forward(images)
            return features if len(images) != 12 else Features(features.pooled * torch.nan, features.map)

    plugin.backbones = [make_backbone_spec(build=lambda request: Overflowing())]
    with pytest.raises(TrainingError) as caught:
        train(registry=make_registry(plugin), **values)
    message = "The features are NaN or infinite for 12 of 12 val photos (the first: val/red/0.png), first in the "
    assert caught.value.message.startswith(message)


def test_candidates_that_do_not_fit_the_backbone_are_left_out(train, plugin):
    class TwoStages(SmallBackbone):
        def stage_modules(self):
            modules = super().stage_modules()
            return {name: modules[name] for name in ("layer1", "layer2")}

    plugin.backbones = [make_backbone_spec(build=lambda request: TwoStages())]
    run = train(registry=make_registry(plugin), **PROBE)
    assert {row["options"]["stages"] for row in run.record.probe["compared"]} == {1}
