import json

import pytest
import torch
from fakes import (
    CLASSES,
    FakePlugin,
    SmallBackbone,
    make_backbone_spec,
    make_images,
    make_photo,
    make_registry,
    make_samples,
)
from PIL import Image
from training_runs import FAST, EventRecorder, assert_same_weights, latest_run, read_weights

import zoo
from zoo.config import make_config
from zoo.data.images.resize import preprocess
from zoo.data.loading import store
from zoo.errors import DataError, PluginError, TrainingError, ZooError
from zoo.events import EpochResult, Finished, Note, Started, StepResult
from zoo.inference import run_predictor
from zoo.inference.run_predictor import cache_graph, load
from zoo.inference.session_predictor import open_cached
from zoo.models.random_state import random_states
from zoo.plugins.specs import DatasetSpec, Sample
from zoo.runs.manifest import check_folder


@pytest.fixture
def options():
    return {"head_lr_multiplier": 10, "probe": True, "freeze_norm_stats": True}


def test_a_run_folder_is_complete(train):
    events = []
    run = train(observer=events.append, seed=3, pictures=True)
    assert run.path.name == "small-flat-colours-1"
    assert {file.name for file in run.path.iterdir()} == {
        "run.json",
        "photos.json",
        "model.safetensors",
        "familiarity.safetensors",
        "metrics.jsonl",
        "curves.png",
        "confusion.png",
        "reliability.png",
        "mistakes.png",
        "manifest.json",
    }
    assert check_folder(run.path) == []
    record = json.loads((run.path / "run.json").read_text())
    assert record["status"] == "finished"
    assert (record["backbone"], record["head"]) == ("fake/small", "fake/flat")
    values = {"head_lr_multiplier": 10, "probe": True, "freeze_norm_stats": True, "seed": 3, "hflip": 0.5}
    assert record["config"] == make_config("small", **{**FAST, **values}).to_dict()
    assert record["classes"] == list(CLASSES)
    assert record["preprocess"]["size"] == [16, 16]
    assert len(record["data"]["fingerprint"]) == 64
    assert record["data"]["counts"] == {"train": 36, "val": 12, "test": 18}
    assert record["packages"]["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert record["plugins"]["fake:fake"] == "1.2"
    assert {"finetune-zoo:optimizers", "finetune-zoo:schedules"} <= record["plugins"].keys()
    assert record["parts"].items() >= {"optimizer": ["optimizers/adamw"], "schedule": ["schedules/cosine"]}.items()
    assert record["parts"]["loss"] == ["losses/cross-entropy"]
    assert record["activation"] == "softmax"
    assert record["hardware"]["device"] == "cpu"
    assert record["hardware"]["precision"] == "fp32"
    photos = json.loads((run.path / "photos.json").read_text())
    assert photos["split"]["val"] == [sample.name for sample in make_images().val]
    results = record["results"]
    assert results["test"]["count"] == 18
    low, high = results["test"]["interval"]
    assert 0 <= low <= results["test"]["accuracy"] <= high <= 1
    assert results["seconds"] > 0
    assert results["images_per_second"] > 0
    for name in ("curves", "confusion", "mistakes"):
        with Image.open(run.path / f"{name}.png") as picture:
            assert min(picture.size) > 100
    kinds = [type(event) for event in events]
    assert kinds.index(Started) < kinds.index(StepResult) < kinds.index(Finished) == len(kinds) - 1
    assert events[-1].results == run.results
    rows = run.metrics()
    assert [row["epoch"] for row in rows] == [0, 1, 2, 3]
    assert rows[0]["train_accuracy"] is None
    epochs = [event for event in events if isinstance(event, EpochResult)]
    assert [row["val_loss"] for row in rows] == [event.val_loss for event in epochs]


def test_a_run_without_pictures_is_complete_too(train):
    run = train(epochs=1, pictures=False)
    assert not list(run.path.glob("*.png"))
    assert check_folder(run.path) == []


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({}, id="whole"),
        pytest.param({"freeze": "1", "ema": 0.9}, id="averaged"),
        pytest.param({"freeze": "all", "optimizer": "lbfgs", "weight_decay": 0.1}, id="frozen"),
    ],
)
def test_the_graph_of_a_finished_run_is_cached_before_the_end_is_reported(
    train, registry, tmp_path, monkeypatch, values
):
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(run_predictor, "cache_graph", cache_graph)
    cached = []

    def observe(event):
        if isinstance(event, Finished):
            cached.extend((tmp_path / "home" / "graphs").iterdir())

    run = train(**values, observer=observe)

    assert len(cached) == 1
    predictor = open_cached(run, device="cpu", registry=registry)
    assert predictor is not None
    photos = [make_photo(label, 3) for label in range(3)]
    images = [preprocess(photo, run.preprocess) for photo in photos]
    expected = load(run, device="cpu", registry=registry).probabilities(images)
    assert predictor.probabilities(images) == pytest.approx(expected, abs=1e-4)


def test_a_run_whose_graph_cannot_be_made_is_finished_all_the_same(train, monkeypatch):
    monkeypatch.setattr(run_predictor, "cache_graph", lambda *_, **__: 1 / 0)
    events = []
    assert train(epochs=1, observer=events.append).finished
    assert isinstance(events[-1], Finished)


def test_training_leaves_the_random_generators_of_the_caller_as_they_were(train):
    before = str(random_states(torch.device("cpu")))
    train("small-dropout", epochs=1)
    assert str(random_states(torch.device("cpu"))) == before


def test_training_learns(train):
    run = train(epochs=4, lr=0.01)
    assert run.results["test"]["accuracy"] == 1.0
    losses = [row["train_loss"] for row in run.metrics()[1:]]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({}, id="plain"),
        pytest.param({"backbone": "small-dropout", "dropout": 0.3}, id="dropout"),
        pytest.param({"freeze": "all", "optimizer": "lbfgs", "weight_decay": 0.1}, id="frozen"),
        pytest.param({"randaugment": 9, "rotation": 10, "color_jitter": 0.2, "mixup": 0.2}, id="augmented"),
    ],
)
def test_the_seed_decides_the_weights_bit_for_bit(train, values):
    values = {**values, "epochs": 2}
    run = train(**values)
    torch.manual_seed(77)
    assert_same_weights(run, train(**values))
    other = train(**values, seed=1)
    assert not torch.equal(read_weights(run)["head.linear.weight"], read_weights(other)["head.linear.weight"])


@pytest.mark.parametrize("optimizer", ["lbfgs", "cg", "adamw"])
@pytest.mark.parametrize("head", ["flat", "mapped"])
def test_a_frozen_backbone_does_not_change_and_its_head_learns(train, optimizer, head):
    values = {"epochs": 30, "lr": 0.1, "head_lr_multiplier": 1, "weight_decay": 1e-3}
    run = train(freeze="all", optimizer=optimizer, head=head, **values)
    torch.manual_seed(0)
    for name, tensor in SmallBackbone().state_dict().items():
        assert torch.equal(read_weights(run)[f"backbone.{name}"], tensor), name
    assert run.results["test"]["accuracy"] > 0.8
    assert len(run.metrics()) == (30 if optimizer == "adamw" else 1)


def test_weights_are_averaged_on_cached_features_too(train):
    values = {"freeze": "all", "optimizer": "sgd", "epochs": 1, "lr": 0.1}
    plain, averaged = (read_weights(train(**values, ema=ema))["head.linear.weight"] for ema in (None, 0.99))
    assert not torch.equal(plain, averaged)


def test_frozen_stages_keep_their_weights_and_statistics(train):
    run = train(freeze="2", probe=False, freeze_norm_stats=False, lr=0.01)
    trained = read_weights(run)
    torch.manual_seed(0)
    for name, tensor in SmallBackbone().state_dict().items():
        changed = not torch.equal(trained[f"backbone.{name}"], tensor)
        assert changed == ("layer2" in name), name


def test_the_probe_is_epoch_zero_and_optional(train):
    with_probe, without = train(epochs=1), train(epochs=1, probe=False)
    assert [row["epoch"] for row in with_probe.metrics()] == [0, 1]
    assert [row["epoch"] for row in without.metrics()] == [1]
    assert with_probe.metrics()[0]["val_accuracy"] > 0.6
    assert with_probe.metrics()[1]["train_loss"] < without.metrics()[0]["train_loss"]


def test_an_unreadable_photo_is_reported_recorded_and_left_out(train, plugin):
    bad = Sample(b"not a photo", 1, "train/green/bad.png")
    plugin.dataset = make_images(train=(bad, *plugin.dataset.train))
    observer = EventRecorder()
    run = train(observer=observer, epochs=1)
    assert run.finished
    (message,) = run.record.data.unreadable["train"]
    assert message.startswith("train/green/bad.png: ")
    notes = [event for event in observer.events if isinstance(event, Note)]
    assert notes == [Note(text=f"Left out: {message}", warning=True)]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (ZeroDivisionError("1 / 0"), "The plugin fake:fake failed while loading 'colours': ZeroDivisionError: 1 / 0."),
        (SystemExit("bye"), "The plugin fake:fake failed while loading 'colours': SystemExit: bye."),
        (["a.jpg"], "The plugin fake:fake failed while loading 'colours': it must return a zoo.ImageSet, not list."),
        (
            make_images(train=("a.jpg",)),
            "The plugin fake:fake failed while loading 'colours': train must be a tuple of zoo.Sample.",
        ),
        (
            make_images(val=(Sample(b"", 3, "x.png"),)),
            "The plugin fake:fake failed while loading 'colours': "
            "labels must be from 0 to 2; that of 'x.png' in val is 3.",
        ),
        (DataError("The photos are gone."), "The photos are gone."),
    ],
)
def test_a_dataset_that_fails_is_named(train, answer, message):
    def load(request):
        if isinstance(answer, BaseException):
            raise answer
        return answer

    class Plugin(FakePlugin):
        @zoo.hookimpl
        def zoo_datasets(self):
            return [DatasetSpec(name="colours", load=load)]

    with pytest.raises(ZooError) as caught:
        train(registry=make_registry(Plugin()))
    assert caught.value.message == message


def test_a_backbone_whose_card_fails_is_named(train):
    def fail():
        raise KeyError("size")

    def registry_with(card):
        spec = zoo.BackboneSpec(name="small", build=lambda request: SmallBackbone(), card=card)
        return make_registry(FakePlugin(backbones=[spec]))

    with pytest.raises(PluginError, match=r"fake:fake failed while .* 'small': KeyError: 'size'"):
        train(registry=registry_with(fail))
    with pytest.raises(
        PluginError, match=r"fake:fake failed while describing 'small': card\(\) must return a BackboneCard, not dict"
    ):
        train(registry=registry_with(dict))


def test_a_loss_that_diverges_ends_the_run_and_keeps_what_was_saved(train, runs):
    with pytest.raises(TrainingError, match="The loss became"):
        train(optimizer="sgd", lr=1e30, warmup=0.0, epochs=4)
    run = latest_run(runs)
    assert run.record.status == "interrupted"
    assert run.metrics()[0]["epoch"] == 0
    assert run.weights_path.is_file()


class LimitedBackbone(SmallBackbone):
    """Runs out of memory with more than `limit` images; a single one always fits in eval mode, as in its checks."""

    limit = 0

    def forward(self, images):
        if len(images) > max(self.limit, not self.training):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().forward(images)


def make_limited_registry(limit):
    def build(request):
        backbone = LimitedBackbone(dropout=0.2)
        backbone.limit = limit
        return backbone

    return make_registry(FakePlugin(backbones=[make_backbone_spec("limited", build=build)]))


def test_a_memory_too_small_for_a_single_image_is_an_error(train):
    with pytest.raises(TrainingError, match="memory is too small for a single image") as caught:
        train("limited", registry=make_limited_registry(0))
    assert "--image-size" in caught.value.hint


def test_a_run_that_runs_out_of_memory_continues_in_micro_batches(train):
    observer = EventRecorder()
    run = train("limited", registry=make_limited_registry(3), observer=observer)
    assert run.record.hardware["micro_batch_size"] == 2
    assert [note for note in observer.notes if note.startswith("Out of memory")] == [
        f"Out of memory: continuing with {size} images at a time. Each step still uses the whole batch."
        for size in (18, 9, 4, 2)
    ]
    assert run.config["batch_size"] == 8


def test_the_place_of_cached_photos_does_not_change_the_weights(train, monkeypatch, tmp_path):
    monkeypatch.setenv("ZOO_HOME", str(tmp_path))
    cases = {
        "memory": {},
        "partial": {"cache": "memory", "cache_size": 5000 / 2**30},
        "written": {"cache": "disk"},
        "found": {"cache": "disk"},
        "off": {"cache": "off"},
    }
    observers = {name: EventRecorder() for name in cases}
    runs = {name: train(epochs=1, observer=observers[name], **values) for name, values in cases.items()}
    for run in runs.values():
        assert_same_weights(run, runs["memory"])
    caches = {name: run.record.data.cache for name, run in runs.items()}
    assert {split: cache["tier"] for split, cache in caches["memory"].items()} == dict.fromkeys(
        ("train", "val", "test"), "memory"
    )
    assert caches["memory"]["train"]["kept"] == 36
    partial = caches["partial"]
    assert 0 < partial["train"]["kept"] < 36
    assert 0 < partial["train"]["bytes"] + partial["val"]["bytes"] <= 5000
    reported = "train photos are decoded again in every epoch: decoded photos may use"
    assert any(reported in note for note in observers["partial"].notes)
    assert caches["written"]["train"]["reason"].startswith("written to")
    assert caches["found"]["train"]["reason"].startswith("found in")
    assert caches["off"]["val"] == {"tier": "off", "photos": 12, "kept": 0, "bytes": 0, "reason": "--cache off"}
    for name in ("memory", "written", "found"):
        assert not any("decoded again" in note for note in observers[name].notes)


@pytest.mark.parametrize(("probe", "familiarity"), [(True, False), (False, False), (False, True)])
def test_photos_are_decoded_once_and_for_a_probe_and_the_familiarity_once_more(
    train, monkeypatch, tmp_path, probe, familiarity
):
    monkeypatch.setenv("ZOO_HOME", str(tmp_path))  # without files of decoded photos that other tests have written
    decoded = []
    decode = store.decode
    monkeypatch.setattr(
        store, "decode", lambda source, **kwargs: decoded.append(kwargs["name"]) or decode(source, **kwargs)
    )
    train(epochs=2, probe=probe, familiarity=familiarity)
    assert len(set(decoded)) == 36 + 12 + 18
    assert len(decoded) == len(set(decoded)) + 36 * (probe + familiarity)


def test_an_image_set_is_trained_on_evaluated_and_resumed(train, runs, registry, resume):
    images = make_images(val=(), test=())
    with pytest.raises(KeyboardInterrupt):
        train(data=images, observer=EventRecorder(lambda event: isinstance(event, EpochResult)))
    run = latest_run(runs)
    assert run.config["data"] == "ImageSet:colours"
    with pytest.raises(DataError, match="were passed in Python"):
        resume(run)
    resumed = resume(run, data=images)
    assert_same_weights(resumed, train(data=images))
    with pytest.raises(DataError, match=f"The record of {run.name} names it"):
        zoo.evaluate(resumed, registry=registry)
    # Split as in training, not evaluated as a whole.
    evaluation = zoo.evaluate(resumed, data=images, registry=registry)
    assert evaluation.count == resumed.results["test"]["count"] < len(images.train)
    other = make_images(train=make_samples("other", 2), val=(), test=())
    assert zoo.evaluate(resumed, data=other, registry=registry).count == len(other.train)


def test_bf16_is_recorded_and_learns(train):
    run = train(precision="bf16", epochs=1)
    assert run.record.hardware["precision"] == "bf16"
    assert run.results["test"]["accuracy"] > 0.6


def test_corrected_labels_are_trained_on_recorded_and_used_in_evaluation(train, tmp_path):
    file = tmp_path / "labels.csv"
    file.write_text("path,label\ntrain/red/0.png,green\ntest/red/1.png,blue\ntrain/red/2.png,red\n")
    recorder = EventRecorder()
    run = train(labels=file, epochs=1, observer=recorder)
    assert f"2 labels changed of 3 listed in {file}." in recorder.notes
    assert run.record.data.corrected == 2
    assert run.config["labels"] == str(file)
    plain = train(epochs=1)
    assert plain.record.data.corrected == 0
    assert plain.photos().names == run.photos().names  # every photo is in its split, as without corrections
    assert plain.fingerprint != run.fingerprint
    assert [each.support for each in run.evaluate().per_class] == [5, 6, 7]
    assert [each.support for each in plain.evaluate().per_class] == [6, 6, 6]
    assert [each.support for each in plain.evaluate(labels=file).per_class] == [5, 6, 7]
