import dataclasses

import pytest
import torch
from fakes import CLASSES, PREPROCESS, SmallBackbone, make_images, make_samples
from scenes import encode, make_scene
from training_runs import EventRecorder, after_epoch, read_weights

from zoo.config import make_config
from zoo.errors import ConfigError, DataError, RunError, UnknownNameError, WeightsError
from zoo.events import EpochResult, Finished, Note, Started
from zoo.inference.evaluate import evaluate
from zoo.models.precision import Precision
from zoo.plugins.specs import Sample
from zoo.training import prepare
from zoo.training.prepare import check_photos
from zoo.training.record import describe_check

LEAK = (
    "2 of 36 test photos are also in train (1 identical, 1 nearly identical). "
    "The test accuracy of a model trained on them is too high."
)


@pytest.fixture
def leaking_images():
    """Photos of which the training split has one of the test split unchanged, and another one re-encoded."""
    splits = {
        split: [Sample(encode(make_scene(100 * index + n)), n % 3, f"{split}/{n}.jpg") for n in range(36)]
        for index, split in enumerate(("train", "val", "test"))
    }
    splits["train"][0] = Sample(splits["test"][0].source, 0, "train/leak.jpg")
    splits["train"][1] = Sample(encode(make_scene(201), quality=40), 1, "train/near.jpg")
    return make_images(**{split: tuple(samples) for split, samples in splits.items()})


def test_leaks_are_reported(leaking_images):
    events = []
    report = check_photos(leaking_images, make_config("small", data="./photos"), events.append)
    assert [event for event in events if isinstance(event, Note)] == [
        Note(text=LEAK, warning=True),
        Note(text="'zoo data check ./photos --html page.html' shows them; --fix lists what to leave out."),
    ]
    (finding,) = describe_check(report)["findings"]
    assert finding["kind"] == "leak"
    assert [pair["duplicate"]["name"] for pair in finding["pairs"]] == ["train/leak.jpg", "train/near.jpg"]


def test_good_photos_are_not_reported():
    events = []
    check_photos(make_images(train=make_samples("train", 12)), make_config("small", data="colours"), events.append)
    assert not [event for event in events if isinstance(event, Note)]


def test_leaks_are_reported_before_training_and_beside_the_results(leaking_images, plugin, train):
    plugin.dataset = leaking_images
    events = []
    run = train(epochs=1, batch_size=16, observer=events.append)
    warning = Note(text=LEAK, warning=True)
    first_epoch = next(index for index, event in enumerate(events) if isinstance(event, EpochResult))
    assert warning in events[:first_epoch]
    assert events[-2] == warning
    assert isinstance(events[-1], Finished)
    assert run.leaks == (LEAK,)
    assert run.record.data.check["near"] is True
    assert run.classes == CLASSES


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"backbone": "smal"}, UnknownNameError, "no backbone 'smal'"),
        ({"head": "flta"}, UnknownNameError, "no head 'flta'"),
        ({"data": "colour"}, UnknownNameError, "no dataset 'colour'"),
        ({"optimizer": "adamwx"}, UnknownNameError, "no optimizer 'adamwx'"),
        ({"optimizer_options": {"beta3": 1}}, ConfigError, "optimizer adamw has no option 'beta3'"),
        ({"schedule": "cosin"}, UnknownNameError, "no schedule 'cosin'"),
        ({"schedule": "linear", "schedule_options": {"end": 2}}, ConfigError, "schedule linear: option 'end' is 2"),
        ({"optimizer": "lbfgs", "clip_grad": 1.0}, ConfigError, "option 'clip_grad' does not go together with 'lbfgs'"),
        ({"optimizer": "cg", "precision": "fp16"}, ConfigError, "option 'precision' is 'fp16', which does not go"),
        (
            {"optimizer": "lbfgs", "freeze": "all", "optimizer_options": {"history": 3}},
            ConfigError,
            "with --freeze all, 'lbfgs' solves for the head",
        ),
        ({"device": "cuda:99"}, ConfigError, "option 'device'"),
        ({"cache": "device"}, ConfigError, "option 'cache' is 'device', but cpu has no memory of its own"),
        ({"freeze": "7"}, ConfigError, "the backbone has 3 stages"),
        ({"head_options": {"width": 3}}, ConfigError, "head flat has no option 'width'"),
        ({"epochs": 0}, ConfigError, "option 'epochs' is 0"),
        ({"data": None}, ConfigError, r"finetune\(\) needs 'data'"),
    ],
)
def test_a_wrong_value_is_an_error_before_anything_is_written(train, runs, values, error, message):
    with pytest.raises(error, match=message):
        train(**values)
    assert not runs.exists()


@pytest.mark.parametrize("source", ["run", "file"])
def test_weights_are_loaded_from_a_run_or_a_file(train, source):
    first, observer = train(epochs=1), EventRecorder()
    weights = first.name if source == "run" else str(first.weights_path)
    run = train(freeze="all", weights=weights, observer=observer)
    for name, tensor in read_weights(first).items():
        if name.startswith("backbone."):
            assert torch.equal(read_weights(run)[name], tensor)
    assert "loaded from" in run.record.weights
    assert not any(run.record.weights in note for note in observer.notes)  # the start of the run reports them


def test_the_record_says_that_a_run_was_trained_from_scratch(train):
    assert train(weights="none", epochs=1).record.weights == "none: trained from scratch"


def test_random_weights_never_replace_pretrained_ones(train, runs):
    with pytest.raises(WeightsError, match="fake/small-bare has no pretrained weights") as caught:
        train("small-bare")
    assert "--weights none" in caught.value.hint
    with pytest.raises(WeightsError, match="cannot be downloaded"):
        train("small-offline")
    assert not runs.exists()
    assert train("small-bare", weights="none", epochs=1).finished


@pytest.mark.parametrize("weights", ["nowhere.safetensors", "no-such-run"])
def test_missing_weights_are_an_error(train, weights):
    with pytest.raises((WeightsError, RunError), match=weights):
        train(weights=weights)


def test_weights_that_are_not_finite_are_an_error_that_names_the_file(train, tmp_path):
    state = SmallBackbone().state_dict()
    state["body.layer1.0.weight"][:] = torch.nan
    torch.save(state, tmp_path / "nan.pth")
    with pytest.raises(WeightsError, match=r"nan\.pth has weights that are not finite: body\.layer1\.0\.weight"):
        train(weights=str(tmp_path / "nan.pth"))


@pytest.fixture
def partial(tmp_path):
    """Returns a function that writes the weights of the small backbone without some entries, or with other shapes."""

    def write(*without, **shapes):
        state = {name: tensor for name, tensor in SmallBackbone().state_dict().items() if name not in without}
        state |= {name.replace("__", "."): torch.randn(shape) for name, shape in shapes.items()}
        torch.save(state, tmp_path / "partial.pth")
        return str(tmp_path / "partial.pth")

    return write


def test_frozen_layers_that_a_file_leaves_random_are_an_error(train, partial, runs):
    values = {"weights": partial(body__stem__0__weight=(8, 3, 5, 5)), "epochs": 1}
    with pytest.raises(WeightsError) as caught:
        train(**values, freeze="1")
    assert caught.value.message == (
        f"{values['weights']} fills only part of the network, and layers that it leaves as they were initialised are "
        "frozen: body.stem.0.weight is 8x3x5x5 in the file and 8x3x3x3 in the backbone."
    )
    assert caught.value.hint == (
        "Train them with --freeze none, use another file, or accept it with --partial-weights yes."
    )
    assert not runs.exists()
    recorder = EventRecorder()
    run = train(**values, freeze="1", partial_weights=True, observer=recorder)
    text = run.record.partly_random
    assert "; entries that stay as they were initialised and are not trained: body.stem.0.weight is 8x3x5x5" in text
    assert recorder.notes.count(text) == 2  # at the start, and beside the results


def test_missing_entries_count_like_those_of_another_shape(train, partial):
    weights = partial("body.layer1.0.weight", "body.layer1.0.bias", "body.layer1.1.weight")
    with pytest.raises(WeightsError, match=r"body\.layer1\.0\.weight, body\.layer1\.0\.bias") as caught:
        train(weights=weights, epochs=1, freeze="2")
    assert caught.value.hint.startswith("Train them with --freeze 1, use")
    with pytest.raises(WeightsError, match=r"body\.layer1\.0\.weight"):
        train(weights=weights, freeze="all", optimizer="lbfgs")


def test_statistics_that_are_fixed_count_too(train, partial):
    weights = partial("body.layer2.1.running_mean", "body.layer2.1.running_var")
    with pytest.raises(WeightsError, match=r"body\.layer2\.1\.running_mean, body\.layer2\.1\.running_var\.") as caught:
        train(weights=weights, epochs=1, freeze_norm_stats=True)
    assert caught.value.hint.startswith("Train them with --freeze 2 --freeze-norm-stats no, use")
    assert train(weights=weights, epochs=1, freeze_norm_stats=False).finished


def test_layers_that_are_trained_may_start_at_random(train, partial, registry):
    recorder = EventRecorder()
    run = train(weights=partial("body.layer2.0.weight"), epochs=1, freeze="2", observer=recorder)
    text = run.record.partly_random
    assert text.endswith("; entries that start as they were initialised: body.layer2.0.weight.")
    assert recorder.notes.count(text) == 2
    recorder = EventRecorder()
    evaluate(run, device="cpu", registry=registry, observer=recorder)
    assert text in recorder.notes


def test_a_probe_that_remains_the_best_leaves_such_layers_random(train, partial):
    recorder = EventRecorder()
    run = train(weights=partial("body.layer2.0.weight"), epochs=1, freeze="2", probe=True, lr=0, observer=recorder)
    assert run.results["best_epoch"] == 0
    assert f"{run.record.partly_random} The best epoch is the probe, before any layer of the backbone was trained." in (
        recorder.notes
    )


def test_a_grey_first_convolution_is_adapted_with_a_warning(train, partial):
    recorder = EventRecorder()
    run = train(weights=partial(body__stem__0__weight=(8, 1, 3, 3)), epochs=1, freeze="1", observer=recorder)
    assert "input channels of body.stem.0.weight, 1 in the file: spread over 3" in run.record.weights
    assert any("was adapted (input channels of body.stem.0.weight" in text for text in recorder.notes)
    assert run.record.partly_random == ""


def test_data_without_splits_is_split_by_the_seed_and_the_split_recorded(train, plugin):
    whole = make_images()
    plugin.dataset = make_images(train=whole.train + whole.test, val=(), test=())
    run = train(epochs=1)
    splits = run.photos().names
    names = [name for split in splits.values() for name in split]
    assert sorted(names) == sorted(sample.name for sample in plugin.dataset.train)
    assert run.record.data.counts["test"] == 12
    assert train(epochs=1).photos().names == splits
    assert train(epochs=1, seed=1).photos().names != splits


def test_a_dataset_with_a_single_class_is_an_error(train, plugin):
    samples = tuple(sample for sample in make_images().train if sample.label == 0)
    plugin.dataset = make_images(classes=("red",), train=samples, val=(), test=())
    with pytest.raises(DataError, match="'colours' has a single class"):
        train()


def test_a_run_is_prepared_for_its_image_size(train):
    run = train(image_size=24, epochs=1)
    assert run.preprocess == dataclasses.replace(PREPROCESS, size=(24, 24), resize=27)


def test_a_resumed_run_keeps_its_measured_precision(train, resume, runs, monkeypatch):
    bf16 = Precision(name="bf16", device=torch.device("cpu"), reason="2.4 x as fast as fp32, measured")
    monkeypatch.setattr(prepare, "autotune_precision", lambda config, **values: bf16)
    with pytest.raises(KeyboardInterrupt):
        train(precision="auto", epochs=2, observer=EventRecorder(after_epoch(1)))
    monkeypatch.setattr(prepare, "autotune_precision", lambda config, **values: pytest.fail("measured again"))
    events = []
    run = resume(runs / "small-flat-colours-1", observer=events.append)
    assert next(event.precision for event in events if isinstance(event, Started)) == "bf16"
    assert run.record.hardware["precision_reason"] == bf16.reason
    assert run.record.hardware["compile_reason"] == "too little is gained on cpu"


def test_the_record_describes_what_was_selected_for_the_machine(train):
    hardware = train(epochs=1).record.hardware
    assert (hardware["precision"], hardware["precision_reason"]) == ("fp32", "asked for")
    assert hardware["layout"] == "channels-last"
    assert hardware["optimizer_kernels"] == "fused"
    assert (hardware["compile"], hardware["compile_reason"]) == (False, "too little is gained on cpu")
    assert hardware["micro_batch_size"] is None


def test_a_resumed_run_keeps_its_automatic_batch_size(train, resume, runs):
    observer = EventRecorder(after_epoch(1))
    with pytest.raises(KeyboardInterrupt):
        train(batch_size="auto", epochs=2, observer=observer)
    assert "Batch size: 32 images per step, as in the recipe; more would not be faster here." in observer.notes
    run = resume(runs / "small-flat-colours-1")
    assert run.config["batch_size"] == 32
    assert run.record.hardware["batch_size_reason"].startswith("auto: 32")
