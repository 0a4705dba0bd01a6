import pytest
import torch
from fakes import CLASSES

from zoo.config import make_config
from zoo.errors import ConfigError
from zoo.events import Work
from zoo.models.build import assemble, preprocess_for
from zoo.models.offers import find_offers
from zoo.models.precision import Precision
from zoo.plugins.registry import card_of
from zoo.training.autotune import precision as hardware
from zoo.training.autotune.precision import autotune_precision, recorded_precision

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
        offers = find_offers(config, registry)
        preprocess = preprocess_for(config, card_of(offers.backbone).preprocess)
        model = assemble(config, offers, classes=len(CLASSES), preprocess=preprocess)
        found = autotune_precision(config, backbone="fake/small", model=model, device=CPU, observer=observer)
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
