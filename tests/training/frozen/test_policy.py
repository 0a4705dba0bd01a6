import json

import pytest
import torch
from fakes import FakePlugin, SmallBackbone, make_backbone_spec, make_registry
from training_runs import EventRecorder, after_epoch, assert_same_weights, latest_run, read_weights

from zoo.data.loading.cache import PhotoCache
from zoo.events import Note, Work

IMAGE_BYTES = 8 * 4 * 4 * 4  # of the activations of an image: 8 maps of 4 x 4 float32


@pytest.fixture
def options():
    return {"epochs": 4, "lr": 1e-2, "freeze": "2"}


def losses_of(run):
    return [(row["train_loss"], row["val_loss"]) for row in run.metrics()]


def assert_close(run, other):
    """Compares two runs up to rounding, which depends on how many images a convolution processes at a time."""
    for one, two in zip(losses_of(run), losses_of(other), strict=True):
        assert one == pytest.approx(two, rel=1e-4)
    for name, value in read_weights(run).items():
        torch.testing.assert_close(value, read_weights(other)[name], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("values", [{}, {"views": 2}, {"views": 2, "ema": None, "probe": True}, {"freeze": "3"}])
def test_the_cache_does_not_change_the_result(train, monkeypatch, values):
    cached = train(**values)
    assert cached.record.activation_cache["val"]
    monkeypatch.setattr(PhotoCache, "available_bytes", lambda cache: 0)
    uncached = train(**values)
    assert not uncached.record.activation_cache["val"]
    assert_close(cached, uncached)


def test_the_record_describes_the_cache(train):
    observer = EventRecorder()
    run = train(views=3, observer=observer)
    assert json.loads((run.path / "run.json").read_text())["activation_cache"] == {
        "values": [[8, 4, 4]],
        "bytes": IMAGE_BYTES * (12 + 3 * 36),
        "val": True,
        "views": 3,
        "reason": "",
        "engine": "torch",  # too little work to try another
    }
    work = [event for event in observer.events if isinstance(event, Work) and event.what.startswith("cache")]
    assert [event.what for event in work if event.done == event.total] == [
        "cache activations of train",
        "cache activations of val",
        *["cache activations of train"] * 2,
    ]


@pytest.mark.parametrize("values", [{}, {"views": 4}, {"views": 2, "mixup": 0.2}, {"views": 2, "augment": "cutmix"}])
def test_only_validation_photos_are_cached_if_every_epoch_has_its_own_views(train, values):
    record = train(**values).record.activation_cache
    assert (record["val"], record["views"]) == (True, 0)
    assert record["reason"] == "each epoch has views of its own"


def test_views_are_limited_only_with_frozen_stages(train):
    frozen, trainable = (
        [losses_of(train(freeze=freeze, views=views)) for views in (None, 1)] for freeze in ("2", "none")
    )
    assert frozen[0] != frozen[1]
    assert trainable[0] == trainable[1]


def test_views_that_do_not_fit_into_memory_are_recomputed_and_reported(train, monkeypatch):
    monkeypatch.setattr(PhotoCache, "available_bytes", lambda cache: IMAGE_BYTES * 12)
    observer = EventRecorder()
    record = train(views=2, observer=observer).record.activation_cache
    assert (record["val"], record["views"]) == (True, 0)
    assert any("run over the training photos in every epoch" in note for note in observer.notes)


def test_nothing_is_reported_without_frozen_stages(train):
    events = []
    assert train(freeze="none", observer=events.append).record.activation_cache["reason"] == "no stage is frozen"
    assert not [event for event in events if isinstance(event, Note)]


def test_a_network_that_cannot_be_split_is_trained_as_a_whole_and_reported(train):
    class DataDependent(SmallBackbone):
        def forward(self, images):
            return super().forward(images if images.mean() < 9 else -images)

    spec = make_backbone_spec("data-dependent", build=lambda request: DataDependent())
    observer = EventRecorder()
    run = train("data-dependent", registry=make_registry(FakePlugin(backbones=[spec])), observer=observer)
    assert run.finished
    reason = "the backbone cannot be split, because its control flow depends on pixel values"
    assert run.record.activation_cache["reason"] == reason
    assert f"The frozen stages run in every epoch: {reason}." in observer.notes


@pytest.mark.parametrize("values", [{"views": 2}, {"views": 3, "backbone": "small-dropout", "ema": None}])
def test_a_resumed_run_with_cached_views_ends_with_the_same_weights(train, resume, runs, values):
    whole = train(**values)
    with pytest.raises(KeyboardInterrupt):
        train(**values, observer=EventRecorder(after_epoch(2)))
    resumed = resume(latest_run(runs).path)
    assert resumed.record.activation_cache["views"] == values["views"]
    assert losses_of(resumed) == losses_of(whole)
    assert_same_weights(resumed, whole)


def test_the_frozen_stages_run_in_the_engine_of_the_run(train, monkeypatch):
    plain = train(views=2)
    monkeypatch.setattr("zoo.models.engines._MIN_SECONDS", 0.0)
    monkeypatch.setattr("zoo.models.engines._MIN_GAIN", float("inf"))
    run = train(views=2)
    assert run.record.activation_cache["engine"] == "onnxruntime"
    assert_close(plain, run)
    monkeypatch.setattr(PhotoCache, "available_bytes", lambda cache: 0)  # the stages run at every step
    assert_close(run, train(views=2))


def test_frozen_stages_that_onnx_runtime_cannot_run_stay_in_torch(train, monkeypatch):
    monkeypatch.setattr("zoo.models.engines._MIN_SECONDS", 0.0)
    monkeypatch.setattr("zoo.models.engines._export", lambda *_: b"no graph")
    assert train().record.activation_cache["engine"] == "torch"
