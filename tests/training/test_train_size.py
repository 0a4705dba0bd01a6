"""Training images that are smaller than those of evaluation."""

import json
from typing import ClassVar

import pytest
import torch
from fakes import FakePlugin, SmallBackbone, make_backbone_spec, make_registry
from training_runs import EventRecorder, after_epoch, assert_same_results, latest_run

from zoo.plugins.contracts import Features

EVALUATED, TRAINED = (64, 64), (32, 32)


class Watched(SmallBackbone):
    """Remembers the sizes of the images that it sees in train mode and in eval mode."""

    seen: ClassVar = {}

    def forward(self, images):
        self.seen.setdefault(self.training, set()).add(tuple(images.shape[2:]))
        return super().forward(images)


class OneSize(SmallBackbone):
    """Accepts images of one size only, as networks with position embeddings do."""

    def forward(self, images) -> Features:
        if images.shape[2:] != EVALUATED:
            raise ValueError(f"images of {tuple(images.shape[2:])} have no position embeddings")
        return super().forward(images)


@pytest.fixture
def options():
    return {"image_size": 64, "train_size": 0.5, "epochs": 2}


@pytest.fixture
def registry():
    backbones = [
        make_backbone_spec(),
        make_backbone_spec("watched", build=lambda request: Watched()),
        make_backbone_spec("one-size", build=lambda request: OneSize()),
    ]
    return make_registry(FakePlugin(backbones=backbones))


def test_training_steps_see_smaller_images_and_evaluation_full_ones(train):
    Watched.seen.clear()
    train("watched")
    assert Watched.seen[True] == {TRAINED}
    assert EVALUATED in Watched.seen[False]


def test_a_network_of_one_size_trains_at_that_size_and_says_so(train):
    observer = EventRecorder()
    run = train("one-size", observer=observer)
    assert json.loads((run.path / "run.json").read_text())["config"]["train_size"] == 1.0
    (note,) = [text for text in observer.notes if "Training images" in text]
    assert note == (
        "Training images have the size of evaluation: the network does not accept 32 x 32 pixels "
        "(images of (32, 32) have no position embeddings)."
    )


@pytest.mark.parametrize("values", [{}, {"freeze": "2"}, {"freeze": "2", "views": 2}, {"freeze": "1", "probe": True}])
def test_a_resumed_run_ends_with_the_same_results(train, resume, runs, values):
    whole = train(**values)
    with pytest.raises(KeyboardInterrupt):
        train(**values, observer=EventRecorder(after_epoch(1)))
    assert_same_results(resume(latest_run(runs).path), whole)


def test_frozen_stages_give_the_same_results_in_torch_and_in_onnx_runtime(train, monkeypatch):
    plain = train(freeze="2")
    monkeypatch.setattr("zoo.models.engines._MIN_SECONDS", 0.0)
    monkeypatch.setattr("zoo.models.engines._MIN_GAIN", float("inf"))
    run = train(freeze="2")
    assert (plain.record.activation_cache["engine"], run.record.activation_cache["engine"]) == ("torch", "onnxruntime")
    for one, other in zip(plain.metrics(), run.metrics(), strict=True):
        assert other["train_loss"] == pytest.approx(one["train_loss"], rel=1e-4)
        assert other["val_loss"] == pytest.approx(one["val_loss"], rel=1e-4)


def test_the_probe_is_not_touched(train):
    results = [train(freeze="all", train_size=size).results["val"]["loss"] for size in (0.5, 1.0)]
    assert torch.tensor(results).unique().numel() == 1
