from types import SimpleNamespace

import pytest
import torch
from fakes import CLASSES, PREPROCESS

from zoo.config import make_config
from zoo.errors import ConfigError
from zoo.events import Work
from zoo.models.build import assemble, find_offers
from zoo.models.precision import Precision
from zoo.training.autotune import batch_size as hardware
from zoo.training.autotune.batch_size import settle_batch_size
from zoo.training.autotune.precision import recorded_precision, settle_precision

CPU = torch.device("cpu")


@pytest.fixture
def settle(registry, tmp_path, monkeypatch):
    """Settles the precision of a configuration; returns it, and appends to `measured` what was measured."""
    monkeypatch.setenv("ZOO_HOME", str(tmp_path))
    monkeypatch.setattr(hardware, "candidates", lambda device: ("bf16", "fp32"))
    measured = []

    def fastest(classifier, image_size, device, *, names, freeze_norm_stats):
        measured.append(image_size)
        return Precision(name="bf16", device=device, reason="2.4 x as fast as fp32, measured"), run.steady

    monkeypatch.setattr(hardware, "fastest_precision", fastest)

    def run(observer=lambda event: None, **values):
        config = make_config("small", data="colours", head="flat", weights="none", **values)
        model = assemble(config, find_offers(config, registry), None, len(CLASSES))
        found = settle_precision(config, backbone="fake/small", model=model, device=CPU, observer=observer)
        return found.name, found.reason

    run.measured, run.steady = measured, True
    return run


def test_what_is_asked_for_is_not_measured(settle):
    assert settle(precision="fp32") == ("fp32", "asked for")
    assert not settle.measured


def test_auto_is_measured_once_for_a_network_and_a_machine(settle, monkeypatch):
    events = []
    assert settle(events.append) == ("bf16", "2.4 x as fast as fp32, measured")
    assert events == [Work(what="measure bf16 and fp32", done=done, total=1) for done in (0, 1)]
    assert settle() == ("bf16", "2.4 x as fast as fp32, measured")
    assert len(settle.measured) == 1
    settle(image_size=32)
    settle(freeze="1")
    assert len(settle.measured) == 3
    monkeypatch.setattr(hardware, "machine_key", lambda device: "another machine")
    settle()
    assert len(settle.measured) == 4


def test_a_measurement_that_was_disturbed_is_made_again_the_next_time(settle):
    settle.steady = False
    settle()
    settle()
    assert len(settle.measured) == 2


def test_a_verdict_that_cannot_be_is_measured_anew(settle, monkeypatch):
    monkeypatch.setattr(hardware, "recall", lambda key: {"precision": "int2"})
    assert settle()[0] == "bf16"
    assert settle.measured


def test_a_machine_without_a_choice_measures_nothing(settle, monkeypatch):
    monkeypatch.setattr(hardware, "candidates", lambda device: ("fp32",))
    monkeypatch.setattr("zoo.models.precision.candidates", lambda device: ("fp32",))
    assert settle()[0] == "fp32"
    assert not settle.measured


def test_a_run_goes_on_in_the_precision_it_was_begun_in():
    found = recorded_precision({"precision": "bf16", "precision_reason": "2.4 x as fast as fp32, measured"}, CPU)
    assert (found.name, found.reason) == ("bf16", "2.4 x as fast as fp32, measured")
    with pytest.raises(ConfigError, match="tf32"):
        recorded_precision({"precision": "tf32"}, CPU)


@pytest.fixture
def settle_batch(registry, monkeypatch):
    """Settles the batch size of a configuration on a device on which up to 200 images fit into a step."""
    asked = []

    def fits(classifier, image_size, count, *, precision, prepare):
        asked.append(count)
        return count <= 200

    monkeypatch.setattr(hardware, "step_fits", fits)

    def run(*, images=20_000, device="cuda", observer=lambda event: None, ranks=1, **values):
        config = make_config("small", data="colours", head="flat", **{"weights": "none", **values})
        precision = Precision(name="fp32", device=torch.device(device), reason="a test")
        model = SimpleNamespace(classifier=None, preprocess=PREPROCESS)
        return settle_batch_size(
            config, images=images, model=model, precision=precision, observer=observer, ranks=ranks
        )

    run.asked = asked
    return run


def test_a_batch_size_that_is_given_stands(settle_batch):
    config, why = settle_batch(batch_size=48, lr=0.01)
    assert (config.batch_size, config.lr, why) == (48, 0.01, "asked for")
    assert not settle_batch.asked


def test_the_largest_batch_that_fits_is_taken_and_the_rate_scaled(settle_batch):
    notes = []
    config, why = settle_batch(batch_size="auto", lr=0.01, optimizer="adamw", observer=notes.append)
    assert settle_batch.asked == [64, 128, 256]
    assert (config.batch_size, config.lr) == (128, 0.02)
    assert why == "auto: 128 images a step; learning rate 0.02, scaled from 0.01 at 32"
    assert [note.text for note in notes] == ["128 images a step; learning rate 0.02, scaled from 0.01 at 32."]
    assert settle_batch(batch_size="auto", lr=0.01, optimizer="sgd")[0].lr == pytest.approx(0.04)


def test_few_photos_keep_their_steps(settle_batch):
    assert settle_batch(batch_size="auto", images=1800)[0].batch_size == 32
    assert not settle_batch.asked
    assert settle_batch(batch_size="auto", images=3200)[0].batch_size == 64


def test_the_recipes_batch_is_where_it_begins(settle_batch):
    config, _ = settle_batch(batch_size="auto", recipe="d2l", images=400)
    assert config.batch_size == 128


def test_processes_share_the_images_of_a_step(settle_batch):
    assert settle_batch(batch_size="auto", ranks=2, images=1_000_000)[0].batch_size == 256
    assert settle_batch.asked == [32, 64, 128, 256]


@pytest.mark.parametrize("how", [{"device": "cpu"}, {"freeze": "all", "weights": "pretrained"}])
def test_where_more_is_not_faster_the_recipes_batch_stays(settle_batch, how):
    notes = []
    config, why = settle_batch(batch_size="auto", lr=0.01, observer=notes.append, **how)
    assert (config.batch_size, config.lr) == (32, 0.01)
    assert not settle_batch.asked
    assert "as in the recipe" in why
    assert notes[0].text.startswith("32 images a step")
