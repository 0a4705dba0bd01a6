import json

import pytest
import safetensors.torch
import torch
from fakes import FakePlugin, SmallBackbone, make_backbone_spec, make_registry

from zoo.data.loading.cache import PhotoCache
from zoo.events import EpochResult, Note, Work
from zoo.runs.open import open_run
from zoo.training import finalize as conclusion
from zoo.training.finetune import finetune, resume

HALF_FROZEN = {
    "head": "flat",
    "data": "colours",
    "epochs": 4,
    "batch_size": 8,
    "optimizer": "adamw",
    "lr": 1e-2,
    "freeze": "2",
    "probe": False,
    "crop_scale": 0.35,
    "eval_crop": None,
    "device": "cpu",
    "precision": "fp32",
    "workers": 2,
}


@pytest.fixture
def train(tmp_path, registry, monkeypatch):
    """Fine-tunes the upper third of a small backbone, and draws no pictures."""
    for name in ("write_curves", "write_confusion", "write_mistakes"):
        monkeypatch.setattr(conclusion, name, lambda *args, **how: None)

    def run(backbone="small", **values):
        return finetune(backbone, **{"registry": registry, "runs": tmp_path / "runs", **HALF_FROZEN, **values})

    return run


def weights_of(run):
    return safetensors.torch.load_file(run.path / "model.safetensors")


def losses_of(run):
    return [(row["train_loss"], row["val_loss"]) for row in run.metrics()]


def assert_alike(run, other):
    """Rounding differs where a convolution is given other images at a time; nothing else does."""
    for one, two in zip(losses_of(run), losses_of(other), strict=True):
        assert one == pytest.approx(two, rel=1e-4)
    for name, value in weights_of(run).items():
        torch.testing.assert_close(value, weights_of(other)[name], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("values", [{}, {"views": 2}, {"views": 2, "ema": None, "probe": True}, {"freeze": "3"}])
def test_what_is_learnt_does_not_depend_on_what_is_kept(train, monkeypatch, values):
    kept = train(**values)
    assert kept.record.activation_cache["val"]
    monkeypatch.setattr(PhotoCache, "available_bytes", lambda cache: 0)
    anew = train(**values)
    assert not anew.record.activation_cache["val"]
    assert_alike(kept, anew)


def test_a_run_tells_what_it_keeps(train):
    events = []
    run = train(views=3, observer=events.append)
    assert json.loads((run.path / "run.json").read_text())["kept"] == {
        "values": [[8, 4, 4]],
        "bytes": 8 * 4 * 4 * 4 * (12 + 3 * 36),
        "val": True,
        "views": 3,
        "reason": "",
    }
    work = [event for event in events if isinstance(event, Work) and event.what.startswith("frozen stages")]
    assert [event.what for event in work if event.done == event.total] == [
        "frozen stages of train",
        "frozen stages of val",
        *["frozen stages of train"] * 2,
    ]


@pytest.mark.parametrize("values", [{}, {"views": 4}, {"views": 2, "mixup": 0.2}])
def test_validation_photos_are_kept_where_views_are_not(train, values):
    kept = train(**values).record.activation_cache
    assert (kept["val"], kept["views"]) == (True, 0)
    assert kept["reason"] == "each epoch has views of its own"


def test_fewer_views_are_shown_only_where_that_saves_something(train):
    frozen, learning = (
        [losses_of(train(freeze=freeze, views=views)) for views in (None, 1)] for freeze in ("2", "none")
    )
    assert frozen[0] != frozen[1]
    assert learning[0] == learning[1]


def test_views_that_do_not_fit_are_made_anew_and_that_is_told(train, monkeypatch):
    monkeypatch.setattr(PhotoCache, "available_bytes", lambda cache: 8 * 4 * 4 * 4 * 12)
    notes = []
    kept = train(views=2, observer=lambda event: notes.append(event) if isinstance(event, Note) else None).record[
        "kept"
    ]
    assert (kept["val"], kept["views"]) == (True, 0)
    assert any("run over the training photos in every epoch" in note.text for note in notes)


def test_where_nothing_is_frozen_nothing_is_said(train):
    events = []
    assert train(freeze="none", observer=events.append).record.activation_cache["reason"] == "no stage is frozen"
    assert not [event for event in events if isinstance(event, Note)]


def test_a_network_that_cannot_be_divided_is_trained_as_it_is_and_that_is_told(train):
    class Moody(SmallBackbone):
        def forward(self, images):
            return super().forward(images if images.mean() < 9 else -images)

    registry = make_registry(FakePlugin(backbones=[make_backbone_spec("moody", build=lambda request: Moody())]))
    notes = []
    run = train("moody", registry=registry, observer=lambda e: notes.append(e.text) if isinstance(e, Note) else None)
    assert run.finished
    assert "depends on the content of the images" in run.record.activation_cache["reason"]
    assert any("frozen stages are run in every epoch: what it does depends" in note for note in notes)


@pytest.mark.parametrize("values", [{"views": 2}, {"views": 3, "backbone": "small-dropout", "ema": None}])
def test_a_resumed_run_with_kept_views_ends_with_the_same_weights(train, tmp_path, registry, values):
    whole = train(**values)

    def stop(event):
        if isinstance(event, EpochResult) and event.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(**values, observer=stop)
    stopped = open_run(max((tmp_path / "runs").iterdir(), key=lambda folder: folder.stat().st_ctime_ns))
    again = resume(stopped.path, registry=registry)
    assert again.record.activation_cache["views"] == values["views"]
    assert losses_of(again) == losses_of(whole)
    assert all(torch.equal(value, weights_of(whole)[name]) for name, value in weights_of(again).items())
