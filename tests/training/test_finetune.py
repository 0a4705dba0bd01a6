import dataclasses
import json
import math
import subprocess
import sys

import pytest
import safetensors.torch
import torch
from fakes import CLASSES, PREPROCESS, FakePlugin, SmallBackbone, make_backbone_spec, make_images, make_registry
from PIL import Image

from zoo.config import make_config
from zoo.errors import ConfigError, DataError, RunError, TrainingError, UnknownNameError, WeightsError
from zoo.events import EpochResult, Finished, Note, Started, StepResult
from zoo.plugins.specs import Sample
from zoo.runs.manifest import check_folder
from zoo.runs.open import open_run
from zoo.training import finalize as conclusion
from zoo.training.finetune import finetune, resume

# Whatever the default recipe comes to be, these tests train like this.
FAST = {
    "head": "flat",
    "data": "colours",
    "epochs": 3,
    "batch_size": 8,
    "optimizer": "adamw",
    "lr": 1e-3,
    "head_lr_multiplier": 10,
    "freeze": "none",
    "probe": True,
    "freeze_norm_stats": True,
    "crop_scale": 0.35,
    "eval_crop": None,
    "device": "cpu",
    "precision": "fp32",
    "workers": 2,
}


@pytest.fixture
def train(tmp_path, registry, monkeypatch):
    """Fine-tunes the small backbone; what is said beats what is fast. Draws no pictures: they take the most time."""
    for name in ("write_curves", "write_confusion", "write_mistakes"):
        monkeypatch.setattr(conclusion, name, lambda *args, **how: None)

    def run(backbone="small", **values):
        return finetune(backbone, **{"registry": registry, "runs": tmp_path / "runs", **FAST, **values})

    return run


def weights_of(run):
    return safetensors.torch.load_file(run.path / "model.safetensors")


def assert_same_weights(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


class Stopper:
    """An observer that presses Ctrl-C when it has seen something, and keeps all it was told."""

    def __init__(self, when):
        self.when = when
        self.events = []

    def __call__(self, event):
        self.events.append(event)
        if self.when(event):
            self.when = lambda event: False
            raise KeyboardInterrupt

    @property
    def notes(self):
        return [event.text for event in self.events if isinstance(event, Note)]


def test_a_run_folder_tells_everything(tmp_path, registry):
    events = []
    run = finetune("small", runs=tmp_path / "runs", registry=registry, observer=events.append, seed=3, **FAST)
    assert run.path == tmp_path / "runs" / "small-flat-colours-1"
    assert {file.name for file in run.path.iterdir()} == {
        "run.json",
        "model.safetensors",
        "metrics.jsonl",
        "curves.png",
        "confusion.png",
        "mistakes.png",
        "manifest.json",
    }
    assert check_folder(run.path) == []
    record = json.loads((run.path / "run.json").read_text())
    assert record["status"] == "finished"
    assert (record["backbone"], record["head"]) == ("fake/small", "fake/flat")
    assert record["config"] == make_config("small", seed=3, **FAST).to_dict()
    assert record["classes"] == list(CLASSES)
    assert record["preprocess"]["size"] == [16, 16]
    assert len(record["data"]["fingerprint"]) == 64
    assert record["data"]["counts"] == {"train": 36, "val": 12, "test": 18}
    assert record["data"]["split"]["val"] == [sample.name for sample in make_images().val]
    assert record["packages"]["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert record["plugins"] == {"fake:fake": "1.2"}
    assert record["hardware"]["device"] == "cpu"
    assert record["hardware"]["precision"] == "fp32"
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
    told = [event for event in events if isinstance(event, EpochResult)]
    assert [row["val_loss"] for row in rows] == [event.val_loss for event in told]


def test_the_weights_are_those_of_the_best_epoch(train):
    run = train(epochs=4, lr=0.05, head_lr_multiplier=1)
    best = [row for row in run.metrics() if row["best"]][-1]
    assert run.results["best_epoch"] == best["epoch"]
    assert run.results["val"]["accuracy"] == best["val_accuracy"]
    assert run.results["val"]["loss"] == pytest.approx(best["val_loss"], rel=1e-3)


def test_it_learns(train):
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
def test_the_same_seed_gives_the_same_weights_bit_for_bit(train, values):
    values = {**values, "epochs": 2}
    first = weights_of(train(**values))
    torch.manual_seed(77)
    assert_same_weights(first, weights_of(train(**values)))
    other = weights_of(train(**values, seed=1))
    assert not torch.equal(first["head.linear.weight"], other["head.linear.weight"])


@pytest.mark.parametrize("optimizer", ["lbfgs", "cg", "adamw"])
@pytest.mark.parametrize("head", ["flat", "mapped"])
def test_a_frozen_backbone_is_left_as_it_was_and_its_head_learns(train, optimizer, head):
    how = {"epochs": 30, "lr": 0.1, "head_lr_multiplier": 1, "weight_decay": 1e-3}
    run = train(freeze="all", optimizer=optimizer, head=head, **how)
    torch.manual_seed(0)
    for name, tensor in SmallBackbone().state_dict().items():
        assert torch.equal(weights_of(run)[f"backbone.{name}"], tensor), name
    assert run.results["test"]["accuracy"] > 0.8
    assert len(run.metrics()) == (30 if optimizer == "adamw" else 1)


def test_an_average_of_the_weights_is_kept_on_frozen_features_too(train):
    how = {"freeze": "all", "optimizer": "sgd", "epochs": 1, "lr": 0.1}
    plain, averaged = (weights_of(train(**how, ema=ema))["head.linear.weight"] for ema in (None, 0.99))
    torch.manual_seed(0)
    assert not torch.equal(plain, averaged)


def test_frozen_stages_move_neither_weights_nor_statistics(train):
    run = train(freeze="2", probe=False, freeze_norm_stats=False, lr=0.01)
    trained = weights_of(run)
    torch.manual_seed(0)
    fresh = SmallBackbone().state_dict()
    for name, tensor in fresh.items():
        moved = not torch.equal(trained[f"backbone.{name}"], tensor)
        assert moved == ("layer2" in name), name


def test_the_probe_is_epoch_zero_and_may_be_left_out(train):
    with_probe, without = train(epochs=1), train(epochs=1, probe=False)
    assert [row["epoch"] for row in with_probe.metrics()] == [0, 1]
    assert [row["epoch"] for row in without.metrics()] == [1]
    assert with_probe.metrics()[0]["val_accuracy"] > 0.6
    assert with_probe.metrics()[1]["train_loss"] < without.metrics()[0]["train_loss"]


@pytest.mark.parametrize("source", ["run", "file"])
def test_weights_come_from_a_run_or_a_file(train, source):
    first = train(epochs=1)
    events = []
    run = train(
        freeze="all", weights=first.name if source == "run" else str(first.weights_path), observer=events.append
    )
    for name, tensor in weights_of(first).items():
        if name.startswith("backbone."):
            assert torch.equal(weights_of(run)[name], tensor)
    assert "loaded from" in run.record.weights
    assert [event.weights for event in events if isinstance(event, Started)] == [run.record.weights]


def test_from_scratch_says_so(train):
    assert train(weights="none", epochs=1).record.weights == "none: trained from scratch"


def test_pretrained_weights_never_come_from_nowhere(train, tmp_path):
    with pytest.raises(WeightsError, match="fake/small-bare has no pretrained weights") as caught:
        train("small-bare")
    assert "--weights none" in caught.value.hint
    with pytest.raises(WeightsError, match="cannot be downloaded"):
        train("small-offline")
    assert not (tmp_path / "runs").exists()
    assert train("small-bare", weights="none", epochs=1).finished


@pytest.mark.parametrize("weights", ["nowhere.safetensors", "no-such-run"])
def test_weights_that_do_not_exist_are_told(train, weights):
    with pytest.raises((WeightsError, RunError), match=weights):
        train(weights=weights)


def test_an_unreadable_photo_is_named_recorded_and_left_out(train, plugin):
    bad = Sample(b"not a photo", 1, "train/green/bad.png")
    plugin.dataset = make_images(train=(bad, *plugin.dataset.train))
    notes = []
    run = train(observer=lambda event: notes.append(event) if isinstance(event, Note) else None, epochs=1)
    assert run.finished
    (message,) = run.record.data.unreadable["train"]
    assert message.startswith("train/green/bad.png: ")
    assert [(note.text, note.warning) for note in notes] == [(f"Left out: {message}", True)]


def test_data_without_parts_is_split_by_the_seed_and_the_split_recorded(train, plugin):
    whole = make_images()
    plugin.dataset = make_images(train=whole.train + whole.test, val=(), test=())
    run = train(epochs=1)
    split = run.photos().names
    names = [name for part in split.values() for name in part]
    assert sorted(names) == sorted(sample.name for sample in plugin.dataset.train)
    assert run.record.data.counts["test"] == 12
    assert train(epochs=1).photos().names == split
    assert train(epochs=1, seed=1).photos().names != split


def test_without_a_test_part_the_validation_part_is_scored_and_that_is_said(train, plugin):
    plugin.dataset = make_images(test=())
    notes = []
    run = train(epochs=1, observer=lambda event: notes.append(event.text) if isinstance(event, Note) else None)
    assert "test" not in run.results
    assert run.results["val"]["count"] == 12
    assert any("no test split" in note for note in notes)


def test_one_class_alone_is_refused(train, plugin):
    plugin.dataset = make_images(
        classes=("red",), train=tuple(s for s in make_images().train if s.label == 0), val=(), test=()
    )
    with pytest.raises(DataError, match="'colours' has a single class"):
        train()


def test_a_loss_that_explodes_stops_the_run_and_keeps_what_there_is(train, tmp_path):
    with pytest.raises(TrainingError, match="The loss became"):
        train(optimizer="sgd", lr=1e30, warmup=0.0, epochs=4)
    run = open_run(tmp_path / "runs" / "small-flat-colours-1")
    assert run.record.status == "interrupted"
    assert run.metrics()[0]["epoch"] == 0
    assert (run.path / "model.safetensors").is_file()


class Greedy(SmallBackbone):
    """Runs out of memory when it is given more than `most` images; the check of a fresh backbone passes."""

    most, checked = 0, False

    def forward(self, images):
        features = super().forward(images)
        if self.checked and len(images) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.checked = True
        return features


def a_greedy_registry(most):
    def build(request):
        backbone = Greedy(dropout=0.2)
        backbone.most = most
        return backbone

    return make_registry(FakePlugin(backbones=[make_backbone_spec("greedy", build=build)]))


def test_a_device_whose_memory_is_too_small_is_told(train, tmp_path):
    with pytest.raises(TrainingError, match="memory is too small for a single image") as caught:
        train("greedy", registry=a_greedy_registry(most=0))
    assert "--image-size" in caught.value.hint


def test_a_run_that_runs_out_of_memory_goes_on_in_smaller_parts_and_says_so(train):
    notes = []
    observer = lambda event: notes.append(event.text) if isinstance(event, Note) else None  # noqa: E731
    run = train("greedy", registry=a_greedy_registry(most=3), observer=observer)
    assert run.record.hardware["micro_batch_size"] == 2
    assert sum("Memory ran out" in note for note in notes) == 2  # from 8 to 4 to 2
    assert any("2 images at a time" in note for note in notes)
    assert run.config["batch_size"] == 8


def test_wherever_photos_are_kept_the_weights_are_the_same(train, monkeypatch, tmp_path):
    monkeypatch.setenv("ZOO_HOME", str(tmp_path))
    runs, notes = {}, {}
    for name, values in {
        "memory": {},
        "part": {"cache": "memory", "cache_size": 5000 / 2**30},
        "disk": {"cache": "disk"},
        "found": {"cache": "disk"},
        "off": {"cache": "off"},
    }.items():
        notes[name] = []
        tell = notes[name].append
        runs[name] = train(
            epochs=1,
            observer=lambda event, on_change=tell: tell(event.text) if isinstance(event, Note) else None,
            **values,
        )
        assert_same_weights(weights_of(runs[name]), weights_of(runs["memory"]))
    placed = {name: run.record.data.cache for name, run in runs.items()}
    assert {part: placed["memory"][part]["tier"] for part in placed["memory"]} == dict.fromkeys(
        ("train", "val", "test"), "memory"
    )
    assert placed["memory"]["train"]["kept"] == 36
    assert 0 < placed["part"]["train"]["kept"] < 36
    assert 0 < placed["part"]["train"]["bytes"] + placed["part"]["val"]["bytes"] <= 5000
    assert any(
        "train photos are decoded again in every epoch: decoded photos may use" in note for note in notes["part"]
    )
    assert placed["disk"]["train"]["reason"].startswith("written to")
    assert placed["found"]["train"]["reason"].startswith("found in")
    assert placed["off"]["val"] == {
        "tier": "off", "photos": 12, "kept": 0, "bytes": 0, "reason": "--cache off"
    }  # fmt: skip
    assert not any("decoded again" in note for name in ("memory", "disk", "found") for note in notes[name])


def test_validation_photos_are_decoded_once(train, monkeypatch):
    from zoo.data.loading import store

    decoded = []
    decode = store.decode
    monkeypatch.setattr(store, "decode", lambda source, **how: decoded.append(how["name"]) or decode(source, **how))
    train(epochs=2)
    assert len(decoded) == len(set(decoded)) == 36 + 12 + 18


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"backbone": "smal"}, UnknownNameError, "no backbone 'smal'"),
        ({"head": "flta"}, UnknownNameError, "no head 'flta'"),
        ({"data": "colour"}, UnknownNameError, "no dataset 'colour'"),
        ({"optimizer": "adamwx"}, ConfigError, "option 'optimizer' is 'adamwx'"),
        ({"device": "cuda:99"}, ConfigError, "option 'device'"),
        ({"cache": "device"}, ConfigError, "option 'cache' is 'device', but cpu has no memory of its own"),
        ({"freeze": "7"}, ConfigError, "the backbone has 3 stages"),
        ({"head_options": {"width": 3}}, ConfigError, "head flat has no option 'width'"),
        ({"epochs": 0}, ConfigError, "option 'epochs' is 0"),
        ({"data": None}, ConfigError, "finetune needs 'data'"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_written(train, tmp_path, values, error, message):
    with pytest.raises(error, match=message):
        train(**values)
    assert not (tmp_path / "runs").exists()


def test_a_whole_configuration_is_taken_alone(train, tmp_path, registry):
    config = make_config("small", **{**FAST, "epochs": 1})
    assert finetune(config, registry=registry, runs=tmp_path).record.config == config.to_dict()
    with pytest.raises(ConfigError, match="a configuration and further values"):
        finetune(config, registry=registry, runs=tmp_path, epochs=2)


def test_bf16_is_recorded_and_learns(train):
    run = train(precision="bf16", epochs=1)
    assert run.record.hardware["precision"] == "bf16"
    assert run.results["test"]["accuracy"] > 0.6


def test_the_best_epochs_figures_are_never_nan_in_the_record(train):
    run = train(mixup=0.4, epochs=1)
    assert run.metrics()[1]["train_accuracy"] is None
    assert not any(isinstance(value, float) and math.isnan(value) for value in run.results["test"].values())


def test_another_image_size_is_what_the_run_is_made_with(train):
    run = train(image_size=24, epochs=1)
    assert run.preprocess == dataclasses.replace(PREPROCESS, size=(24, 24), resize=27)


@pytest.mark.parametrize(
    "call",
    [
        "finetune('no-such-backbone', data='hotdog')",
        "finetune('resnet18', data='hotdog', head='no-such-head')",
        "finetune('resnet18', data='hotdog', epochs=0)",
        "finetune('resnet18', data='hotdog', recipe='no-such-recipe')",
        "finetune('resnet18', data='hotdog', weights='nowhere.safetensors')",
        "finetune('resnet18', data='hotdog', head_options={'no': 1})",
        "finetune('resnet18', data='hotdog', data_options={'no': 1})",
        "finetune('resnet18', data='no-such-data')",
        "finetune('resnet18', data='./no-such-folder')",
    ],
)
def test_a_wrong_name_is_told_before_torch_is_imported(call):
    code = (
        "import sys\nfrom zoo.errors import ZooError\nfrom zoo.training.finetune import finetune\n"
        f"try:\n    {call}\nexcept ZooError as error:\n    print(type(error).__name__, 'torch' in sys.modules)"
    )
    environment = {"ZOO_BLOCK_PLUGINS": "timm", "PATH": ""}
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert told.stdout.split()[-1] == "False", told.stdout + told.stderr


def test_a_run_that_measured_its_precision_goes_on_in_it(train, tmp_path, registry, monkeypatch):
    from zoo.models.precision import Precision
    from zoo.training import prepare as preparation

    bf16 = Precision(name="bf16", device=torch.device("cpu"), reason="2.4 x as fast as fp32, measured")
    monkeypatch.setattr(preparation, "autotune_precision", lambda config, **given: bf16)
    stopper = Stopper(lambda event: isinstance(event, EpochResult) and event.epoch == 1)
    with pytest.raises(KeyboardInterrupt):
        train(precision="auto", epochs=2, observer=stopper)
    monkeypatch.setattr(preparation, "autotune_precision", lambda config, **given: pytest.fail("measured again"))
    started = []
    run = resume(tmp_path / "runs" / "small-flat-colours-1", registry=registry, observer=started.append)
    assert next(event.precision for event in started if isinstance(event, Started)) == "bf16"
    assert run.record.hardware["precision_reason"] == bf16.reason
    assert run.record.hardware["compile_reason"] == "too little is gained on cpu"


def test_what_was_chosen_for_the_machine_is_written_down_and_why(train):
    hardware = train(epochs=1).record.hardware
    assert (hardware["precision"], hardware["precision_reason"]) == ("fp32", "asked for")
    assert hardware["layout"] == "channels-last"
    assert hardware["optimizer_kernels"] == "fused"
    assert (hardware["compile"], hardware["compile_reason"]) == (False, "too little is gained on cpu")
    assert hardware["micro_batch_size"] is None


def test_a_batch_size_of_auto_becomes_a_number_that_a_resumed_run_keeps(train, tmp_path, registry):
    stopper = Stopper(lambda event: isinstance(event, EpochResult) and event.epoch == 1)
    with pytest.raises(KeyboardInterrupt):
        train(batch_size="auto", epochs=2, observer=stopper)
    assert "32 images a step, as in the recipe; more would not be faster here." in stopper.notes
    run = resume(tmp_path / "runs" / "small-flat-colours-1", registry=registry)
    assert run.config["batch_size"] == 32
    assert run.record.hardware["batch_size_reason"].startswith("auto: 32")


def test_a_single_process_cannot_have_several_devices(train):
    with pytest.raises(ConfigError, match="'devices' is 2, but this is a single process") as caught:
        train(devices=2)
    assert "torchrun --nproc-per-node 2" in caught.value.hint
